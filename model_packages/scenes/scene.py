"""Puts a whole scene together: a time, a setting, a main subject, company, and the camera's faults."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageFilter

from model_packages.scenes import backdrops as back
from model_packages.scenes.canvas import Canvas, Colour, blend
from model_packages.scenes.objects import PAINTERS
from model_packages.scenes.truth import VIEW, Truth, noise_kept
from model_packages.scenes.vocabulary import MAIN, SETTINGS, SUBJECTS_IN, TIMES

# Subject height in world units (1 = side of the square a cover crop keeps).
HEIGHTS = {
    "sailboat": (0.26, 0.42),
    "house": (0.2, 0.32),
    "person": (0.3, 0.48),
    "dog": (0.17, 0.26),
    "bird": (0.17, 0.28),
    "car": (0.13, 0.2),
    "tent": (0.18, 0.28),
    "lighthouse": (0.4, 0.56),
    "balloon": (0.28, 0.44),
    "horse": (0.24, 0.36),
    "tree": (0.42, 0.6),
}


class Stage:
    """One scene while it is drawn: where the horizon is, where things may stand."""

    def __init__(self, canvas: Canvas, rng: Random, setting: str, time: str, subject: str) -> None:
        self.canvas, self.rng = canvas, rng
        self.setting, self.time, self.subject = setting, time, subject
        self.night = time == "night"
        self.light = rng.choice(back.LIGHTS[time])
        self.horizon = rng.uniform(0.4, 0.56)
        self.stand = 0.8  # feet of the main subject
        self.afloat = 0.7
        self.canvas.ambient = self.light.ambient

    def backdrop(self) -> None:
        """Sky and ground of the setting; sets where the subject stands."""
        c, rng, light, hz = self.canvas, self.rng, self.light, self.horizon
        if self.setting == "forest":
            hz = self.horizon = rng.uniform(0.5, 0.62)
        back.sky(c, rng, light, self.time, hz)
        getattr(self, "_" + self.setting)(c, rng, light, hz)

    def _beach(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        shore = hz + rng.uniform(0.16, 0.24)
        back.water(c, rng, light, "sea", hz, shore + 0.05)
        sand = rng.choice(((236, 212, 164), (226, 200, 150), (240, 224, 190)))
        edge = back.wavy(rng, c.x0, c.x1, shore, 0.015)
        c.line("sea", [(x, y - 0.004) for x, y in edge], 0.016, (240, 248, 250))
        c.polygon("sand", [*edge, (c.x1, c.y1), (c.x0, c.y1)], sand)
        for _ in range(70):
            x, y = rng.uniform(c.x0, c.x1), rng.uniform(shore + 0.04, c.y1)
            c.line(None, [(x, y), (x + 0.006, y)], 0.003, blend(sand, (80, 60, 40), 0.35))
        self.afloat, self.stand = rng.uniform(hz + 0.08, shore - 0.03), rng.uniform(shore + 0.1, 0.92)

    def _lake(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        if rng.random() < 0.45:
            back.mountains(c, rng, light, hz, rng.uniform(0.2, 0.34))
        far = blend((70, 116, 72), light.horizon, 0.25)
        top = back.wavy(rng, c.x0, c.x1, hz - 0.035, 0.02)
        c.polygon("nothing", [*top, (c.x1, hz + 0.01), (c.x0, hz + 0.01)], far)
        if rng.random() < 0.5:
            back.trees(c, rng, "tree", hz, rng.uniform(0.08, 0.13), rng.randint(6, 16), False)
        shore = rng.uniform(0.74, 0.84)
        back.water(c, rng, light, "lake", hz, shore + 0.06)
        back.ground(
            c,
            rng,
            "nothing",
            shore,
            0.025,
            rng.choice(((92, 128, 62), (112, 126, 72), (120, 112, 78))),
            60,
            0.035,
        )
        for _ in range(10):
            x = rng.uniform(c.x0, c.x1)
            c.line(
                "nothing",
                [(x, shore + 0.02), (x + rng.uniform(-0.01, 0.01), shore - rng.uniform(0.03, 0.07))],
                0.004,
                (84, 104, 54),
            )
        self.afloat, self.stand = rng.uniform(hz + 0.12, shore - 0.06), rng.uniform(shore + 0.04, 0.93)

    def _mountains(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        back.mountains(c, rng, light, hz + 0.06, rng.uniform(0.36, 0.5))
        slope = rng.choice(((122, 118, 104), (108, 116, 96), (132, 120, 108)))
        back.ground(c, rng, "mountain", hz + 0.03, 0.03, slope, 40, 0.012)
        for _ in range(rng.randint(5, 10)):
            x, y = rng.uniform(c.x0, c.x1), rng.uniform(hz + 0.1, 0.98)
            size = 0.012 + 0.03 * (y - hz)
            c.polygon(
                "mountain",
                [(x - size, y), (x - size * 0.4, y - size), (x + size * 0.7, y - size * 0.7), (x + size, y)],
                blend(slope, (60, 56, 56), 0.4),
            )
        if rng.random() < 0.4:
            back.trees(c, rng, "tree", hz + 0.08, 0.12, rng.randint(4, 9), False)
        self.stand = rng.uniform(hz + 0.24, 0.92)

    def _meadow(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        far = blend((104, 158, 84), light.horizon, 0.35)
        c.polygon("grass", [*back.wavy(rng, c.x0, c.x1, hz - 0.05, 0.035), (c.x1, c.y1), (c.x0, c.y1)], far)
        if rng.random() < 0.4:
            back.trees(c, rng, "tree", hz + 0.01, rng.uniform(0.1, 0.16), rng.randint(3, 9), False)
        back.ground(
            c,
            rng,
            "grass",
            hz + 0.02,
            0.02,
            rng.choice(((112, 168, 66), (128, 172, 74), (150, 160, 70))),
            110,
            0.028,
        )
        if rng.random() < 0.22:
            back.road(c, rng, hz + 0.03, False)
        self.stand = rng.uniform(hz + 0.2, 0.92)

    def _snow(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        if rng.random() < 0.4:
            back.mountains(c, rng, light, hz, rng.uniform(0.2, 0.36))
        back.ground(c, rng, "snow", hz, 0.025, (238, 243, 250), 0, 0.0)
        if rng.random() < 0.7:
            back.trees(c, rng, "tree", hz + 0.04, rng.uniform(0.12, 0.24), rng.randint(3, 10), True)
        for _ in range(26):
            x, y = rng.uniform(c.x0, c.x1), rng.uniform(hz + 0.06, c.y1)
            c.line(
                None,
                [(x, y), (x + rng.uniform(0.02, 0.07), y + rng.uniform(-0.006, 0.006))],
                0.004,
                (206, 218, 236),
            )
        self.stand = rng.uniform(hz + 0.2, 0.92)

    def _forest(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        back.forest(c, rng, light, hz)
        self.stand = rng.uniform(hz + 0.18, 0.92)

    def _city(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        base = hz + 0.12
        back.skyline(c, rng, light, base, self.night)
        c.gradient("nothing", base, c.y1, (150, 148, 146), (176, 172, 166))
        for i in range(1, 5):
            c.line(None, [(c.x0, base + 0.09 * i), (c.x1, base + 0.09 * i)], 0.003, (120, 118, 118))
        if rng.random() < 0.65 or self.subject == "car":
            back.road(c, rng, base + rng.uniform(0.05, 0.12), True)
        self.stand = rng.uniform(base + 0.16, 0.92)

    def _desert(self, c: Canvas, rng: Random, light: back.Light, hz: float) -> None:
        back.dunes(c, rng, light, hz)
        if rng.random() < 0.22:
            back.road(c, rng, hz + 0.1, False)
        self.stand = rng.uniform(hz + 0.2, 0.92)

    def company(self) -> None:
        """Smaller things behind the main subject."""
        rng = self.rng
        likely = {
            "beach": (
                ("palm", 0.4, (0.3, 0.45)),
                ("umbrella", 0.6, (0.16, 0.24)),
                ("rock", 0.35, (0.06, 0.11)),
                ("person", 0.15, (0.11, 0.15)),
            ),
            "lake": (
                ("rock", 0.3, (0.05, 0.1)),
                ("campfire", 0.2, (0.09, 0.14)),
                ("flower", 0.2, (0.025, 0.04)),
            ),
            "mountains": (
                ("rock", 0.35, (0.07, 0.13)),
                ("campfire", 0.22, (0.09, 0.14)),
                ("flower", 0.15, (0.025, 0.04)),
            ),
            "meadow": (
                ("flower", 0.55, (0.025, 0.045)),
                ("fence", 0.45, (0.08, 0.13)),
                ("rock", 0.15, (0.05, 0.1)),
                ("dog", 0.1, (0.09, 0.12)),
            ),
            "snow": (
                ("fence", 0.35, (0.08, 0.13)),
                ("rock", 0.2, (0.05, 0.1)),
                ("campfire", 0.12, (0.09, 0.14)),
            ),
            "forest": (
                ("campfire", 0.3, (0.1, 0.15)),
                ("rock", 0.25, (0.06, 0.11)),
                ("flower", 0.2, (0.025, 0.04)),
            ),
            "city": (
                ("tree", 0.35, (0.24, 0.34)),
                ("person", 0.2, (0.11, 0.15)),
                ("fence", 0.15, (0.07, 0.1)),
            ),
            "desert": (
                ("cactus", 0.65, (0.16, 0.32)),
                ("palm", 0.25, (0.3, 0.42)),
                ("rock", 0.3, (0.06, 0.11)),
                ("campfire", 0.1, (0.09, 0.13)),
            ),
        }[self.setting]
        for thing, share, (low, high) in likely:
            if rng.random() >= share or thing == self.subject:
                continue
            for _ in range(rng.choice((1, 1, 2))):
                x = (self.x + rng.uniform(0.22, 0.78)) % 1.0
                y = min(0.96, max(self.stand + rng.uniform(-0.09, 0.06), self.ground_top()))
                PAINTERS[thing](self.canvas, rng, x, y, rng.uniform(low, high), self.night)
                if thing == "fence":
                    break
        if rng.random() < 0.2 and self.setting != "forest":
            for _ in range(rng.randint(2, 5)):
                PAINTERS["flying bird"](
                    self.canvas,
                    rng,
                    rng.uniform(0.05, 0.95),
                    rng.uniform(0.08, self.horizon - 0.1),
                    rng.uniform(0.028, 0.042),
                    self.night,
                )

    def ground_top(self) -> float:
        """Nothing that stands may stand higher than this."""
        return {"beach": self.stand - 0.04, "lake": self.stand - 0.03, "city": self.horizon + 0.2}.get(
            self.setting, self.horizon + 0.12
        )

    def choose_place(self) -> None:
        """Where the subject goes, from well composed (a third) to badly (middle, edge)."""
        rng = self.rng
        where = rng.random()
        if where < 0.5:
            self.x = rng.choice((1 / 3, 2 / 3)) + rng.uniform(-0.05, 0.05)
        elif where < 0.7:
            self.x = 0.5 + rng.uniform(-0.06, 0.06)
        else:
            self.x = rng.choice((0.1, 0.9)) + rng.uniform(-0.05, 0.08)

    def main(self) -> None:
        """The subject itself, with a shadow where it stands."""
        rng, c = self.rng, self.canvas
        low, high = HEIGHTS[self.subject]
        h = rng.uniform(low, high)
        y = self.stand
        swimming = self.subject == "bird" and self.setting == "lake" and rng.random() < 0.5
        if self.subject == "sailboat" or swimming:
            y = max(self.afloat, self.horizon + 0.1)
            if swimming:
                y = self.stand - 0.12
            c.ellipse("nothing", self.x, y + 0.004, h * 0.36, 0.007, self._shadow(y, 0.6), True)
        elif self.subject == "balloon":
            y = rng.uniform(h + 0.06, max(self.horizon - 0.02, h + 0.1))
        else:
            wide = {
                "house": 0.75,
                "car": 1.1,
                "tree": 0.22,
                "person": 0.18,
                "lighthouse": 0.3,
                "tent": 0.8,
            }.get(self.subject, 0.5)
            c.ellipse("nothing", self.x, y, h * wide, h * 0.045 + 0.006, self._shadow(y, 0.72), True)
        c.mark = MAIN
        PAINTERS[self.subject](c, rng, self.x, y, h, self.night)
        c.mark = 0

    def _shadow(self, y: float, share: float) -> Colour:
        """The colour under the subject's feet, darkened to `share`."""
        c = self.canvas
        px = min(c.width - 1, max(0, round(c.left + self.x * c.unit)))
        py = min(c.height - 1, max(0, round(c.top + (y + 0.01) * c.unit)))
        value = c.image.getpixel((px, py))
        assert isinstance(value, tuple)
        r, g, b = value
        return r * share, g * share, b * share


