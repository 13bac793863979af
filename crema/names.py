"""The words of the system: names, versions, selectors, lanes, roles. Light ring: standard library only.

Parsing here is strict and total: what it returns is safe to use in a path, a metric label or a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final, Literal

Lane = Literal["interactive", "bulk"]
LANES: Final[tuple[Lane, ...]] = ("interactive", "bulk")

Role = Literal["coordinator", "preprocessor", "minion", "worker"]
ROLES: Final[tuple[Role, ...]] = ("coordinator", "preprocessor", "minion", "worker")

DEFAULT_DEADLINE_MS: Final = 5_000
MIN_DEADLINE_MS: Final = 50
MAX_DEADLINE_MS: Final = 25_000

Colour = Literal["rgb", "gray"]
"""What an image model gets: three channels, or one (luma). `CHANNELS` says how many."""
CHANNELS: Final[dict[Colour, int]] = {"rgb": 3, "gray": 1}

Fit = Literal["cover", "contain", "stretch"]
"""How a photo comes to the size that a model wants: crops what is over, pads with white, or ignores the proportions."""
Filter = Literal["bilinear", "bicubic", "lanczos", "nearest", "box", "hamming"]
"""The filter of that resize."""

OptionalFormat = Literal["avif", "bmp", "heic", "tiff"]
"""Image formats that are taken only where they are switched on, beside JPEG, PNG, WebP and GIF."""
OPTIONAL_FORMATS: Final[tuple[OptionalFormat, ...]] = ("avif", "bmp", "heic", "tiff")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\Z")
_MAJOR = re.compile(r"(0|[1-9][0-9]{0,8})\Z")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")


def is_name(text: str) -> bool:
    """Whether `text` may name a model: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit."""
    return _NAME.match(text) is not None


def is_label(text: str) -> bool:
    """Whether `text` may be a label (`candidate`): like a name, but beginning with a letter, without dots."""
    return _LABEL.match(text) is not None


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """MAJOR.MINOR, ordered by number: 3.10 comes after 3.9."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def __lt__(self, other: Version) -> bool:
        return (self.major, self.minor) < (other.major, other.minor)


def parse_version(text: str) -> Version:
    """`"3.1"` → Version(3, 1). Raises ValueError for anything that is not MAJOR.MINOR in plain digits."""
    match = _VERSION.match(text)
    if match is None:
        raise ValueError(f'a version is "MAJOR.MINOR", for instance "3.1" (got {text!r})')
    return Version(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Selector:
    """What a caller writes to choose a model: the name alone, or with a major, an exact version or a label.

    At most one of `major`, `version`, `label` is set; none of them means the model's default version.
    """

    name: str
    major: int | None = None
    version: Version | None = None
    label: str | None = None


def parse_selector(text: str) -> Selector:
    """`tags`, `tags@3`, `tags@3.1`, `tags@candidate` → Selector.

    Raises ValueError, with the accepted forms in its text, for anything else.
    """
    name, at, rest = text.partition("@")
    if is_name(name):
        if not at:
            return Selector(name)
        if _MAJOR.match(rest):
            return Selector(name, major=int(rest))
        if _VERSION.match(rest):
            return Selector(name, version=parse_version(rest))
        if is_label(rest):
            return Selector(name, label=rest)
    raise ValueError(
        f"not a selector: {text[:80]!r}; write NAME, NAME@MAJOR, NAME@MAJOR.MINOR or NAME@LABEL, for instance tags@3.1"
    )
