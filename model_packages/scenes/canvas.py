"""A canvas that remembers, for every pixel, which thing was drawn there last.

World coordinates: the largest centred square of the final picture (what a `cover` crop to a square keeps) is
[0, 1] x [0, 1], y downwards; a landscape picture reaches beyond it at the left and right, a portrait one above and below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from model_packages.scenes.vocabulary import THING_ID

Colour = tuple[float, float, float]
Point = tuple[float, float]


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Colour between `a` (share 0) and `b` (share 1)."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


class Canvas:
    """Two images of one size: RGB pixels and uint8 thing numbers; large enough to be turned by `tilt` degrees."""

    def __init__(self, size: tuple[int, int], tilt: float, fine: int = 1) -> None:
        self.size, self.tilt, self.fine = size, tilt, fine
        width, height = size
        angle = math.radians(abs(tilt))
        self.width = math.ceil((width * math.cos(angle) + height * math.sin(angle)) * fine) + 2
        self.height = math.ceil((height * math.cos(angle) + width * math.sin(angle)) * fine) + 2
        self.unit = float(min(size) * fine)
        self.left = self.width / 2 - self.unit / 2
        self.top = self.height / 2 - self.unit / 2
        self.image = Image.new("RGB", (self.width, self.height))
        self.things = Image.new("L", (self.width, self.height), 0)
        self._rgb, self._ids = ImageDraw.Draw(self.image), ImageDraw.Draw(self.things)
        self.ambient: Colour = (1.0, 1.0, 1.0)
        self.mark = 0  # MAIN while the main subject is drawn

    # World bounds, for things that span the whole picture.
    @property
    def x0(self) -> float:
        return -self.left / self.unit - 0.01

    @property
    def x1(self) -> float:
        return (self.width - self.left) / self.unit + 0.01

    @property
    def y0(self) -> float:
        return -self.top / self.unit - 0.01

    @property
    def y1(self) -> float:
        return (self.height - self.top) / self.unit + 0.01

    def shade(self, colour: Colour, glowing: bool = False) -> tuple[int, int, int]:
        """8-bit colour under the light of this time of day; what glows by itself keeps its colour."""
        light = (1.0, 1.0, 1.0) if glowing else self.ambient
        r, g, b = (max(0, min(255, int(c * a))) for c, a in zip(colour, light, strict=True))
        return r, g, b

    def _at(self, points: Iterable[Point]) -> list[Point]:
        u, left, top = self.unit, self.left, self.top
        return [(left + x * u, top + y * u) for x, y in points]

    def polygon(self, thing: str, points: Sequence[Point], colour: Colour, glowing: bool = False) -> None:
        """Filled polygon in world coordinates."""
        where = self._at(points)
        self._rgb.polygon(where, fill=self.shade(colour, glowing))
        self._ids.polygon(where, fill=self.mark + THING_ID[thing])

    def ellipse(
        self, thing: str, x: float, y: float, rx: float, ry: float, colour: Colour, glowing: bool = False
    ) -> None:
        """Filled ellipse around (x, y)."""
        u = self.unit
        px, py = self.left + x * u, self.top + y * u
        box = (px - rx * u, py - ry * u, px + rx * u, py + ry * u)
        self._rgb.ellipse(box, fill=self.shade(colour, glowing))
        self._ids.ellipse(box, fill=self.mark + THING_ID[thing])

    def arc(self, thing: str, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        """The upper half of a ring around (x, y)."""
        u = self.unit
        px, py = self.left + x * u, self.top + y * u
        box = (px - radius * u, py - radius * u, px + radius * u, py + radius * u)
        wide = max(1, round(width * u))
        self._rgb.arc(box, 180, 360, fill=self.shade(colour), width=wide)
        self._ids.arc(box, 180, 360, fill=self.mark + THING_ID[thing], width=wide)

    def line(
        self, thing: str | None, points: Sequence[Point], width: float, colour: Colour, glowing: bool = False
    ) -> None:
        """Line of `width` (at least one pixel); thing None leaves the id buffer alone (pure texture)."""
        where = self._at(points)
        wide = max(1, round(width * self.unit))
        self._rgb.line(where, fill=self.shade(colour, glowing), width=wide)
        if thing is not None:
            self._ids.line(where, fill=self.mark + THING_ID[thing], width=wide)

    def gradient(
        self, thing: str, y0: float, y1: float, upper: Colour, lower: Colour, glowing: bool = False
    ) -> None:
        """Fill all rows from y0 to y1 with a vertical gradient."""
        a = max(0, round(self.top + y0 * self.unit))
        b = min(self.height, round(self.top + y1 * self.unit))
        if b <= a:
            return
        share = np.linspace(0.0, 1.0, b - a, dtype=np.float32)[:, None]
        first = np.asarray(self.shade(upper, glowing), np.float32)
        last = np.asarray(self.shade(lower, glowing), np.float32)
        column = (first + (last - first) * share).astype(np.uint8)[:, None, :]
        strip = Image.fromarray(np.ascontiguousarray(column)).resize(
            (self.width, b - a), Image.Resampling.NEAREST
        )
        self.image.paste(strip, (0, a))
        self._ids.rectangle((0, a, self.width, b - 1), fill=self.mark + THING_ID[thing])

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Soft light around (x, y), over whatever is there; the id buffer stays."""
        side = 33
        axis = np.linspace(-1.0, 1.0, side, dtype=np.float32)
        fall = np.clip(1.0 - np.hypot(axis[:, None], axis[None, :]), 0.0, 1.0) ** 2 * (255 * strength)
        reach = max(2, round(2 * radius * self.unit))
        mask = Image.fromarray(fall.astype(np.uint8)).resize((reach, reach), Image.Resampling.BILINEAR)
        corner = (round(self.left + (x - radius) * self.unit), round(self.top + (y - radius) * self.unit))
        r, g, b = self.shade(colour, glowing=True)
        self.image.paste((r, g, b), (corner[0], corner[1], corner[0] + reach, corner[1] + reach), mask)

    def veil(self, y: float, reach: float, colour: Colour, strength: float, everywhere: float) -> None:
        """Fog: thickest at height y, fading over `reach`, never thinner than `everywhere`."""
        rows = (np.arange(self.height, dtype=np.float32) - self.top) / self.unit
        alpha = np.maximum(strength * np.exp(-(((rows - y) / reach) ** 2)), everywhere)
        column = Image.fromarray((alpha * 255).astype(np.uint8)[:, None]).resize(self.image.size)
        r, g, b = self.shade(colour, glowing=True)
        self.image.paste((r, g, b), (0, 0, self.width, self.height), column)

    def finish(self) -> tuple[Image.Image, np.ndarray]:
        """The picture (RGB) and its thing numbers (uint8 [h, w]) at `size`, turned by `tilt`."""
        width, height = self.size
        angle, f = math.radians(self.tilt), float(self.fine)
        cos, sin = math.cos(angle) * f, math.sin(angle) * f
        cx, cy = self.width / 2, self.height / 2
        image, things = self.image, self.things
        if self.fine > 1:  # average first: a turn by bilinear lookup alone would alias
            image = image.reduce(self.fine)
            cos, sin, cx, cy = cos / f, sin / f, cx / f, cy / f
        turn = (
            cos,
            sin,
            cx - cos * width / 2 - sin * height / 2,
            -sin,
            cos,
            cy + sin * width / 2 - cos * height / 2,
        )
        picture = image.transform(self.size, Image.Transform.AFFINE, turn, Image.Resampling.BILINEAR)
        cos, sin = math.cos(angle) * f, math.sin(angle) * f
        cx, cy = self.width / 2, self.height / 2
        turn = (
            cos,
            sin,
            cx - cos * width / 2 - sin * height / 2,
            -sin,
            cos,
            cy + sin * width / 2 - cos * height / 2,
        )
        ids = things.transform(self.size, Image.Transform.AFFINE, turn, Image.Resampling.NEAREST)
        return picture, np.asarray(ids)


class Pen:
    """Draws one object on a canvas in the object's own coordinates: foot at (0, 0), y upwards, height about 1."""

    def __init__(
        self, canvas: Canvas, thing: str, x: float, y: float, height: float, mirrored: bool = False
    ) -> None:
        self.canvas, self.thing = canvas, thing
        self.x, self.y, self.height = x, y, height
        self.flip = -height if mirrored else height

    def at(self, x: float, y: float) -> Point:
        """World coordinates of a point of the object."""
        return self.x + x * self.flip, self.y - y * self.height

    def poly(self, points: Sequence[Point], colour: Colour, glowing: bool = False) -> None:
        self.canvas.polygon(self.thing, [self.at(x, y) for x, y in points], colour, glowing)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, glowing: bool = False) -> None:
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, glowing)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, glowing: bool = False) -> None:
        px, py = self.at(x, y)
        self.canvas.ellipse(self.thing, px, py, rx * self.height, ry * self.height, colour, glowing)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, glowing: bool = False) -> None:
        self.canvas.line(self.thing, [self.at(x, y) for x, y in points], width * self.height, colour, glowing)
