"""From any stored pixel mode to sRGB: palettes, gray, 16 bits, CMYK, alpha over white, embedded ICC profiles.

Two steps. `flatten` makes a picture of three channels or one (gray stays gray until after the resize, which is then
three times cheaper). `Profiles` gives the transform from an embedded profile to sRGB, which is applied to the small,
resized picture: every profile's curves are gamma-like, so resizing before or after differs by less than the filter does.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from typing import Final

from PIL import Image, ImageCms

WHITE: Final = (255, 255, 255)
# larger than any real profile (press profiles reach 3 MB); more is ignored like any other broken profile
_MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
_KEPT_TRANSFORMS: Final = 64
# A profile that moves no colour by more than this is sRGB by another name: most photos carry one.
_SAME_COLOUR: Final = 2

_PROFILE_SPACES: Final = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}


class Profiles:
    """Embedded ICC profiles → transforms to sRGB, the recent ones kept. Broken or ill-fitting profiles give None."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()
        self._srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

    def to_srgb(self, profile: object, mode: str) -> ImageCms.ImageCmsTransform | None:
        """The transform for pictures of `mode` (RGB, L or CMYK), or None: leave the colours as they are."""
        if (
            not isinstance(profile, bytes)
            or not 128 <= len(profile) <= _MAX_PROFILE_BYTES
            or mode not in _PROFILE_SPACES
        ):
            return None
        key = hashlib.blake2b(profile, digest_size=16).digest(), mode
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = self._build(profile, mode)
            if len(self._kept) > _KEPT_TRANSFORMS:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _build(self, profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space != _PROFILE_SPACES[mode]:
                return None
            transform = ImageCms.buildTransform(source, self._srgb, mode, "RGB")
            return None if mode != "CMYK" and _is_identity(transform, mode) else transform
        except Exception:  # whatever a profile does to the reader: the picture is served without it
            return None


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = range(0, 256, 17)
    if mode == "L":
        probe = Image.frombytes("L", (16, 1), bytes(levels))
    else:
        probe = Image.frombytes(
            "RGB", (256, 16), bytes(x for r in levels for g in levels for b in levels for x in (r, g, b))
        )
    after = ImageCms.applyTransform(probe, transform)
    if after is None:
        return False
    pairs = zip(probe.convert("RGB").tobytes(), after.tobytes(), strict=True)
    return all(abs(before - now) <= _SAME_COLOUR for before, now in pairs)


def apply(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    """`picture` in sRGB, mode RGB."""
    converted = ImageCms.applyTransform(picture, transform)
    if converted is None:
        raise AssertionError(
            "applyTransform returns an image unless it works in place; this is a bug of ours"
        )
    return converted


def flatten(picture: Image.Image, bit_depth: int) -> Image.Image:
    """A decoded picture of any mode as RGB or L, opaque, transparent places white. CMYK is left as it is.

    `bit_depth` is that of a PNG sample: transparent colours are given in it. Raises ValueError for a mode that no
    accepted format decodes to.
    """
    key = picture.info.pop("transparency", None)
    mode = picture.mode
    if mode.startswith("I;16"):
        return _flatten_16_bit(picture, key)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return _over_white(picture if mode in ("LA", "RGBA") else picture.convert("RGBA"))
    key = _scaled_key(key, mode, bit_depth)
    if key is not None:
        picture.info["transparency"] = key
        return _over_white(picture.convert("RGBA"))
    if mode in ("RGB", "L", "CMYK"):
        return picture
    if mode == "1":
        return picture.convert("L")
    if mode in ("P", "YCbCr"):
        return picture.convert("RGB")
    raise ValueError(f"unexpected mode {mode}")


def _scaled_key(key: object, mode: str, bit_depth: int) -> int | bytes | tuple[int, int, int] | None:
    """The transparent colour in the terms of the decoded picture, or None.

    A PNG's text chunks can put anything under the same name, so the type is checked, not trusted. Pillow keeps the
    key in the file's own depth while it scales 2- and 4-bit gray up and 16-bit colour down.
    """
    if mode == "P":
        return key if isinstance(key, bytes) or (type(key) is int and 0 <= key <= 255) else None
    if mode in ("L", "1") and type(key) is int:
        level = key * 255 // ((1 << bit_depth) - 1) if mode == "L" and bit_depth < 8 else key
        return level if 0 <= level <= 255 else None
    if mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        red, green, blue = (int(part) >> 8 if bit_depth == 16 else int(part) for part in key)
        return (red, green, blue) if max(red, green, blue) <= 255 else None
    return None


def _flatten_16_bit(picture: Image.Image, key: object) -> Image.Image:
    # the high byte of each sample, as libpng's and Pillow's 16-bit colour does it; a plain convert would clip
    gray = picture.point(lambda level: level * (1 / 256)).convert("L")
    if type(key) is int and 0 <= key <= 65535:
        table = [0] * 65536
        table[key] = 255
        gray.paste(255, (0, 0, *gray.size), picture.convert("I").point(table, "L"))
    return gray


def _over_white(picture: Image.Image) -> Image.Image:
    """RGBA or LA composed over white; colours under transparent places do not show."""
    if picture.mode == "LA":
        white = Image.new("L", picture.size, 255)
        white.paste(picture.getchannel("L"), (0, 0), picture.getchannel("A"))
        return white
    paper = Image.new("RGB", picture.size, WHITE)
    paper.paste(picture, (0, 0), picture)
    return paper
