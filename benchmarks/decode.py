"""P5, P6: our decode against the fastest libraries with the same filter, and one decode for three sizes against three.

    .venv/bin/python -m benchmarks.decode [PHOTO.jpg ...] [--rounds 7] [--filter bilinear]

Needs Pillow; simplejpeg, opencv-python-headless and pyvips are measured when they are installed and skipped by name when
not (`uv pip install simplejpeg opencv-python-headless 'pyvips[binary]'`). Photos given are scaled to 640x480,
1600x1200 and 4032x3024 and saved as JPEG, quality 90, 4:2:0; without photos the largest of `samples/` is used, tiled
up, which is no photograph at 12 megapixels: read the PSNR of such a run with that in mind. One thread each, CPU time, and for all of them the
allocator's settings that every tier has.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.measuring import interleaved, machine, spread, verdict
from crema.host.process import raise_malloc_thresholds
from crema.names import Filter
from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.spec import Spec
from preprocessor.transforms import draft_scale, plan

SIZES = ((640, 480), (1600, 1200), (4032, 3024))
THREE = (384, 299, 224)
SIDE = 224
SAMPLES = Path(__file__).resolve().parent.parent / "samples"

Pixels = NDArray[np.uint8]
Method = Callable[[bytes], Pixels]


def methods(size: tuple[int, int], spec: Spec) -> tuple[dict[str, Method], list[str]]:
    """Ways to come from a JPEG of `size` to `spec` with the same filter, and the libraries that are missing.

    All decode at the scale that our own rule chooses, except the full one.
    """
    width, height = size
    scale = draft_scale([spec], width, height, 1)
    part, resampling = plan(spec, width, height, 1), Image.Resampling[spec.filter.upper()]
    profiles = Profiles()
    missing: list[str] = []

    def resized(picture: Image.Image, scale: int) -> Pixels:
        left, top, right, bottom = (edge / scale for edge in part.box)
        box = (left, top, min(right, picture.width), min(bottom, picture.height))
        return np.asarray(picture.resize(part.size, resampling, box))

    def ours(data: bytes) -> Pixels:
        return decode(data, [spec], profiles).tensors[0].as_array()

    def pillow_full(data: bytes) -> Pixels:
        return resized(Image.open(io.BytesIO(data)).convert("RGB"), 1)

    def pillow_draft(data: bytes) -> Pixels:
        picture = Image.open(io.BytesIO(data))
        picture.draft(None, (width // scale, height // scale))
        return resized(picture.convert("RGB"), scale)

    found: dict[str, Method] = {"ours": ours, "Pillow, full": pillow_full, "Pillow, draft": pillow_draft}

    simplejpeg = optional("simplejpeg", missing)
    if simplejpeg is not None:

        def simple(data: bytes) -> Pixels:
            pixels = simplejpeg.decode_jpeg(
                data, min_height=height // scale, min_width=width // scale, min_factor=1
            )
            return resized(Image.fromarray(pixels), scale)

        found["simplejpeg + Pillow's resize"] = simple

    cv2 = optional("cv2", missing)
    if cv2 is not None:
        cv2.setNumThreads(1)
        reduced = {
            1: cv2.IMREAD_COLOR,
            2: cv2.IMREAD_REDUCED_COLOR_2,
            4: cv2.IMREAD_REDUCED_COLOR_4,
            8: cv2.IMREAD_REDUCED_COLOR_8,
        }

        def opencv(data: bytes) -> Pixels:
            pixels = cv2.cvtColor(
                cv2.imdecode(np.frombuffer(data, np.uint8), reduced[scale]), cv2.COLOR_BGR2RGB
            )
            return resized(Image.fromarray(pixels), scale)

        found["OpenCV + Pillow's resize"] = opencv

    os.environ.setdefault("VIPS_CONCURRENCY", "1")
    pyvips = optional("pyvips", missing)
    if pyvips is not None:

        def vips(data: bytes) -> Pixels:
            whole = pyvips.Image.new_from_buffer(data, "", shrink=scale, access="sequential")
            pixels: Pixels = np.frombuffer(whole.write_to_memory(), np.uint8).reshape(
                whole.height, whole.width, 3
            )
            return resized(Image.fromarray(pixels), scale)

        found["pyvips + Pillow's resize"] = vips
    return found, missing


def optional(name: str, missing: list[str]) -> Any:
    """The module, or None with its name added to `missing`."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):
        missing.append(name)
        return None


def milliseconds(call: Callable[[], object], calls: int) -> float:
    """CPU milliseconds of one call, the mean over `calls`."""
    start = time.process_time_ns()
    for _ in range(calls):
        call()
    return (time.process_time_ns() - start) / calls / 1e6


