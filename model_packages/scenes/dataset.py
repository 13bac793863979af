"""Draws a training set: `python -m model_packages.scenes.dataset --out DIR [--count N] [--first SEED] [--processes P]`.

Writes `images.npy` (uint8 [n, 224, 224, 3]) and `truth.json` (one object per image: `Seen.as_json` and its `caption`). Every scene
is drawn at one of several sizes and passes through JPEG before the crop, as photos do on their way to a model.
"""

from __future__ import annotations

import argparse
import io
import json
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from model_packages.scenes.scene import draw_scene
from model_packages.scenes.sentences import write
from model_packages.scenes.truth import VIEW

SIZES = (
    (336, 252),
    (400, 300),
    (448, 336),
    (320, 240),
    (384, 256),
    (300, 400),
    (252, 336),
    (320, 320),
    (560, 420),
)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """The picture as a JPEG file."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def cover(image: Image.Image, view: int = VIEW) -> Image.Image:
    """The largest centred square, shrunk with the antialiased bilinear filter."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((view, view), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def example(seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels (uint8 [224, 224, 3]) and truth of one training scene."""
    rng = Random(f"size {seed}")
    image, truth = draw_scene(seed, rng.choice(SIZES))
    decoded = Image.open(io.BytesIO(jpeg(image, rng.randint(78, 95)))).convert("RGB")
    seen = truth.seen()
    return np.asarray(cover(decoded)), seen.as_json() | {"caption": write(seen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(
        options.out / "images.npy", "w+", np.uint8, (options.count, VIEW, VIEW, 3)
    )
    truths = []
    with get_context("spawn").Pool(options.processes) as pool:
        seeds = range(options.first, options.first + options.count)
        for place, (pixels, truth) in enumerate(pool.imap(example, seeds, chunksize=64)):
            images[place] = pixels
            truths.append(truth)
    images.flush()
    (options.out / "truth.json").write_text(json.dumps(truths))


if __name__ == "__main__":
    main()
