"""Held-out scenes as a model meets them: drawn, stored as JPEG, decoded and resized by the real preprocessor."""

from __future__ import annotations

from random import Random

import numpy as np

from model_packages.scenes.dataset import jpeg
from model_packages.scenes.scene import draw_scene
from model_packages.scenes.truth import VIEW, Seen
from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.spec import Spec

FIRST_SEED = 10_000_000  # training seeds begin at 0
SIZES = ((448, 336), (400, 300), (640, 480), (300, 400), (480, 320))


class Eye:
    """The preprocessor's view of an image file, without its processes."""

    def __init__(self) -> None:
        self._profiles = Profiles()
        self._spec = Spec(VIEW, VIEW, "cover", "bilinear")

    def look(self, file: bytes) -> np.ndarray:
        """uint8 [224, 224, 3]. Raises CremaError for what is no image."""
        return decode(file, (self._spec,), self._profiles).tensors[0].as_array()


def heldout(count: int, first: int = FIRST_SEED) -> tuple[np.ndarray, list[Seen]]:
    """uint8 [count, 224, 224, 3] and the truth of each view."""
    eye, truths = Eye(), []
    pixels = np.empty((count, VIEW, VIEW, 3), np.uint8)
    for place in range(count):
        rng = Random(f"held out {first + place}")
        image, truth = draw_scene(first + place, rng.choice(SIZES))
        pixels[place] = eye.look(jpeg(image, rng.randint(85, 95)))
        truths.append(truth.seen())
    return pixels, truths
