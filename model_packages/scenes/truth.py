"""What is true of a drawn scene, in the view a model gets: after the crop, at the model's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model_packages.scenes.vocabulary import MAIN, TAGS_FROM_PIXELS, THING_ID

VIEW = 224
# How much of the quality each fault can take away at its worst.
WEIGHTS = {"blur": 0.75, "noise": 0.55, "exposure": 0.7, "tilt": 0.45, "composition": 0.35}


@dataclass(frozen=True)
class Seen:
    """The truth of one view. Every loss is 0 (no fault) to 1 (as bad as it gets); `quality` is 0 to 1."""

    tags: tuple[str, ...]
    subject: str
    setting: str
    time: str
    losses: dict[str, float]
    quality: float

    def as_json(self) -> dict[str, Any]:
        """Plain JSON objects."""
        return {
            "tags": list(self.tags),
            "subject": self.subject,
            "setting": self.setting,
            "time": self.time,
            "losses": {k: round(v, 4) for k, v in self.losses.items()},
            "quality": round(self.quality, 4),
        }


def noise_kept(shrink: float) -> float:
    """Share of white noise's standard deviation that an antialiased bilinear shrink by `shrink` leaves.

    The triangle filter of half-width `shrink` averages neighbours; per axis the sum of its squared weights is about
    2 / (3 shrink). Enlarging keeps most of it.
    """
    return min(1.0, 2.0 / (3.0 * shrink)) if shrink > 1.0 else 1.0


@dataclass(frozen=True)
class Truth:
    """Everything known of a scene: its thing numbers per pixel (uint8 [h, w]) and the camera's faults in pixels."""

    things: np.ndarray
    subject: str
    setting: str
    time: str
    fog: float
    blur: float
    noise: float
    exposure: float
    tilt: float

    def seen(self, view: int = VIEW) -> Seen:
        """Truth of the centred square (`fit: cover`) shrunk to view x view pixels."""
        height, width = self.things.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = self.things[top : top + side, left : left + side]
        to_view = (VIEW / side) ** 2
        numbers = np.bincount(square.ravel(), minlength=2 * MAIN) * to_view
        counts = numbers[:MAIN] + numbers[MAIN:]
        scale = view / side
        soft = self.blur * scale
        tags = [
            tag
            for tag, (things, needed) in TAGS_FROM_PIXELS.items()
            if sum(counts[THING_ID[t]] for t in things) >= needed and not (tag == "stars" and soft > 1.3)
        ]
        tags.append(self.time)
        if self.fog >= 0.35:
            tags.append("fog")
        losses = {
            "blur": _ramp(soft, 0.35, 2.6),
            "noise": _ramp(self.noise * noise_kept(1 / scale), 1.5, 20.0),
            "exposure": _ramp(abs(self.exposure), 0.15, 1.7),
            "tilt": _ramp(abs(self.tilt), 0.5, 8.0),
            "composition": self._composition(square),
        }
        quality = 1.0
        for fault, loss in losses.items():
            quality *= 1.0 - WEIGHTS[fault] * loss
        seen_subject = self.subject if numbers[MAIN:].sum() >= 60 else "nothing"
        return Seen(tuple(sorted(tags)), seen_subject, self.setting, self.time, losses, float(quality))

    def _composition(self, square: np.ndarray) -> float:
        """Loss by where the subject's visible pixels lie: none on a third, some in the middle, most at the edge."""
        columns = np.flatnonzero((square >= MAIN).any(axis=0))
        if columns.size == 0:
            return 1.0
        x = (columns[0] + columns[-1] + 1) / 2 / square.shape[1]
        off = min(abs(x - 1 / 3), abs(x - 2 / 3))
        cut = columns[0] == 0 or columns[-1] == square.shape[1] - 1
        return float(min(1.0, off / 0.24 + (0.3 if cut else 0.0)))


def _ramp(value: float, start: float, full: float) -> float:
    return float(min(1.0, max(0.0, (value - start) / (full - start))))
