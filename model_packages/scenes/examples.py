"""Draws the packages' golden examples and the drawn samples, and writes what each model answers to its examples:

`python -m model_packages.scenes.examples --python tags=ENV/bin/python … [--samples DIR]`

Run it after training, in crema's own environment; it also writes the weights' digests into the manifests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from model_packages.scenes.dataset import jpeg
from model_packages.scenes.evaluate import PACKAGES, VERSIONS, answers_of
from model_packages.scenes.heldout import Eye
from model_packages.scenes.scene import draw_scene

# name: (seed, with the camera's faults)
SHOWN = {
    "lake-at-sunset": (5_000_275, False),
    "city-by-day": (5_000_147, False),
    "snow-at-night": (5_000_436, False),
}
EXAMPLES = {
    "tags": SHOWN,
    "captions": SHOWN,
    "aesthetics": {
        "well-framed": (5_000_206, False),
        "out-of-focus": (6_000_367, True),
        "grainy": (6_000_768, True),
    },
}
SAMPLES = {"drawn-lake": 5_000_164, "drawn-snow": 5_000_209, "drawn-meadow": 5_000_289}
# Defaults of the manifests: what a caller gets who sends no parameters.
DEFAULTS: dict[str, dict[str, Any]] = {
    "tags": {"max_tags": 30, "min_confidence": 0.25},
    "aesthetics": {},
    "captions": {"max_words": 20},
}


def write_examples(name: str, python: Path) -> None:
    """The golden pairs of one package, and the digests of its weights."""
    package = PACKAGES / name / VERSIONS[name]
    eye, views = Eye(), []
    for example, (seed, faults) in EXAMPLES[name].items():
        image, _ = draw_scene(seed, (448, 336), fine=2, faults=faults)
        file = jpeg(image)
        (package / "examples" / f"{example}.jpg").write_bytes(file)
        views.append(eye.look(file))
    answers = answers_of(name, python, np.stack(views), DEFAULTS[name])["answers"]
    for example, answer in zip(EXAMPLES[name], answers, strict=True):
        (package / "examples" / f"{example}.json").write_text(json.dumps(answer, indent=1) + "\n")
    manifest = package / "model.yaml"

    def digest(line: re.Match[str]) -> str:
        return f"{line[1]}{hashlib.sha256((package / line[2]).read_bytes()).hexdigest()}}}"

    manifest.write_text(re.sub(r"(\{path: (\S+), sha256: )[^}]*\}", digest, manifest.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--samples", type=Path)
    options = parser.parse_args()
    for pair in options.python:
        name, _, python = pair.partition("=")
        write_examples(name, Path(python).absolute())
    for name, seed in SAMPLES.items() if options.samples else ():
        image, _ = draw_scene(seed, (800, 600), fine=2, faults=False)
        (options.samples / f"{name}.jpg").write_bytes(jpeg(image, 88))


if __name__ == "__main__":
    main()