def psnr(left: Pixels, right: Pixels) -> float:
    """Decibels."""
    error = float(((left.astype(float) - right.astype(float)) ** 2).mean())
    return 99.0 if error < 1e-5 else 10 * float(np.log10(255**2 / error))


def photos_of(sources: list[Path], size: tuple[int, int]) -> list[bytes]:
    """The sources at one size, as JPEG. Larger ones are scaled down, smaller ones are tiled with their mirror images."""
    made = []
    for source in sources:
        picture = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
        if picture.width < size[0] or picture.height < size[1]:
            row = np.concatenate([np.asarray(picture), np.asarray(picture)[:, ::-1]], 1)
            block = np.concatenate([row, row[::-1]], 0)
            across, down = -(-size[0] // block.shape[1]), -(-size[1] // block.shape[0])
            picture = Image.fromarray(np.tile(block, (down, across, 1))[: size[1], : size[0]])
        out = io.BytesIO()
        ImageOps.fit(picture, size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=90, subsampling=2)
        made.append(out.getvalue())
    return made


def p5(sources: list[Path], rounds: int, name_of_filter: Filter) -> bool:
    """Per size: ours against the fastest with the same filter."""
    met = True
    for size in SIZES:
        photos = photos_of(sources, size)
        calls = max(1, 6_000_000 // (size[0] * size[1]))
        spec = Spec(SIDE, SIDE, "cover", name_of_filter)
        found, missing = methods(size, spec)

        def one(method: Method, photos: list[bytes] = photos, calls: int = calls) -> float:
            return milliseconds(lambda: [method(photo) for photo in photos], calls) / len(photos)

        sides = [lambda method=method: one(method) for method in found.values()]
        times = dict(zip(found, interleaved(sides, rounds), strict=True))
        medians = {name: statistics.median(figures) for name, figures in times.items()}
        rivals = {name: figure for name, figure in medians.items() if name != "ours"}
        fastest = min(rivals, key=lambda name: rivals[name])
        print(
            f"\n{size[0]}x{size[1]}, {sum(map(len, photos)) // len(photos) // 1000} KB, scale 1/{draft_scale([spec], *size, 1)}"
        )
        worst = 99.0
        for name, method in found.items():
            qualities = [psnr(method(photo), found["Pillow, full"](photo)) for photo in photos]
            worst = min(qualities) if name == "ours" else worst
            print(
                f"      {name:30} {spread(times[name]):>24} ms   {medians[name] / rivals[fastest]:5.2f}x"
                f"   {spread(qualities)} dB"
            )
        if missing:
            print(f"      not installed, not measured: {', '.join(missing)}")
        met &= verdict(
            f"P5 {size[0]}x{size[1]}, ours over {fastest}", 1.1, medians["ours"] / rivals[fastest], "x"
        )
        met &= verdict(
            f"P5 {size[0]}x{size[1]}, PSNR against the full decode, worst photo",
            40,
            worst,
            " dB",
            at_least=True,
        )
    return met


def p6(sources: list[Path], rounds: int, name_of_filter: Filter) -> bool:
    """One decode for three sizes against three scaled decodes."""
    met = True
    profiles, specs = Profiles(), [Spec(side, side, "cover", name_of_filter) for side in THREE]
    print()
    for size, goal in ((SIZES[2], 0.55), (SIZES[1], 0.9)):
        photos = photos_of(sources, size)
        calls = max(1, 4_000_000 // (size[0] * size[1]))

        def together(photos: list[bytes] = photos) -> object:
            return [decode(photo, specs, profiles) for photo in photos]

        def apart(photos: list[bytes] = photos) -> object:
            return [decode(photo, [spec], profiles) for photo in photos for spec in specs]

        sides = [
            lambda work=work, calls=calls: milliseconds(work, calls) / len(sources)
            for work in (together, apart)
        ]
        one, three = interleaved(sides, rounds)
        print(f"      {size[0]}x{size[1]}: once {spread(one)} ms, three times {spread(three)} ms")
        ratio = statistics.median(one) / statistics.median(three)
        met &= verdict(
            f"P6 {size[0]}x{size[1]}, one decode and sizes {THREE} over three decodes", goal, ratio, "x"
        )
    return met


def main() -> bool:
    """Print the tables, goals, figures, verdicts; whether all are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO.jpg")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--filter", default="bilinear", choices=["bilinear", "bicubic", "lanczos"])
    args = parser.parse_args()
    raise_malloc_thresholds()
    sources = args.photos or [SAMPLES / "astronaut.jpg"]
    print(
        f"{machine()}; Pillow {importlib.import_module('PIL').__version__}; filter {args.filter}; {len(sources)} photo(s)"
    )
    first, second = p5(sources, args.rounds, args.filter), p6(sources, args.rounds, args.filter)
    return first and second


if __name__ == "__main__":
    raise SystemExit(not main())
