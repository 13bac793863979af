"""F14: what releases cost callers at 60 % load, and how long it is from a folder copied in to `tags@3.2` answering.

    .venv/bin/python -m benchmarks.releases [--seconds 20]

The real `tags` package in its real virtualenv, warm caches; 3.2 is a copy of 3.1 with another number and a note of its
changes. Calls come at a fixed rate, open loop, at 60 % of what the same cluster answered when it was asked for more.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import machine, verdict
from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.steady_load import Ended, SteadyLoad

ROOT = Path(__file__).resolve().parent.parent
TOO_MANY_PER_S = 150
PHOTO = ROOT / "samples" / "coffee.jpg"
CLUSTER = """\
releases: {new_version: canary 20%, window_s: 20, min_answers: 20}
default_models: [tags]
models:
  tags: {default: "3.1", versions: {"3.1": {replicas: 1}}}
"""


def next_version(folder: Path, version: str) -> Path:
    """A copy of tags@3.1 that calls itself `version`."""
    package = folder / "tags" / version
    shutil.copytree(
        ROOT / "model_packages" / "tags" / "3.1", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    manifest = package / "model.yaml"
    manifest.write_text(re.sub(r'(?m)^version: "3\.1"', f'version: "{version}"', manifest.read_text()))
    changes = package / "CHANGES.md"
    changes.write_text(f"# {version}\n\nThe same answers.\n\n{changes.read_text()}")
    return package


def capacity_per_s(url: str, photo: bytes) -> float:
    """Good answers per second of one that is asked for too much."""
    with SteadyLoad(url, photo, per_s=TOO_MANY_PER_S) as load:
        time.sleep(6)
        good = [call for call in load.ended if call.status == 200]
    return len(good) / 6


def p99_ms(calls: list[Ended]) -> float:
    """Of the good answers."""
    took = sorted(call.seconds * 1000 for call in calls if call.status == 200)
    return statistics.quantiles(took, n=100)[-1] if len(took) > 1 else float("nan")


def answers(cluster: RunningCluster, photo: bytes, selector: str) -> bool:
    """Whether a selector is answered now."""
    return cluster.post(photo, models=selector)[0] == 200


def timed(work: Callable[[], object]) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def main() -> bool:
    """Print goal, figure and verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0, help="of quiet load before; default: 20")
    quiet_s = parser.parse_args().seconds
    print(machine())
    photo = PHOTO.read_bytes()
    with tempfile.TemporaryDirectory(prefix="crema-releases-") as made:
        folder = Path(made)
        first = ROOT / "model_packages" / "tags" / "3.1"
        with running_cluster(
            folder / "site", [first], cluster_yaml=CLUSTER, python=None, patience_s=600
        ) as cluster:
            url = cluster.url
            per_s = 0.6 * capacity_per_s(url, photo)
            new = next_version(folder, "3.2")

            def run(*arguments: str) -> float:
                return timed(lambda: _must(cluster, *arguments))

            with SteadyLoad(url, photo, per_s=per_s) as load:
                time.sleep(quiet_s)
                before = list(load.ended)
                began = time.monotonic()
                shutil.copytree(new, folder / "site" / "model_packages" / "tags" / "3.2")
                cluster.wait(lambda: answers(cluster, photo, "tags@3.2"), "3.2 to answer", 180)
                served_s = time.monotonic() - began
                cluster.wait(
                    lambda: "within the rule in" in _note(cluster), "the canary to be found good", 120
                )
                released = load.since(began)
                moves = time.monotonic()
                promote_s, rollback_s = run("promote", "tags@3.2"), run("rollback", "tags")
                again_s, retire_s = run("promote", "tags@3.2"), run("retire", "tags@3.1")
                time.sleep(10)
                starts = time.monotonic()
                back_s = run("rollback", "tags")
                moved = [call for call in load.since(moves) if call.began < starts]
                brought_back = load.since(starts)
            ended = [call for call in load.ended if call not in before]
    failed = [call for call in ended if call.status not in (200, 429)]
    refused = [call for call in ended if call.status == 429]
    print(f"  load: {per_s:.1f} calls/s, {len(ended)} calls during releases, {len(refused)} of them 429")
    print(
        f"  p99: {p99_ms(before):.0f} ms before, {p99_ms(released):.0f} ms while 3.2 is checked, started and a canary,"
    )
    print(
        f"       {p99_ms(moved):.0f} ms while pointers move, {p99_ms(brought_back):.0f} ms while 3.1 is started again"
    )
    print(f"  promote {promote_s:.2f} s, again {again_s:.2f} s, retire {retire_s:.2f} s")
    return all(
        [
            verdict("from folder copied in to tags@3.2 answering, under load", 60, served_s, " s"),
            verdict("failed requests", 0, len(failed)),
            verdict("rollback of a promotion", 10, rollback_s, " s"),
            verdict("rollback of a retirement, minions ended", 10, back_s, " s"),
            verdict("p99 while 3.2 comes over p99 before", 1.5, p99_ms(released) / p99_ms(before)),
            verdict("p99 while pointers move over p99 before", 1.5, p99_ms(moved) / p99_ms(before)),
            verdict("p99 while 3.1 comes back over p99 before", 1.5, p99_ms(brought_back) / p99_ms(before)),
        ]
    )


def _must(cluster: RunningCluster, *arguments: str) -> None:
    done = cluster.crema(*arguments)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def _note(cluster: RunningCluster) -> str:
    return " ".join(str(each.get("note", "")) for each in cluster.status()["models"])


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
