"""The one thing read from a photo's metadata: which way is up. Everything else in EXIF is ignored and never echoed.

Own code instead of a general EXIF reader: one directory, bounded by the bytes at hand, no pointers followed, so
loops, floods of entries and counts of 2^32 cost nothing.
"""

from __future__ import annotations

import struct
from typing import Final

TAG: Final = 0x0112
_BYTE: Final = 1
_SHORT: Final = 3
_LONG: Final = 4
# readers stop here: no camera writes a first directory this long, and the tag is among its first entries
_MAX_ENTRIES: Final = 1024

UPRIGHT: Final = 1


def read_orientation(exif: object) -> int:
    """EXIF orientation, 1 to 8. Anything that is not a readable orientation is 1 (upright).

    `exif` is what the format's reader found: bytes, with or without the leading `Exif\\0\\0`, or nothing.
    """
    if not isinstance(exif, bytes):
        return UPRIGHT
    start = 6 if exif.startswith(b"Exif\x00\x00") else 0
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[start : start + 4])
    if order is None:
        return UPRIGHT
    try:
        return _search(exif, start, order)
    except struct.error:  # the directory lies outside the bytes
        return UPRIGHT


def checked(value: object) -> int:
    """`value` where it is an orientation, else 1."""
    return value if type(value) is int and 1 <= value <= 8 else UPRIGHT


def is_turned(orientation: int) -> bool:
    """Whether width and height change places."""
    return orientation >= 5


def _search(exif: bytes, start: int, order: str) -> int:
    (offset,) = struct.unpack_from(order + "I", exif, start + 4)
    position = start + offset
    (entries,) = struct.unpack_from(order + "H", exif, position)
    position += 2
    for _ in range(min(entries, _MAX_ENTRIES)):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, position)
        if tag == TAG:
            if count != 1 or kind not in (_BYTE, _SHORT, _LONG):
                return UPRIGHT
            code = {_BYTE: "B", _SHORT: "H", _LONG: "I"}[kind]
            (value,) = struct.unpack_from(order + code, exif, position + 8)
            return checked(value)
        position += 12
    return UPRIGHT
