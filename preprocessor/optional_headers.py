"""The dimensions that AVIF, HEIC, TIFF and BMP files claim, read from their first structures. Pure, in bounded steps.

These formats are switched on one by one. What cannot be followed raises ValueError with a reason that quotes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

Data = bytes | bytearray | memoryview
Size = tuple[int, int]

# a directory of any camera's first picture is far shorter, and so is a box of properties
_MAX_TIFF_ENTRIES: Final = 1024
_MAX_BOXES: Final = 4096

_TIFF_WIDTH: Final = 256
_TIFF_HEIGHT: Final = 257
_TIFF_NUMBERS: Final = {3: "H", 4: "I"}


def read_bmp(data: Data) -> Size:
    """Width and height of a BMP; a height below 0 means that its rows lie top down."""
    try:
        (header_bytes,) = struct.unpack_from("<I", data, 14)
        if header_bytes == 12:
            width, height = struct.unpack_from("<HH", data, 18)
        else:
            width, height = struct.unpack_from("<ii", data, 18)
    except struct.error:
        raise ValueError("the BMP ends in its header") from None
    if width < 0:
        raise ValueError("the BMP has a width below 0")
    return int(width), abs(int(height))


def read_tiff(data: Data) -> Size:
    """Width and height by a TIFF's first directory. No other directory is looked at."""
    order = "<" if bytes(data[:2]) == b"II" else ">"
    found: dict[int, int] = {}
    try:
        (position,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, position)
        for index in range(min(entries, _MAX_TIFF_ENTRIES)):
            at = position + 2 + 12 * index
            tag, kind, count = struct.unpack_from(order + "HHI", data, at)
            if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
                if count != 1 or kind not in _TIFF_NUMBERS:
                    raise ValueError("the TIFF has a broken width or height")
                # the first one counts, as for the library that reads the pixels the last: so both must agree
                (value,) = struct.unpack_from(order + _TIFF_NUMBERS[kind], data, at + 8)
                if found.setdefault(tag, value) != value:
                    raise ValueError("the TIFF has two widths or two heights")
    except struct.error:
        raise ValueError("the TIFF has a directory outside the file") from None
    if len(found) < 2:
        raise ValueError("the TIFF does not say how large it is")
    return found[_TIFF_WIDTH], found[_TIFF_HEIGHT]


def read_heif(data: Data) -> Size:
    """The largest extent that any picture in an AVIF or HEIC file claims: no part of it is larger when it is decoded."""
    meta = next((body for kind, body in _boxes(data, 0, len(data)) if kind == b"meta"), None)
    if meta is None:
        raise ValueError("the file has no still picture in it")
    largest: Size | None = None
    # the boxes inside a meta box begin after its version and flags
    for kind, (start, end) in _boxes(data, meta[0] + 4, meta[1]):
        if kind != b"iprp":
            continue
        for inner, (from_, to) in _boxes(data, start, end):
            if inner != b"ipco":
                continue
            for leaf, (at, ends) in _boxes(data, from_, to):
                if leaf == b"ispe" and ends - at >= 12:
                    width, height = struct.unpack_from(">II", data, at + 4)
                    if min(width, height) == 0:
                        raise ValueError("a picture in the file has a side of 0")
                    if largest is None or width * height > largest[0] * largest[1]:
                        largest = (width, height)
    if largest is None:
        raise ValueError("the file does not say how large its picture is")
    return largest


def _boxes(data: Data, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(kind, (start, end) of the body) of the boxes that lie one after another in `data[start:end]`."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        length = int.from_bytes(data[start : start + 4], "big")
        kind, head = bytes(data[start + 4 : start + 8]), 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif length == 0:
            length = end - start
        if length < head or start + length > end:
            raise ValueError("a box is longer than what holds it")
        yield kind, (start + head, start + length)
        start += length
    raise ValueError(f"the file has more than {_MAX_BOXES} boxes")
