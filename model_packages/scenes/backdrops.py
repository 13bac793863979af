"""Skies and grounds: everything that spans the picture behind and under the objects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from model_packages.scenes.canvas import Canvas, Colour, Point, blend
from model_packages.scenes.objects import LIGHT, conifer, tree


@dataclass(frozen=True)
class Light:
    """Colours of one time of day: sky at the top and at the horizon, the light on things, haze, bare clouds."""

    top: Colour
    horizon: Colour
    ambient: Colour
    cloud: Colour


LIGHTS: dict[str, tuple[Light, ...]] = {
    "morning": (
        Light((150, 178, 222), (255, 226, 206), (0.9, 0.87, 0.9), (255, 236, 230)),
        Light((176, 178, 220), (255, 214, 218), (0.9, 0.84, 0.9), (252, 228, 232)),
    ),
    "day": (
        Light((46, 118, 214), (168, 212, 244), (1.0, 1.0, 1.0), (252, 252, 254)),
        Light((84, 150, 226), (206, 230, 246), (1.0, 1.0, 0.98), (250, 250, 252)),
    ),
    "sunset": (
        Light((62, 48, 110), (255, 136, 56), (0.72, 0.5, 0.44), (236, 120, 90)),
        Light((120, 58, 104), (255, 176, 72), (0.76, 0.54, 0.42), (250, 150, 96)),
        Light((40, 56, 120), (244, 96, 74), (0.66, 0.46, 0.48), (214, 96, 110)),
    ),
    "night": (
        Light((10, 14, 40), (38, 50, 96), (0.3, 0.36, 0.54), (62, 70, 104)),
        Light((8, 10, 28), (28, 44, 74), (0.27, 0.33, 0.46), (54, 62, 84)),
    ),
}


def ridge(rng: Random, x0: float, x1: float, base: float, height: float, rough: float) -> list[Point]:
    """A jagged line from x0 to x1 by midpoint displacement; y is smaller where the ridge is higher."""
    points = [base - height * rng.uniform(0.3, 0.8) for _ in range(3)]
    swing = height * rough
    for _ in range(4):
        denser = [points[0]]
        for a, b in pairwise(points):
            denser += [(a + b) / 2 + rng.uniform(-swing, swing), b]
        points, swing = denser, swing * 0.5
    step = (x1 - x0) / (len(points) - 1)
    return [(x0 + i * step, min(y, base - height * 0.08)) for i, y in enumerate(points)]


def sky(c: Canvas, rng: Random, light: Light, time: str, horizon: float) -> None:
    """Sky with sun or moon, stars, clouds and sometimes a rainbow."""
    c.gradient("nothing", c.y0, horizon + 0.01, light.top, light.horizon, glowing=True)
    c.gradient(
        "nothing", horizon, horizon + 0.08, light.horizon, light.horizon, glowing=True
    )  # behind a wavy ground
    sx = rng.uniform(0.1, 0.9)
    if time == "night":
        if rng.random() < 0.6:
            for _ in range(rng.randint(60, 130)):
                x, y = rng.uniform(c.x0, c.x1), rng.uniform(c.y0, horizon)
                r = rng.choice((0.0035, 0.0045, 0.0065))
                c.ellipse("star", x, y, r, r, (236, 238, 255), True)
        if rng.random() < 0.6:
            y, r = rng.uniform(0.08, 0.28), rng.uniform(0.035, 0.06)
            crescent = rng.random() < 0.5
            if not crescent:
                c.glow(sx, y, r * 4, (210, 220, 255), 0.4)
            c.ellipse("moon", sx, y, r, r, (244, 242, 224), True)
            if crescent:
                c.ellipse(
                    "nothing",
                    sx + r * 0.5,
                    y - r * 0.2,
                    r * 0.85,
                    r * 0.85,
                    blend(light.top, light.horizon, max(0.0, (y - c.y0) / (horizon - c.y0))),
                    True,
                )
            else:
                for _ in range(4):
                    c.ellipse(
                        "moon",
                        sx + rng.uniform(-0.5, 0.5) * r,
                        y + rng.uniform(-0.5, 0.5) * r,
                        r * 0.16,
                        r * 0.14,
                        (216, 214, 200),
                        True,
                    )
    elif rng.random() < {"day": 0.5, "sunset": 0.75, "morning": 0.5}[time]:
        low = {
            "day": (0.07, 0.25),
            "sunset": (horizon - 0.13, horizon - 0.01),
            "morning": (horizon - 0.28, horizon - 0.1),
        }
        y, r = rng.uniform(*low[time]), rng.uniform(0.035, 0.065)
        tint: Colour = {"day": (255, 244, 190), "sunset": (255, 206, 96), "morning": (255, 240, 196)}[time]
        c.glow(sx, y, r * 6, tint, 0.65)
        c.ellipse("sun", sx, y, r, r, blend(tint, (255, 255, 255), 0.35), True)
    if time in ("day", "morning") and rng.random() < 0.16:
        cx, radius = rng.uniform(0.2, 0.8), rng.uniform(0.36, 0.55)
        cy = horizon + rng.uniform(0.0, 0.12)
        for i, colour in enumerate(
            (
                (230, 90, 90),
                (240, 160, 80),
                (244, 228, 110),
                (120, 200, 120),
                (100, 150, 230),
                (150, 110, 210),
            )
        ):
            c.arc("rainbow", cx, cy, radius - i * 0.013, 0.014, blend(colour, light.horizon, 0.3))
    if rng.random() < 0.55:
        for _ in range(rng.randint(1, 5)):
            cloud(
                c,
                rng,
                light,
                rng.uniform(c.x0, c.x1),
                rng.uniform(0.02, max(0.1, horizon - 0.16)),
                rng.uniform(0.05, 0.11),
            )


def cloud(c: Canvas, rng: Random, light: Light, x: float, y: float, r: float) -> None:
    """A heap of soft ellipses, darker underneath."""
    under = blend(light.cloud, light.top, 0.3)
    puffs = [
        (x + rng.uniform(-1.6, 1.6) * r, y + rng.uniform(-0.25, 0.2) * r, r * rng.uniform(0.45, 0.85))
        for _ in range(6)
    ]
    for px, py, pr in puffs:
        c.ellipse("cloud", px, py + pr * 0.18, pr * 1.2, pr * 0.62, under, True)
    for px, py, pr in puffs:
        c.ellipse("cloud", px, py - pr * 0.04, pr * 1.08, pr * 0.5, light.cloud, True)


def mountains(c: Canvas, rng: Random, light: Light, base: float, height: float) -> None:
    """One or two ranges of rock with snow on the peaks."""
    for layer in range(rng.randint(1, 2) + 1):
        share = layer / 3
        rock = blend(
            rng.choice(((104, 110, 128), (118, 104, 98), (92, 104, 112))), light.horizon, 0.45 - share
        )
        tall = height * (1.0 - 0.35 * share)
        top = ridge(rng, c.x0, c.x1, base, tall, 0.42)
        c.polygon("mountain", [*top, (c.x1, base + 0.03), (c.x0, base + 0.03)], rock)
        snow = blend((248, 250, 255), light.horizon, 0.15)
        for i in range(1, len(top) - 1):
            (x, y), (xl, yl), (xr, yr) = top[i], top[i - 1], top[i + 1]
            if y <= yl and y <= yr:
                depth = tall * rng.uniform(0.16, 0.32)
                c.polygon(
                    "mountain",
                    [
                        (x, y),
                        (xr + 0.02, max(yr, y) + depth * 0.8),
                        (x + 0.02, y + depth * 0.55),
                        (x - 0.02, y + depth * 0.8),
                        (xl - 0.015, max(yl, y) + depth * 0.7),
                    ],
                    snow,
                )
                c.polygon(
                    "mountain",
                    [(x, y), (xr + 0.05, base), (x + 0.015, base)],
                    blend(rock, (30, 30, 50), 0.22),
                )


def water(c: Canvas, rng: Random, light: Light, thing: str, y0: float, y1: float) -> None:
    """Open water between two heights, with ripples that widen towards the viewer."""
    deep: Colour = (24, 92, 142) if thing == "sea" else (48, 108, 128)
    far, near = blend(light.horizon, deep, 0.45), blend(light.top, deep, 0.6)
    c.gradient(thing, y0, y1, far, near, glowing=True)
    for _ in range(46):
        share = rng.random() ** 1.4
        y = y0 + (y1 - y0) * share
        x, w = rng.uniform(c.x0, c.x1), 0.02 + 0.1 * share
        tone = blend(blend(far, near, share), (255, 255, 255) if rng.random() < 0.55 else (10, 30, 60), 0.22)
        c.line(None, [(x, y), (x + w, y)], 0.003 + 0.004 * share, tone, True)


def wavy(rng: Random, x0: float, x1: float, y: float, swing: float) -> list[Point]:
    """A gentle line from x0 to x1 around y."""
    phase, turns = rng.uniform(0, 6.28), rng.uniform(0.7, 2.0)
    return [(x0 + (x1 - x0) * i / 16, y + swing * math.sin(phase + turns * 6.28 * i / 16)) for i in range(17)]


def ground(
    c: Canvas, rng: Random, thing: str, y: float, swing: float, colour: Colour, tufts: int, tuft: float
) -> None:
    """Everything below a wavy line at y, with `tufts` short strokes as texture."""
    edge = wavy(rng, c.x0, c.x1, y, swing)
    c.polygon(thing, [*edge, (c.x1, c.y1), (c.x0, c.y1)], colour)
    lower = y + (c.y1 - y) * 0.45
    c.polygon(
        thing,
        [*wavy(rng, c.x0, c.x1, lower, swing), (c.x1, c.y1), (c.x0, c.y1)],
        blend(colour, (0, 0, 0), 0.08),
    )
    for _ in range(tufts):
        share = rng.random()
        tx, ty = rng.uniform(c.x0, c.x1), y + swing + (c.y1 - y) * share
        tone = blend(colour, (255, 255, 240) if rng.random() < 0.5 else (0, 0, 0), 0.2)
        size = tuft * (0.3 + share)
        c.line(None, [(tx, ty), (tx + rng.uniform(-0.6, 0.6) * size, ty - size)], 0.003, tone)


def trees(c: Canvas, rng: Random, thing: str, y: float, height: float, count: int, snowy: bool) -> None:
    """A loose row of trees with their feet near y."""
    for _ in range(count):
        x, h = rng.uniform(c.x0, c.x1), height * rng.uniform(0.7, 1.2)
        if snowy or rng.random() < 0.7:
            conifer(c, rng, x, y + rng.uniform(0.0, 0.02), h, snowy, thing)
        else:
            tree(c, rng, x, y + rng.uniform(0.0, 0.02), h, False, thing)


def forest(c: Canvas, rng: Random, light: Light, floor: float) -> None:
    """Three depths of wood, then its floor."""
    c.gradient("woods", floor - 0.22, floor + 0.01, blend((70, 104, 84), light.horizon, 0.35), (52, 84, 58))
    tall = rng.uniform(0.4, 0.62)
    for depth, count in ((0.55, 16), (0.8, 12)):
        step = (c.x1 - c.x0) / count
        for i in range(count):
            x, h = c.x0 + (i + rng.random()) * step, tall * depth * rng.uniform(0.8, 1.25)
            if rng.random() < 0.75:
                conifer(c, rng, x, floor + 0.02 * depth, h, False, "woods")
            else:
                tree(c, rng, x, floor + 0.02 * depth, h, False, "woods")
    ground(c, rng, "woods", floor, 0.008, rng.choice(((84, 92, 52), (104, 84, 54), (66, 88, 50))), 60, 0.02)
    for side in (c.x0 + 0.06, c.x1 - 0.06):
        if rng.random() < 0.8:
            x = side + rng.uniform(-0.06, 0.06)
            bark = blend((84, 60, 42), (60, 56, 50), rng.random())
            c.polygon(
                "woods",
                [(x - 0.035, c.y0), (x + 0.03, c.y0), (x + 0.05, floor + 0.14), (x - 0.05, floor + 0.14)],
                bark,
            )
            for _ in range(5):
                y = rng.uniform(c.y0, floor)
                c.line(
                    None,
                    [(x + rng.uniform(-0.03, 0.01), y), (x + rng.uniform(-0.02, 0.02), y + 0.06)],
                    0.004,
                    blend(bark, (0, 0, 0), 0.4),
                )


def skyline(c: Canvas, rng: Random, light: Light, base: float, night: bool) -> None:
    """Two rows of buildings with windows."""
    for row in range(2):
        x = c.x0 - rng.uniform(0.0, 0.1)
        while x < c.x1:
            w = rng.uniform(0.09, 0.17)
            h = rng.uniform(0.14, 0.42) * (1.15 if row == 0 else 0.75)
            wall: Colour = rng.choice(
                (
                    (150, 156, 168),
                    (176, 150, 132),
                    (120, 130, 146),
                    (196, 190, 178),
                    (134, 96, 84),
                    (90, 104, 126),
                )
            )
            wall = blend(wall, light.horizon, 0.3 if row == 0 else 0.05)
            c.polygon(
                "building", [(x, base + 0.01), (x, base - h), (x + w, base - h), (x + w, base + 0.01)], wall
            )
            c.polygon(
                "building",
                [
                    (x + w * 0.8, base + 0.01),
                    (x + w * 0.8, base - h),
                    (x + w, base - h),
                    (x + w, base + 0.01),
                ],
                blend(wall, (0, 0, 0), 0.18),
            )
            if rng.random() < 0.25:
                c.line(
                    "building",
                    [(x + w / 2, base - h), (x + w / 2, base - h - 0.06)],
                    0.006,
                    blend(wall, (0, 0, 0), 0.3),
                )
            pane = blend(wall, (30, 44, 70), 0.5)
            columns, step = max(2, int(w / 0.035)), 0.045
            y = base - h + 0.025
            while y < base - 0.03:
                for k in range(columns):
                    px = x + w * 0.8 * (k + 0.25) / columns
                    lit = night and rng.random() < 0.55
                    c.polygon(
                        "building",
                        [(px, y), (px + 0.014, y), (px + 0.014, y + 0.02), (px, y + 0.02)],
                        LIGHT if lit else pane,
                        lit,
                    )
                y += step
            x += w + rng.uniform(-0.01, 0.03)


def road(c: Canvas, rng: Random, y: float, across: bool) -> None:
    """A paved road, across the picture at y or leading away from the viewer towards y."""
    grey: Colour = (92, 92, 98)
    if across:
        c.polygon("road", [(c.x0, y), (c.x1, y), (c.x1, y + 0.13), (c.x0, y + 0.13)], grey)
        x = c.x0
        while x < c.x1:
            c.polygon(
                "road",
                [(x, y + 0.06), (x + 0.07, y + 0.06), (x + 0.07, y + 0.07), (x, y + 0.07)],
                (236, 232, 216),
            )
            x += 0.14
        return
    far, near = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.8)
    c.polygon("road", [(far - 0.012, y), (far + 0.012, y), (near + 0.2, c.y1), (near - 0.2, c.y1)], grey)
    for i in range(5):
        a, b = (i / 5) ** 1.5, ((i + 0.5) / 5) ** 1.5
        xa, xb = far + (near - far) * a, far + (near - far) * b
        ya, yb = y + (c.y1 - y) * a, y + (c.y1 - y) * b
        c.polygon(
            "road",
            [(xa - 0.01 * a, ya), (xa + 0.01 * a, ya), (xb + 0.012 * b, yb), (xb - 0.012 * b, yb)],
            (236, 232, 216),
        )


def dunes(c: Canvas, rng: Random, light: Light, horizon: float) -> None:
    """Sand to the horizon, sometimes with flat-topped rocks far away."""
    sand = rng.choice(((226, 178, 112), (216, 150, 96), (232, 196, 140)))
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 3)):
            x, w, h = rng.uniform(c.x0, c.x1), rng.uniform(0.08, 0.2), rng.uniform(0.06, 0.16)
            rock = blend((176, 92, 62), light.horizon, 0.3)
            c.polygon(
                "dune",
                [
                    (x - w, horizon + 0.02),
                    (x - w * 0.7, horizon - h),
                    (x + w * 0.65, horizon - h),
                    (x + w, horizon + 0.02),
                ],
                rock,
            )
            c.polygon(
                "dune",
                [
                    (x + w * 0.2, horizon + 0.02),
                    (x + w * 0.3, horizon - h),
                    (x + w * 0.65, horizon - h),
                    (x + w, horizon + 0.02),
                ],
                blend(rock, (0, 0, 0), 0.15),
            )
    for i in range(4):
        y = horizon + i * 0.09
        ground(
            c,
            rng,
            "dune",
            y,
            0.018 + 0.008 * i,
            blend(blend(sand, light.horizon, 0.35 - i * 0.12), (0, 0, 0), 0.03 * (i % 2)),
            14 if i else 0,
            0.008,
        )
    for _ in range(7):
        y = rng.uniform(horizon + 0.12, c.y1)
        c.line(None, wavy(rng, c.x0, c.x1, y, 0.01), 0.003, blend(sand, (90, 50, 20), 0.25))
