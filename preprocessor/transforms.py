"""From one decoded picture to the tensors that models want: one antialiased resize per distinct spec.

Where there is no picture there is white: the padding of `contain` has the colour that transparent places have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

from PIL import Image, ImageCms

from crema.names import Colour
from preprocessor import colour
from preprocessor.orientation import is_turned
from preprocessor.spec import Spec

Box = tuple[float, float, float, float]

_RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# A picture over twice the wanted size is first averaged by whole factors down to twice: at least 50 dB from the
# single resize and 1.5x faster. Not for the two filters whose result is a plain pick or average of source pixels.
_REDUCING_GAP: Final = 2.0
_UNREDUCED: Final = frozenset({"nearest", "box"})

# How many times the wanted pixels a scaled decode must leave each filter, per side, to stay within 40 dB of the resize
# of the whole picture: measured on photographs. Filters that blur little show the decoder's own blur sooner; `nearest`
# wants the stored pixels themselves.
_LEAST_LEFT: Final = {
    "bilinear": 1.07,
    "bicubic": 1.15,
    "lanczos": 1.15,
    "hamming": 1.4,
    "box": 2.0,
    "nearest": inf,
}

_MODES: Final[dict[Colour, str]] = {"rgb": "RGB", "gray": "L"}

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How one spec is cut from a picture as stored: which part, and the size it is resized to, before it is turned."""

    box: Box
    size: tuple[int, int]


def plan(spec: Spec, width: int, height: int, orientation: int) -> Plan:
    """Where in the stored picture of `width` x `height` the spec's pixels come from.

    Crops are centred, so turning the small result is the same as turning the picture first, and far cheaper.
    """
    want_w, want_h = (spec.height, spec.width) if is_turned(orientation) else (spec.width, spec.height)
    if spec.fit == "cover":
        crop_w = min(width, height * want_w / want_h)
        crop_h = min(height, width * want_h / want_w)
        left, top = (width - crop_w) / 2, (height - crop_h) / 2
        return Plan((left, top, left + crop_w, top + crop_h), (want_w, want_h))
    whole = (0.0, 0.0, float(width), float(height))
    if spec.fit == "contain":
        scale = min(want_w / width, want_h / height)
        return Plan(whole, (max(1, round(width * scale)), max(1, round(height * scale))))
    return Plan(whole, (want_w, want_h))


def draft_scale(specs: Iterable[Spec], width: int, height: int, orientation: int) -> int:
    """By how much the picture may be scaled down while it is decoded: 1, 2, 4 or 8.

    The largest that leaves every spec somewhat more pixels than it wants, so that nothing is scaled up again and its
    filter still does its work.
    """
    most = 8.0
    for spec in specs:
        left, top, right, bottom = (part := plan(spec, width, height, orientation)).box
        least = _LEAST_LEFT[spec.filter]
        most = min(most, (right - left) / (part.size[0] * least), (bottom - top) / (part.size[1] * least))
    return next((scale for scale in (8, 4, 2) if scale <= most), 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, ready to be resized.

    `pixels` is RGB or L, possibly `scale` times smaller than `width` x `height`, the dimensions as stored.
    `to_srgb` is applied after the resize.
    """

    pixels: Image.Image
    width: int
    height: int
    scale: int
    orientation: int
    to_srgb: ImageCms.ImageCmsTransform | None


def render(picture: Picture, spec: Spec) -> Image.Image:
    """The spec's picture: mode RGB or L as its colour says, exactly `spec.width` x `spec.height`, upright, sRGB."""
    part = plan(spec, picture.width, picture.height, picture.orientation)
    pixels = picture.pixels
    # a scaled decode rounds its size up; the box in exact fractions keeps the geometry of the whole picture
    box = tuple(edge / picture.scale for edge in part.box)
    small = pixels.resize(
        part.size,
        _RESAMPLING[spec.filter],
        (box[0], box[1], min(box[2], pixels.width), min(box[3], pixels.height)),
        None if spec.filter in _UNREDUCED else _REDUCING_GAP,
    )
    if picture.to_srgb is not None:
        small = colour.apply(picture.to_srgb, small)
    if small.mode != (mode := _MODES[spec.colour]):
        small = small.convert(mode)
    turn = _TURNS.get(picture.orientation)
    if turn is not None:
        small = small.transpose(turn)
    if small.size == (spec.width, spec.height):
        return small
    padded = Image.new(mode, (spec.width, spec.height), colour.WHITE if mode == "RGB" else 255)
    padded.paste(small, ((spec.width - small.width) // 2, (spec.height - small.height) // 2))
    return padded


def render_all(picture: Picture, specs: Iterable[Spec]) -> dict[Spec, bytes]:
    """uint8 of each distinct spec, rows top to bottom, [height, width, channels] without gaps."""
    return {spec: render(picture, spec).tobytes() for spec in dict.fromkeys(specs)}
