"""The things that can stand, swim or fly in a scene. Every function draws one, foot at (x, y), `h` high (world units)."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from model_packages.scenes.canvas import Canvas, Colour, Pen, blend

BRIGHT: tuple[Colour, ...] = (
    (214, 52, 48),
    (238, 140, 36),
    (246, 206, 60),
    (60, 150, 84),
    (52, 112, 204),
    (140, 74, 170),
    (236, 236, 230),
    (40, 160, 170),
)
WOOD: Colour = (112, 76, 48)
LIGHT: Colour = (255, 214, 110)


def sailboat(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "sailboat", x, y, h, rng.random() < 0.5)
    hull, sail = rng.choice(BRIGHT), rng.choice(((248, 246, 238), (248, 246, 238), rng.choice(BRIGHT)))
    p.poly([(-0.42, 0.18), (0.46, 0.18), (0.32, 0.0), (-0.3, 0.0)], hull)
    p.poly([(-0.42, 0.18), (0.46, 0.18), (0.44, 0.145), (-0.4, 0.145)], blend(hull, (255, 255, 255), 0.6))
    p.stroke([(0.02, 0.16), (0.02, 1.0)], 0.025, WOOD)
    p.poly([(-0.01, 0.98), (-0.01, 0.24), (-0.4, 0.24)], sail)
    p.poly([(0.05, 0.92), (0.05, 0.24), (0.36, 0.24)], blend(sail, (120, 120, 140), 0.25))
    if night:
        p.oval(0.02, 0.21, 0.03, 0.03, LIGHT, True)


def house(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "house", x, y, h, rng.random() < 0.5)
    wall = rng.choice(
        ((232, 222, 200), (196, 150, 110), (214, 120, 96), (222, 226, 230), (150, 96, 66), (236, 206, 130))
    )
    roof = rng.choice(((150, 54, 42), (92, 68, 58), (72, 82, 100), (124, 84, 56)))
    p.box(-0.6, 0, 0.6, 0.55, wall)
    p.box(0.28, 0, 0.6, 0.55, blend(wall, (0, 0, 0), 0.16))
    p.box(0.3, 0.7, 0.42, 1.0, blend(roof, (60, 60, 60), 0.5))
    p.poly([(-0.72, 0.52), (-0.42, 0.95), (0.42, 0.95), (0.72, 0.52)], roof)
    p.poly([(-0.72, 0.52), (0.72, 0.52), (0.7, 0.56), (-0.7, 0.56)], blend(roof, (0, 0, 0), 0.3))
    p.box(-0.1, 0, 0.1, 0.34, blend(WOOD, roof, 0.3))
    pane: Colour = LIGHT if night else (150, 190, 214)
    for wx in (-0.46, 0.22):
        p.box(wx, 0.2, wx + 0.22, 0.42, (250, 248, 240))
        p.box(wx + 0.025, 0.225, wx + 0.1, 0.395, pane, night)
        p.box(wx + 0.12, 0.225, wx + 0.195, 0.395, pane, night)


def person(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "person", x, y, h, rng.random() < 0.5)
    skin = rng.choice(((238, 196, 160), (198, 140, 100), (128, 84, 58)))
    coat, legs = rng.choice(BRIGHT), rng.choice(((44, 52, 84), (70, 60, 54), (98, 104, 114), (30, 34, 40)))
    stride = rng.uniform(0.02, 0.12)
    p.poly([(-0.07, 0.46), (0.03, 0.46), (-stride + 0.03, 0.0), (-stride - 0.06, 0.0)], legs)
    p.poly(
        [(-0.03, 0.46), (0.08, 0.46), (stride + 0.07, 0.0), (stride - 0.02, 0.0)],
        blend(legs, (0, 0, 0), 0.25),
    )
    p.poly([(-0.12, 0.8), (0.12, 0.8), (0.1, 0.42), (-0.1, 0.42)], coat)
    arm = rng.uniform(-0.1, 0.2)
    p.stroke([(-0.11, 0.77), (-0.17, 0.6), (-0.15 - arm * 0.3, 0.45)], 0.06, blend(coat, (0, 0, 0), 0.2))
    p.stroke([(0.11, 0.77), (0.18, 0.62), (0.2 + arm * 0.4, 0.48 + arm)], 0.06, blend(coat, (0, 0, 0), 0.12))
    p.oval(0.2 + arm * 0.4, 0.47 + arm, 0.03, 0.03, skin)
    p.oval(0.0, 0.89, 0.085, 0.1, skin)
    hair = rng.choice(((60, 40, 28), (24, 22, 24), (200, 160, 90), (120, 60, 30)))
    p.poly(
        [
            (-0.09, 0.9),
            (-0.07, 0.98),
            (0.02, 1.01),
            (0.085, 0.96),
            (0.06, 0.94),
            (-0.04, 0.94),
            (-0.06, 0.85),
        ],
        hair,
    )
    if rng.random() < 0.35:
        hat = rng.choice(BRIGHT)
        p.poly([(-0.13, 0.94), (0.13, 0.94), (0.08, 0.97), (0.06, 1.05), (-0.06, 1.05), (-0.08, 0.97)], hat)


def dog(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "dog", x, y, h, rng.random() < 0.5)
    fur = rng.choice(((150, 98, 54), (56, 46, 42), (226, 206, 172), (190, 130, 70), (240, 236, 228)))
    dark = blend(fur, (0, 0, 0), 0.3)
    for lx in (-0.5, -0.36, 0.22, 0.36):
        p.box(lx, 0.0, lx + 0.1, 0.4, dark if lx in (-0.36, 0.22) else fur)
    p.oval(-0.05, 0.5, 0.55, 0.2, fur)
    p.poly([(-0.5, 0.56), (-0.78, 0.95), (-0.7, 0.97), (-0.44, 0.66)], fur)
    p.poly([(0.3, 0.42), (0.5, 0.5), (0.62, 0.78), (0.36, 0.8)], fur)
    p.oval(0.55, 0.82, 0.18, 0.16, fur)
    p.poly([(0.6, 0.86), (0.88, 0.78), (0.88, 0.7), (0.6, 0.7)], fur)
    p.oval(0.87, 0.765, 0.04, 0.04, (24, 22, 24))
    p.poly([(0.42, 0.95), (0.3, 0.66), (0.46, 0.74), (0.54, 0.93)], dark)
    p.oval(0.62, 0.86, 0.025, 0.025, (20, 18, 18))
    p.stroke([(0.34, 0.66), (0.5, 0.6)], 0.06, rng.choice(BRIGHT))


def bird(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    """A standing or swimming bird."""
    p = Pen(c, "bird", x, y, h, rng.random() < 0.5)
    body = rng.choice(
        ((240, 240, 236), (86, 92, 104), (60, 90, 160), (190, 70, 50), (246, 246, 240), (70, 62, 58))
    )
    wing = blend(body, (40, 44, 56), 0.4)
    beak: Colour = (240, 160, 30)
    for lx in (-0.04, 0.1):
        p.stroke([(lx, 0.3), (lx, 0.02), (lx + 0.09, 0.0)], 0.03, beak)
    p.poly([(-0.4, 0.5), (-0.82, 0.36), (-0.8, 0.3), (-0.3, 0.32)], wing)
    p.oval(0.0, 0.45, 0.42, 0.22, body)
    p.poly([(0.16, 0.48), (0.4, 0.5), (0.46, 0.8), (0.26, 0.84)], body)
    p.oval(0.37, 0.84, 0.16, 0.15, body)
    p.poly([(0.5, 0.9), (0.74, 0.81), (0.5, 0.77)], beak)
    p.poly([(0.2, 0.54), (-0.1, 0.62), (-0.62, 0.38), (-0.2, 0.32), (0.14, 0.38)], wing)
    p.oval(0.42, 0.88, 0.028, 0.028, (16, 16, 18))


def flying_bird(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    """A bird in the air, wings spread; `h` is about a third of its span."""
    p = Pen(c, "bird", x, y, h, rng.random() < 0.5)
    colour: Colour = (176, 182, 204) if night else rng.choice(((36, 36, 44), (56, 50, 54)))
    lift = rng.uniform(0.3, 0.8)
    for side in (-1.0, 1.0):
        p.poly(
            [
                (0.0, 0.3),
                (side * 0.7, 0.3 + lift),
                (side * 1.45, 0.25 + lift * 0.5),
                (side * 0.75, 0.05 + lift * 0.6),
                (side * 0.1, 0.05),
            ],
            colour,
            night,
        )
    p.oval(0.05, 0.2, 0.34, 0.15, colour, night)


def car(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "car", x, y, h, rng.random() < 0.5)
    paint = rng.choice(BRIGHT)
    glass: Colour = (150, 186, 206)
    p.poly([(-0.72, 0.55), (-0.45, 1.0), (0.35, 1.0), (0.72, 0.58)], paint)
    p.poly([(-0.58, 0.58), (-0.39, 0.92), (-0.06, 0.92), (-0.06, 0.58)], glass)
    p.poly([(0.02, 0.58), (0.02, 0.92), (0.31, 0.92), (0.56, 0.58)], glass)
    p.poly([(-1.15, 0.16), (-1.15, 0.52), (-0.7, 0.62), (0.75, 0.62), (1.12, 0.48), (1.18, 0.16)], paint)
    p.poly([(-1.15, 0.16), (-1.15, 0.26), (1.17, 0.26), (1.18, 0.16)], blend(paint, (0, 0, 0), 0.4))
    p.stroke([(-0.03, 0.6), (-0.03, 0.24)], 0.02, blend(paint, (0, 0, 0), 0.4))
    for wx in (-0.66, 0.7):
        p.oval(wx, 0.18, 0.23, 0.23, (26, 26, 30))
        p.oval(wx, 0.18, 0.11, 0.11, (180, 182, 188))
    p.oval(1.06, 0.42, 0.07, 0.06, LIGHT if night else (250, 246, 220), night)
    p.box(-1.15, 0.38, -1.07, 0.48, (220, 40, 36), night)


def tent(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "tent", x, y, h, rng.random() < 0.5)
    cloth = rng.choice(((236, 130, 40), (70, 140, 90), (226, 196, 60), (60, 120, 190), (206, 60, 50)))
    lit = night and rng.random() < 0.7
    p.poly([(-0.75, 0.0), (-0.2, 1.0), (0.35, 0.0)], cloth, lit)
    p.poly([(-0.2, 1.0), (0.62, 0.88), (1.0, 0.02), (0.35, 0.0)], blend(cloth, (0, 0, 0), 0.28), lit)
    p.poly([(-0.38, 0.0), (-0.2, 0.72), (0.02, 0.0)], LIGHT if lit else blend(cloth, (20, 20, 20), 0.75), lit)
    p.stroke([(-0.2, 1.0), (-1.0, 0.0)], 0.02, (230, 226, 210))
    p.stroke([(0.62, 0.88), (1.2, 0.0)], 0.02, (230, 226, 210))


def lighthouse(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    band = rng.choice(((206, 48, 44), (206, 48, 44), (40, 60, 110), (40, 40, 46)))
    rock = Pen(c, "rock", x, y, h)
    rock.poly(
        [(-0.42, -0.03), (-0.3, 0.07), (-0.1, 0.1), (0.15, 0.09), (0.32, 0.05), (0.44, -0.03)], (108, 100, 96)
    )
    p = Pen(c, "lighthouse", x, y, h)
    steps = 5
    for i in range(steps):
        a, b = 0.06 + i * 0.68 / steps, 0.06 + (i + 1) * 0.68 / steps
        wa, wb = 0.15 - 0.06 * i / steps, 0.15 - 0.06 * (i + 1) / steps
        tone = (242, 240, 234) if i % 2 else band
        p.poly([(-wa, a), (wa, a), (wb, b), (-wb, b)], tone)
        p.poly([(wa * 0.35, a), (wa, a), (wb, b), (wb * 0.35, b)], blend(tone, (0, 0, 0), 0.18))
    p.box(-0.13, 0.74, 0.13, 0.77, (50, 50, 56))
    p.box(-0.075, 0.77, 0.075, 0.9, LIGHT if night else (250, 240, 190), night)
    p.poly([(-0.1, 0.9), (0.0, 1.0), (0.1, 0.9)], band)
    if night:
        px, py = p.at(0.0, 0.83)
        c.glow(px, py, h * 0.4, (255, 230, 150), 0.7)


def balloon(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "balloon", x, y, h)
    a, b = rng.sample(BRIGHT, 2)
    p.poly([(-0.3, 0.5), (0.3, 0.5), (0.07, 0.2), (-0.07, 0.2)], a, night)
    p.oval(0.0, 0.65, 0.38, 0.35, a, night)
    p.oval(0.0, 0.65, 0.24, 0.35, b, night)
    p.oval(0.0, 0.65, 0.1, 0.35, a, night)
    p.poly([(-0.19, 0.43), (0.19, 0.43), (0.05, 0.2), (-0.05, 0.2)], b, night)
    p.poly([(-0.08, 0.4), (0.08, 0.4), (0.02, 0.2), (-0.02, 0.2)], a, night)
    for side in (-0.06, 0.06):
        p.stroke([(side, 0.2), (side, 0.1)], 0.012, WOOD)
    p.box(-0.08, 0.0, 0.08, 0.1, (140, 96, 54), night)


def horse(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "horse", x, y, h, rng.random() < 0.5)
    coat = rng.choice(((122, 72, 40), (70, 46, 34), (206, 196, 184), (168, 108, 60), (40, 36, 38)))
    dark = blend(coat, (0, 0, 0), 0.45)
    for i, lx in enumerate((-0.46, -0.32, 0.18, 0.32)):
        lean = rng.uniform(-0.05, 0.05)
        p.poly(
            [(lx, 0.45), (lx + 0.12, 0.45), (lx + 0.085 + lean, 0.0), (lx + 0.015 + lean, 0.0)],
            blend(coat, (0, 0, 0), 0.22) if i % 2 else coat,
        )
    p.oval(-0.04, 0.52, 0.48, 0.17, coat)
    p.poly([(0.2, 0.5), (0.44, 0.5), (0.66, 0.86), (0.5, 0.98), (0.36, 0.8)], coat)
    p.poly([(0.48, 0.97), (0.66, 0.95), (0.9, 0.72), (0.84, 0.64), (0.58, 0.78)], coat)
    p.poly([(0.5, 0.95), (0.54, 1.06), (0.6, 0.95)], coat)
    p.poly([(0.5, 0.99), (0.42, 0.98), (0.16, 0.62), (0.26, 0.62)], dark)
    p.poly([(-0.48, 0.6), (-0.62, 0.5), (-0.66, 0.16), (-0.56, 0.2), (-0.46, 0.5)], dark)
    p.oval(0.65, 0.88, 0.02, 0.02, (14, 14, 14))


def tree(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool, thing: str = "tree") -> None:
    """A broad-leaved tree."""
    p = Pen(c, thing, x, y, h)
    leaf = rng.choice(((62, 124, 52), (88, 148, 60), (48, 104, 60), (196, 120, 40), (120, 150, 50)))
    p.poly([(-0.07, 0.0), (0.07, 0.0), (0.035, 0.55), (-0.035, 0.55)], WOOD)
    p.stroke([(0.0, 0.35), (0.16, 0.55)], 0.035, WOOD)
    blobs = [(0.0, 0.66, 0.3)] + [
        (rng.uniform(-0.24, 0.24), rng.uniform(0.5, 0.84), rng.uniform(0.12, 0.2)) for _ in range(6)
    ]
    for bx, by, r in blobs:
        p.oval(bx, by, r, r * 0.85, blend(leaf, (0, 0, 0), rng.uniform(0.05, 0.3)))
    for bx, by, r in blobs[1:5]:
        p.oval(
            bx - r * 0.25,
            by + r * 0.25,
            r * 0.55,
            r * 0.45,
            blend(leaf, (255, 255, 200), rng.uniform(0.0, 0.2)),
        )


def conifer(c: Canvas, rng: Random, x: float, y: float, h: float, snowy: bool, thing: str = "tree") -> None:
    p = Pen(c, thing, x, y, h)
    needle = blend((34, 88, 56), (60, 110, 60), rng.random())
    p.box(-0.035, 0.0, 0.035, 0.2, WOOD)
    for low, high, w in ((0.12, 0.55, 0.27), (0.36, 0.78, 0.21), (0.6, 1.0, 0.14)):
        p.poly([(-w, low), (0.0, high), (w, low)], needle)
        p.poly([(0.0, high), (w, low), (w * 0.2, low)], blend(needle, (0, 0, 0), 0.25))
        if snowy:
            p.poly(
                [(-w * 0.55, (low + high) / 2 - 0.02), (0.0, high), (w * 0.4, (low + high) / 2 + 0.03)],
                (244, 248, 252),
            )


def palm(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "palm", x, y, h, rng.random() < 0.5)
    lean = rng.uniform(0.05, 0.25)
    trunk = [(lean * (i / 5) ** 2, i / 5 * 0.8) for i in range(6)]
    p.stroke(trunk, 0.055, (138, 104, 66))
    top = trunk[-1]
    green = blend((50, 130, 56), (96, 150, 60), rng.random())
    for k in range(7):
        a = math.pi * (0.02 + k / 6 * 0.96) + rng.uniform(-0.12, 0.12)
        dx, dy = math.cos(a) * 0.42, math.sin(a) * 0.22
        p.poly(
            [
                top,
                (top[0] + dx * 0.5, top[1] + dy + 0.1),
                (top[0] + dx, top[1] + dy - 0.14),
                (top[0] + dx * 0.45, top[1] + dy + 0.01),
            ],
            blend(green, (0, 0, 0), 0.06 * (k % 4)),
        )


def cactus(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "cactus", x, y, h, rng.random() < 0.5)
    green = blend((66, 128, 66), (96, 140, 80), rng.random())
    for points, w in (
        ([(0.0, 0.0), (0.0, 0.95)], 0.17),
        ([(0.0, 0.35), (-0.27, 0.37), (-0.28, 0.72)], 0.12),
        ([(0.0, 0.45), (0.25, 0.47), (0.26, 0.84)], 0.11),
    ):
        p.stroke(points, w, green)
        px, py = points[-1]
        p.oval(px, py, w / 2, w / 2, green)
    p.stroke([(-0.03, 0.03), (-0.03, 0.93)], 0.02, blend(green, (0, 0, 0), 0.3))
    p.stroke([(0.04, 0.03), (0.04, 0.93)], 0.02, blend(green, (255, 255, 255), 0.2))


def rock(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "rock", x, y, h, rng.random() < 0.5)
    grey = blend((128, 124, 122), (104, 92, 84), rng.random())
    p.poly([(-0.9, 0.0), (-0.75, 0.55), (-0.25, 0.95), (0.3, 0.85), (0.75, 0.5), (0.95, 0.0)], grey)
    p.poly(
        [(-0.75, 0.55), (-0.25, 0.95), (0.3, 0.85), (0.05, 0.55), (-0.45, 0.45)],
        blend(grey, (255, 255, 255), 0.22),
    )
    p.poly([(0.3, 0.85), (0.75, 0.5), (0.95, 0.0), (0.2, 0.0), (0.05, 0.55)], blend(grey, (0, 0, 0), 0.25))


def umbrella(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "umbrella", x, y, h, rng.random() < 0.5)
    a, b = rng.sample(BRIGHT, 2)
    p.stroke([(0.0, 0.0), (0.1, 0.75)], 0.035, (236, 232, 220))
    rim = [(-0.5 + i * 0.2, 0.62 + 0.05 * math.sin(i)) for i in range(6)]
    top = (0.12, 1.0)
    for i in range(5):
        p.poly(
            [rim[i], (rim[i][0] * 0.55 + 0.06, 0.9), top, (rim[i + 1][0] * 0.55 + 0.06, 0.9), rim[i + 1]],
            a if i % 2 else b,
        )


def campfire(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    p = Pen(c, "campfire", x, y, h)
    p.stroke([(-0.45, 0.02), (0.4, 0.2)], 0.12, WOOD)
    p.stroke([(0.45, 0.02), (-0.4, 0.2)], 0.12, blend(WOOD, (0, 0, 0), 0.3))
    for w, top, colour in (
        (0.34, 1.0, (236, 84, 24)),
        (0.24, 0.76, (250, 160, 30)),
        (0.13, 0.5, (255, 232, 120)),
    ):
        sway = rng.uniform(-0.08, 0.08)
        p.poly(
            [(-w, 0.14), (-w * 0.8, top * 0.5), (sway, top), (w * 0.7, top * 0.55), (w, 0.14)], colour, True
        )
    c.glow(x, y - h * 0.4, h * 1.6, (255, 160, 60), 0.45 if night else 0.2)


def flowers(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    """A clump of flowers, blossoms `h` apart."""
    petal = rng.choice(((236, 60, 70), (250, 214, 60), (244, 240, 246), (190, 90, 210), (250, 150, 180)))
    for _ in range(9):
        fx, fy = x + rng.uniform(-2.4, 2.4) * h, y + rng.uniform(-0.6, 0.6) * h
        c.line("flower", [(fx, fy), (fx, fy - h * 0.6)], h * 0.08, (60, 120, 50))
        c.ellipse("flower", fx, fy - h * 0.7, h * 0.3, h * 0.26, petal)
        c.ellipse("flower", fx, fy - h * 0.7, h * 0.1, h * 0.09, (240, 190, 40))


def fence(c: Canvas, rng: Random, x: float, y: float, h: float, night: bool) -> None:
    """A fence running across the picture from x to its right edge or from its left edge to x."""
    wood = rng.choice(((232, 230, 222), (140, 102, 68), (170, 150, 126)))
    ends = (x, c.x1) if rng.random() < 0.5 else (c.x0, x)
    for level in (0.35, 0.75):
        c.line(
            "fence",
            [(ends[0], y - h * level), (ends[1], y - h * level)],
            h * 0.13,
            blend(wood, (0, 0, 0), 0.12),
        )
    post = ends[0]
    while post <= ends[1]:
        c.polygon(
            "fence",
            [(post - h * 0.08, y), (post - h * 0.08, y - h), (post + h * 0.08, y - h), (post + h * 0.08, y)],
            wood,
        )
        post += h * 0.8


Painter = Callable[[Canvas, Random, float, float, float, bool], None]

PAINTERS: dict[str, Painter] = {
    "sailboat": sailboat,
    "house": house,
    "person": person,
    "dog": dog,
    "bird": bird,
    "car": car,
    "tent": tent,
    "lighthouse": lighthouse,
    "balloon": balloon,
    "horse": horse,
    "tree": tree,
    "palm": palm,
    "cactus": cactus,
    "rock": rock,
    "umbrella": umbrella,
    "campfire": campfire,
    "flower": flowers,
    "fence": fence,
    "flying bird": flying_bird,
}
