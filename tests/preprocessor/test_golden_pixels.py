"""Golden images: what every stored mode and orientation must become, as pictures in `tests/golden/pixels/`.

`CREMA_GOLDEN=write` writes them anew: look at them before you commit. A pixel may differ by `TOLERANCE`, because versions of the
codecs round differently.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.spec import Spec
from preprocessor.transforms import draft_scale, plan
from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import swapped_primaries

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pixels"
TOLERANCE = 2
# every path to the same picture: JPEG's own loss at quality 97 is the largest difference among them
LEAST_DB = 40
SIZE = (160, 120)
SPEC = Spec(40, 30)
PROFILES = Profiles()


def picture() -> Image.Image:
    """Four colours, so that a turn shows, under detail like a photograph's."""
    return Image.blend(Image.fromarray(f.quadrants(*SIZE)), Image.fromarray(f.noisy(*SIZE)), 0.4)


def with_alpha() -> Image.Image:
    seen = picture().convert("RGBA")
    seen.putalpha(Image.linear_gradient("L").resize(SIZE))
    return seen


def gray_16() -> Image.Image:
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257)


def turned(orientation: int) -> bytes:
    stored = f.stored_for(orientation, np.asarray(picture()))
    return f.with_segments(_jpeg(Image.fromarray(stored)), f.exif_segment(f.orientation_exif(orientation)))


def _jpeg(image: Image.Image, **options: object) -> bytes:
    return f.saved(image, "JPEG", **{"quality": 97, **options})  # type: ignore[arg-type]


# fmt: off
MODES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: _jpeg(picture()),
    "jpeg-444": lambda: _jpeg(picture(), subsampling=0),
    "jpeg-progressive": lambda: _jpeg(picture(), progressive=True),
    "jpeg-gray": lambda: _jpeg(picture().convert("L")),
    "jpeg-cmyk": lambda: _jpeg(picture().convert("CMYK")),
    "jpeg-profile": lambda: _jpeg(picture(), icc_profile=swapped_primaries()),
    "png-rgb": lambda: f.png(picture()),
    "png-palette": lambda: f.png(picture().quantize(64)),
    "png-1-bit": lambda: f.png(picture().convert("1")),
    "png-gray": lambda: f.png(picture().convert("L")),
    "png-gray-16": lambda: f.png(gray_16()),
    "png-alpha": lambda: f.png(with_alpha()),
    "png-gray-alpha": lambda: f.png(with_alpha().convert("LA")),
    "png-profile": lambda: f.png(picture(), icc_profile=swapped_primaries()),
    "webp": lambda: f.saved(picture(), "WEBP", quality=90),
    "webp-lossless": lambda: f.saved(picture(), "WEBP", lossless=True),
    "webp-alpha": lambda: f.saved(with_alpha(), "WEBP", lossless=True, exact=True),
    "gif": lambda: f.saved(picture().quantize(64), "GIF"),
    **{f"orientation-{n}": lambda n=n: turned(n) for n in range(1, 9)},  # type: ignore[misc]
}
SAME = ("jpeg", "jpeg-444", "jpeg-progressive", "webp-lossless", *(f"orientation-{n}" for n in range(1, 9)))
# fmt: on


def pixels(data: bytes, spec: Spec) -> np.ndarray:
    [tensor] = decode(data, [spec], PROFILES).tensors
    array = tensor.as_array()
    return array[:, :, 0] if spec.colour == "gray" else array


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    error = ((left.astype(float) - right.astype(float)) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("colour", ["rgb", "gray"])
@pytest.mark.parametrize("name", MODES)
def test_every_mode_and_orientation_gives_its_golden_image(name: str, colour: str) -> None:
    made = pixels(MODES[name](), Spec(SPEC.width, SPEC.height, colour=colour))  # type: ignore[arg-type]
    path = GOLDEN / f"{name}-{colour}.png"
    if os.environ.get("CREMA_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        Image.fromarray(made).save(path)
    golden = np.asarray(Image.open(path))
    assert golden.shape == made.shape
    assert np.abs(golden.astype(int) - made).max() <= TOLERANCE


def test_there_is_no_golden_image_without_its_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {
        f"{name}-{c}.png" for name in MODES for c in ("rgb", "gray")
    }


@pytest.mark.parametrize("name", SAME)
def test_the_same_picture_has_the_same_pixels_by_every_path(name: str) -> None:
    assert psnr(pixels(MODES[name](), SPEC), pixels(MODES["png-rgb"](), SPEC)) >= LEAST_DB


def test_another_library_s_scaled_decode_gives_the_same_pixels() -> None:
    simplejpeg = pytest.importorskip("simplejpeg")
    data = MODES["jpeg"]()
    scale, part = draft_scale([SPEC], *SIZE, 1), plan(SPEC, *SIZE, 1)
    assert scale > 1
    other = simplejpeg.decode_jpeg(
        data, min_height=SIZE[1] // scale, min_width=SIZE[0] // scale, min_factor=1
    )
    box = tuple(edge / scale for edge in part.box)
    small = Image.fromarray(other).resize(part.size, Image.Resampling.BILINEAR, box)
    assert psnr(np.asarray(small), pixels(data, SPEC)) >= 50


def test_a_scaled_decode_and_a_full_one_give_the_same_pixels() -> None:
    data = MODES["jpeg"]()
    part = plan(SPEC, *SIZE, 1)
    full = Image.open(io.BytesIO(data)).resize(part.size, Image.Resampling.BILINEAR, part.box)
    assert psnr(np.asarray(full), pixels(data, SPEC)) >= LEAST_DB