def draw_scene(
    seed: int, size: tuple[int, int] = (336, 252), fine: int = 1, faults: bool = True
) -> tuple[Image.Image, Truth]:
    """The scene of a seed, `size` (width, height), as an RGB picture and its truth.

    `fine` > 1 draws larger and averages (smooth edges, slower); `faults` False keeps the camera perfect.
    The same arguments give the same picture with the same Pillow.
    """
    rng = Random(seed)
    time, setting = rng.choice(TIMES), rng.choice(SETTINGS)
    subject = rng.choice(SUBJECTS_IN[setting])
    camera = Random(rng.random())
    tilt = (
        camera.uniform(-0.4, 0.4)
        if not faults or camera.random() < 0.65
        else camera.choice((-1, 1)) * camera.uniform(1.5, 8.5)
    )
    stage = Stage(Canvas(size, tilt, fine), rng, setting, time, subject)
    stage.choose_place()
    if not faults:
        stage.x = rng.choice((1 / 3, 2 / 3))
    stage.backdrop()
    fog = 0.0
    if rng.random() < (0.4 if time == "morning" else 0.1):
        fog = rng.uniform(0.5, 0.85)
        pale = blend(stage.light.horizon, (226, 230, 236) if time != "night" else (120, 130, 160), 0.6)
        stage.canvas.veil(stage.horizon + 0.02, rng.uniform(0.12, 0.2), pale, fog, 0.14)
    stage.company()
    stage.main()
    image, things = stage.canvas.finish()
    blur = noise = exposure = 0.0
    if faults:
        per_view = min(size) / VIEW  # faults are dosed for the view and known in pixels of this picture
        blur = 0.0 if camera.random() < 0.62 else camera.uniform(0.5, 2.6) * per_view
        noise = camera.uniform(0.0, 1.5) if camera.random() < 0.62 else camera.uniform(3.0, 20.0)
        noise /= noise_kept(per_view)
        exposure = (
            camera.uniform(-0.15, 0.15)
            if camera.random() < 0.62
            else camera.choice((-1, 1)) * camera.uniform(0.5, 1.7)
        )
        image = _camera(image, blur, noise, exposure, camera.getrandbits(32))
    return image, Truth(things, subject, setting, time, fog, blur, noise, exposure, tilt)


def _camera(image: Image.Image, blur: float, noise: float, exposure: float, seed: int) -> Image.Image:
    """What the camera does: out of focus, then the wrong exposure, then sensor noise."""
    if blur > 0.0:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    gain = 2.0 ** (0.62 * exposure)
    if exposure:
        image = image.point([min(255, round(v * gain)) for v in range(256)] * 3)
    if noise > 0.3:
        generator = np.random.Generator(np.random.PCG64(seed))
        grain = generator.standard_normal((image.height, image.width, 3), dtype=np.float32) * np.float32(
            noise
        )
        image = Image.fromarray(np.clip(np.asarray(image, np.float32) + grain + 0.5, 0, 255).astype(np.uint8))
    return image
