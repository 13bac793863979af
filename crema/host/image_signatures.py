"""Which of the formats that can be switched on a file is, by its first bytes. Pure; coordinator and preprocessor both ask."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import Final

from crema.names import OPTIONAL_FORMATS, OptionalFormat

NAMES: Final[dict[OptionalFormat, str]] = {"avif": "AVIF", "bmp": "BMP", "heic": "HEIC", "tiff": "TIFF"}

# the sizes of a BMP's second header that exist: two letters alone are no signature
_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
# containers that hold either; the brands after them say which
_NEUTRAL_BRANDS: Final = frozenset({b"mif1", b"msf1"})


def optional_format(head: bytes) -> OptionalFormat | None:
    """The optional format whose signature `head` (64 bytes are enough) begins with, or None."""
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12]]
    if brands[0] in _NEUTRAL_BRANDS:
        brands += [head[at : at + 4] for at in range(16, end - 3, 4)]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "avif"
        if brand in _HEIC_BRANDS:
            return "heic"
    return "heic" if brands[0] in _NEUTRAL_BRANDS else None


def image_formats(text: str) -> tuple[OptionalFormat, ...]:
    """`avif,heic` as an argument type: formats to switch on; empty for none."""
    named = [each.strip() for each in text.split(",") if each.strip()]
    known = tuple(each for each in OPTIONAL_FORMATS if each in named)
    if len(known) != len(named):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(OPTIONAL_FORMATS)} (got {text!r})")
    return known


def accepted(formats: Collection[OptionalFormat], word: str) -> str:
    """`JPEG, PNG, WebP, GIF WORD HEIC`: what is taken where `formats` are switched on."""
    names: Sequence[str] = ["JPEG", "PNG", "WebP", "GIF", *(NAMES[each] for each in sorted(formats))]
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def cannot_be_read(wanted: OptionalFormat) -> str | None:
    """Why images of a format cannot be read by this Python, with what to do about it; None when they can."""
    if wanted == "heic" and find_spec("pillow_heif") is None:
        return "heic needs the package pillow-heif (install crema[heic]), which is not installed here"
    return None


def switched_off(found: OptionalFormat) -> str:
    """What to tell whoever sent an image of a format that is not switched on: how it could be, and what to do instead."""
    name = NAMES[found]
    how = f"{name} is not switched on here: whoever runs this cluster can add `preprocessor: {{formats: [{found}]}}` to cluster.yaml"
    if found == "heic":
        return (
            f"{how}. Or convert the photo first, for instance `heif-convert photo.heic photo.jpg` or `magick photo.heic"
            " photo.jpg` (on an iPhone: Settings, Camera, Formats, Most Compatible)"
        )
    return f"{how}. Or convert the image first, for instance `magick INPUT photo.jpg`"
