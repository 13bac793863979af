"""Good photos beside hostile ones, through the public API of a whole cluster: the p99 of the good ones, alone and beside.

    .venv/bin/python -m benchmarks.beside_hostile [--rounds 12]

In turn: good photos (JPEG, 640x480, 50 a second) alone for 5 s, then beside every image of the tables of odd and hostile ones, which
another process posts one after the other without a pause. The figure is of all rounds together, because single ones hold only a
few slow photos; and beside each stands which share of the busy time the machine's host took away, which slows whoever it meets.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import machine, verdict
from tests.cluster.hostile_images import CALL, CASES, corners_cluster
from tests.cluster.posting import posted
from tests.cluster.steady_load import SteadyLoad
from tests.preprocessor import image_files as f

GOAL = 1.5
PER_S = 50.0
ALONE_S = 5.0


def p99_ms(seconds: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(seconds, n=100)[98] * 1000


class Side:
    """The good photos of one kind of window, and how busy the machine was in it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0

    def add(self, load: SteadyLoad, stolen: float) -> str:
        """Another window; what it was like."""
        window = [call.seconds for call in load.ended]
        self.seconds += window
        self.failed += sum(call.status != 200 for call in load.ended)
        return f"{p99_ms(window):5.1f} ms ({stolen:.0%} taken away)"

    def __str__(self) -> str:
        return f"p50 {statistics.median(self.seconds) * 1000:.1f}, p99 {p99_ms(self.seconds):.1f} ms of {len(self.seconds)}"


def times() -> tuple[int, int]:
    """(taken away by the host, busy or taken away) of the machine so far, in ticks."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return steal, user + nice + system + irq + softirq + steal


def share(since: tuple[int, int]) -> float:
    """Which share of the busy time was taken away since then."""
    now = times()
    return (now[0] - since[0]) / max(1, now[1] - since[1])


def main() -> int:
    """→ exit status."""
    parser = argparse.ArgumentParser(description="The p99 of good photos beside hostile images.")
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    print(f"good photos, {PER_S:g} a second, beside {len(CASES)} odd and hostile images; {machine()}")
    good = f.jpeg(f.noisy(640, 480))
    alone, beside = Side(), Side()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for number, case in enumerate(CASES):
            files.append((folder / str(number), {"Content-Type": "application/octet-stream"}))
            files[-1][0].write_bytes(case.make())
        with corners_cluster(folder) as cluster:
            with SteadyLoad(cluster.url, good, path=CALL, per_s=PER_S):
                time.sleep(2)
            for _ in range(rounds):
                began = times()
                with SteadyLoad(cluster.url, good, path=CALL, per_s=PER_S) as load:
                    time.sleep(ALONE_S)
                said = alone.add(load, share(began))
                began = times()
                with SteadyLoad(cluster.url, good, path=CALL, per_s=PER_S) as load:
                    errors = [
                        answer
                        for answer in posted(f"{cluster.url}{CALL}&deadline_ms=15000", files, timeout_s=30)
                        if answer["status"] >= 500
                    ]
                print(
                    f"      alone {said}, beside {beside.add(load, share(began))}; {len(errors)} answers of 5xx"
                )
    print(f"      alone {alone}; beside {beside}; {alone.failed + beside.failed} good ones failed")
    return not verdict(
        "good photos' p99 beside hostile ones over theirs alone",
        GOAL,
        p99_ms(beside.seconds) / p99_ms(alone.seconds),
        "x",
    )


if __name__ == "__main__":
    raise SystemExit(main())
