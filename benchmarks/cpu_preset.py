"""The CPU preset of `crema/torch_model.py` beside the same network run plainly (P16).

    .venv/bin/python -m benchmarks.cpu_preset [--rounds 15] [--photos 128]

Two networks on one core, in the virtualenv of `tags@3.1` (built first where it is missing): that package's own, small and trained,
and an untrained residual network of 0.59 GMAC. Plain: float32 in the order of the channels, gradients on. Preset:
channels_last, inference mode, batch norm folded. bf16 is measured where the processor has instructions for it. Compared is CPU
time, in turn. The golden set is drawn scenes that no model was trained on; on it
the highest class must be the same for every photo. Of the trained network under bf16: for at least 99 of 100, and no confidence
more than 0.05 off.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import machine, spread, verdict
from crema.host.light_ring import make_light_ring
from envs.builder import environment_for
from model_packages.scenes.heldout import heldout

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "model_packages" / "tags" / "3.1"
SIZES = ("1", "8")


def measured(photos: int, rounds: int) -> dict[str, Any]:
    """The report of `cpu_preset_forward.py` for that many photos."""
    python = environment_for(PACKAGE, progress=print).python
    pixels, _ = heldout(photos)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "pixels.npy", pixels)
        ring = make_light_ring(Path(folder) / "ring")
        script = ROOT / "benchmarks" / "cpu_preset_forward.py"
        done = subprocess.run(
            [str(python), str(script), str(PACKAGE), f"{folder}/pixels.npy", str(rounds)],
            env={**os.environ, "PYTHONPATH": str(ring), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def gains(report: dict[str, Any], way: str, size: str) -> list[float]:
    """How many times as quick as the plain way, round by round."""
    return [
        plain / one for plain, one in zip(report["plain"]["ms"][size], report[way]["ms"][size], strict=True)
    ]


def same_top(report: dict[str, Any], way: str) -> float:
    """The share of photos with the same highest class as the plain way."""
    return statistics.fmean(a == b for a, b in zip(report["plain"]["top"], report[way]["top"], strict=True))


def judged(network: str, report: dict[str, Any]) -> list[bool]:
    """Print the table and the verdicts for one network; return which goals it meets."""
    plain_ms = [statistics.median(report["plain"]["ms"][size]) for size in SIZES]
    print(f"{network}: plain {plain_ms[0]:.1f} ms for a batch of 1, {plain_ms[1]:.1f} ms for 8")
    print(f"  {'':16} {'batch 1':>22} {'batch 8':>22}  {'same class':>10}  {'confidence off by':>17}")
    for way, row in report.items():
        cells = [f"{spread(gains(report, way, size))}x" for size in SIZES]
        print(
            f"  {way:16} {cells[0]:>22} {cells[1]:>22}  {same_top(report, way):>10.1%}  {row['off']:>17.1e}"
        )
    met = []
    for way, limit in (("preset", 1.3), ("bf16", 2.2)):
        for size in SIZES if way in report else ():
            gain = statistics.median(gains(report, way, size))
            met.append(verdict(f"P16 {way}, batch {size}", limit, gain, "x", at_least=True))
    met.append(verdict("P16 preset, same class", 1.0, same_top(report, "preset"), at_least=True))
    if "bf16" not in report:
        print("P16 bf16: not measured, this processor has no instructions for it (avx512_bf16, amx_bf16)")
    elif network.startswith("tags"):
        met.append(verdict("P16 bf16, same class", 0.99, same_top(report, "bf16"), at_least=True))
        met.append(verdict("P16 bf16, a confidence off by", 0.05, report["bf16"]["off"]))
    return met


def main() -> int:
    """→ exit status: 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=int, default=128)
    args = parser.parse_args()
    reports = measured(args.photos, args.rounds)
    print(f"{machine()}; one thread, {args.rounds} rounds, {args.photos} photos")
    met = [each for network, report in reports.items() for each in judged(network, report)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
