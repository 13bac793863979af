"""Thumbnail: pixels as a small PNG, written by the standard library alone (Pillow is the preprocessor's)."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import numpy as np

from check.photos import Photos
from crema.host.manifest_parts import ImageInput

SIZE: Final = (240, 180)


def thumbnail(photo: bytes, photos: Photos) -> bytes:
    """A photo as a PNG that fits into SIZE, white around it. Raises PhotoRefused."""
    return png(photos.decode(photo, ImageInput(kind="image", size=SIZE, fit="contain", filter="bilinear")))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """uint8 [height, width, 3] as a PNG."""
    height, width, _ = pixels.shape
    # each row as its difference from the row above (filter 2): photos become half as large
    above = np.vstack([np.zeros_like(pixels[:1]), pixels[:-1]])
    rows = np.full((height, 1 + width * 3), 2, np.uint8)
    rows[:, 1:] = (pixels - above).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
