"""PhotoStock: the photos of a run in memory, and which of them each call sends. The same seed, the same photos."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from loadtest.scenario import PhotoKind

# In every sender's memory.
MAX_BYTES: Final = 1 << 30
_DRAWN_PIXELS: Final = 4_000_000
_MOST_DRAWN, _FEWEST_DRAWN = 16, 2
_NONE: Final = "there are no photos (.jpg, .png, .webp, .gif by their names) in a folder that was named\n  name another one, or the photos themselves"


class PhotosError(Exception):
    """Photos cannot be had; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class PhotoFiles:
    """One kind of photo on disk."""

    weight: float
    paths: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"weight": self.weight, "paths": list(self.paths)}

    @classmethod
    def read(cls, document: dict[str, Any]) -> PhotoFiles:
        """What `document` gave."""
        return cls(float(document["weight"]), tuple(document["paths"]))


def drawn_count(width: int, height: int) -> int:
    """How many different photos of a size are drawn: enough that no two neighbours are alike, few of the slow ones."""
    return max(_FEWEST_DRAWN, min(_MOST_DRAWN, _DRAWN_PIXELS // (width * height)))


def prepare(
    kinds: Iterable[PhotoKind], folder: Path, seed: int, tell: Callable[[str], None]
) -> list[PhotoFiles]:
    """Draw what is to be drawn into `folder`; say where all photos lie. `tell` hears what is being waited for.

    Raises PhotosError when a kind has none."""
    prepared = []
    for kind in kinds:
        paths = [str(path.absolute()) for path in kind.files]
        if not paths and kind.draw is None:
            raise PhotosError(_NONE)
        if kind.draw is not None:
            from loadtest.drawn_photo import draw_photo

            width, height = kind.draw
            for number in range(drawn_count(width, height)):
                tell(f"drawing photos of {width}x{height}")
                path = folder / f"{width}x{height}-{number}.jpg"
                if not path.exists():
                    path.write_bytes(draw_photo(width, height, seed + number))
                paths.append(str(path))
        prepared.append(PhotoFiles(kind.weight, tuple(paths)))
    return prepared


class PhotoStock:
    """Photos by kind. `choice(chance)` gives one: kinds by their weights, the photos of a kind alike."""

    def __init__(self, kinds: Sequence[tuple[float, Sequence[bytes]]]) -> None:
        if not kinds or not all(photos for _, photos in kinds):
            raise PhotosError(_NONE)
        self._photos = [tuple(photos) for _, photos in kinds]
        total = sum(weight for weight, _ in kinds)
        self._below = [below / total for below in accumulate(weight for weight, _ in kinds)][:-1]

    @classmethod
    def load(cls, files: Iterable[PhotoFiles]) -> PhotoStock:
        """Read all of them. Raises PhotosError."""
        left = MAX_BYTES
        kinds = []
        for kind in files:
            photos = []
            for path in kind.paths:
                try:
                    photos.append(Path(path).read_bytes())
                except OSError as error:
                    raise PhotosError(
                        f"{path} cannot be read: {error.strerror}\n  make it readable, or name another folder"
                    ) from None
                left -= len(photos[-1])
                if left < 0:
                    raise PhotosError(
                        f"the photos together are larger than {MAX_BYTES >> 20} MiB, and every sender holds them in memory\n"
                        "  name a folder with fewer; some hundred differ enough"
                    )
            kinds.append((kind.weight, photos))
        return cls(kinds)

    def choice(self, chance: random.Random) -> bytes:
        """The next call's photo."""
        photos = self._photos[bisect_right(self._below, chance.random())]
        return photos[int(chance.random() * len(photos))]
