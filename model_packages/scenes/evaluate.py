"""Measures the reference packages on held-out scenes, through the real preprocessor:

`python -m model_packages.scenes.evaluate --python tags=ENV/bin/python --python aesthetics=… [--scenes 500]`

Runs in crema's own environment (Pillow, numpy); each model runs in a process of the Python given for it. Prints the
figures that stand in the model cards.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from model_packages.scenes import figures
from model_packages.scenes.heldout import FIRST_SEED, heldout
from model_packages.scenes.truth import Seen

PACKAGES = Path(__file__).resolve().parent.parent
VERSIONS = {"tags": "3.1", "aesthetics": "2.0", "captions": "1.4"}
# Every tag is wanted for its average precision, not only those that a caller would be shown.
PARAMS: dict[str, dict[str, Any]] = {
    "tags": {"max_tags": 100, "min_confidence": 0.0},
    "aesthetics": {},
    "captions": {"max_words": 20},
}


def answers_of(
    name: str, python: Path, pixels: np.ndarray, params: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What `run_package` found out about a package, with the package's own Python. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="crema-figures-") as scratch:
        stored, told = Path(scratch, "pixels.npy"), Path(scratch, "answers.json")
        np.save(stored, pixels)
        script = Path(__file__).with_name("run_package.py")
        package = PACKAGES / name / VERSIONS[name]
        wanted = json.dumps(PARAMS[name] if params is None else params)
        subprocess.run([python, script, package, stored, told, wanted], check=True, cwd=scratch)
        found: dict[str, Any] = json.loads(told.read_text())
        return found


def report(name: str, answers: list[dict[str, Any]], truths: list[Seen]) -> str:
    """The figures of one package as one line or more."""
    if name == "tags":
        each = figures.precision_per_tag(answers, truths)
        worst = ", ".join(
            f"{tag} {value:.2f}" for tag, value in sorted(each.items(), key=lambda pair: pair[1])[:6]
        )
        return f"mean average precision {figures.mean_average_precision(answers, truths):.4f} over {len(each)} tags; hardest: {worst}"
    if name == "aesthetics":
        return f"Spearman {figures.spearman(answers, truths):.4f}"
    return ", ".join(f"{part} {share:.4f}" for part, share in figures.captions_right(answers, truths).items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    options = parser.parse_args()
    pixels, truths = heldout(options.scenes, options.first)
    for pair in options.python:
        name, _, python = pair.partition("=")
        found = answers_of(name, Path(python).absolute(), pixels)
        print(
            f"{name} {VERSIONS[name]}: {report(name, found['answers'], truths)}; {found['ms_per_image']:.1f} ms per image "
            f"on one core, loads in {found['load_s']:.1f} s, {found['versions']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
