"""Drawn photos: JPEGs of any size that cost a decoder about as much as a photograph does. The same seed, the same photo."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

# Together about 2 bits a pixel, which photographs of phones and cameras have at this quality.
_QUALITY = 88
_NOISE = 5.0
_SHAPES = 60


def draw_photo(width: int, height: int, seed: int) -> bytes:
    """A baseline JPEG: soft light over a few dozen overlapping surfaces, with the noise of a sensor."""
    chance = np.random.default_rng((seed, width, height))
    pixels = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 8):
        cells = 2**octave + 1
        coarse = Image.fromarray(chance.integers(0, 256, (cells, cells, 3), np.uint8), "RGB")
        grown = np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        pixels += (grown - 128) / 1.6**octave
    pixels += 128
    for _ in range(_SHAPES):
        # surfaces hide one another; there are many small ones and few large ones
        radius = max(2.0, min(width, height) * 0.4 * float(chance.random()) ** 3)
        x, y = float(chance.random()) * width, float(chance.random()) * height
        left, right = max(0, int(x - radius)), min(width, int(x + radius) + 1)
        top, bottom = max(0, int(y - radius)), min(height, int(y + radius) + 1)
        rows, columns = np.ogrid[top:bottom, left:right]
        inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        colour = chance.integers(-90, 90, 3).astype(np.float32)
        pixels[top:bottom, left:right][inside] = pixels[top:bottom, left:right][inside] * 0.5 + 64 + colour
    pixels += chance.standard_normal((height, width, 1), np.float32) * _NOISE
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB").save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
