"""Thumbnails: a PNG that others can read, made without Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from check.thumbnail import png


def test_a_png_holds_exactly_its_pixels() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (18, 24, 3), np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(image), pixels)
