"""P12: what callers see of eight replicas, one of them at half speed; in virtual time, then what a choice costs.

    .venv/bin/python -m benchmarks.routing

The router, budget and ejection are the coordinator's, the gates and batchers the minion's; the model is a formula.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.measuring import machine, verdict
from coordinator.ejection import Ejection
from coordinator.replica import Replica
from coordinator.router import Group, Router
from loadtest.arrivals import poisson
from loadtest.one_minion import GPU_LIKE
from loadtest.routed_minions import Counts, RoutedMinions

EQUAL = [1.0] * 8
ONE_SLOW = [2.0, *[1.0] * 7]


def simulate(times: list[float], load: float, seconds: float, coordinators: int) -> Counts:
    """`load` is a share of what the replicas can do together."""
    rate = load * sum(GPU_LIKE.capacity / each for each in times)
    found = RoutedMinions(GPU_LIKE, times, coordinators=coordinators).run(poisson(rate, seconds), begin=1.0)
    to_first = found.sent_to.get(0, 0) / found.attempts
    print(
        f"      {len(times)} replicas, {coordinators} coordinators, load {load}: {found.requests} requests, "
        f"p99 {found.p99_s() * 1000:.1f} ms, the first got {to_first:.1%}, {found.late} late"
    )
    return found


def micros(work: Callable[[], object], count: int = 50_000) -> float:
    """CPU microseconds of one call, the best of five rounds."""
    best = 1e9
    for _ in range(5):
        before = time.process_time()
        for _ in range(count):
            work()
        best = min(best, (time.process_time() - before) / count * 1e6)
    return best


def a_choice(count: int) -> Callable[[], None]:
    """Everything that the policies do for one request to one of `count` replicas."""
    replicas = [Replica(f"minion-{n}:7000") for n in range(count)]
    for each in replicas:
        each.opened(0.0)
    group, router, load = Group(replicas, Ejection()), Router(), {"expected_wait_ms": 3.0}

    def once() -> None:
        replica = replicas[router.choose(group, 100.0)]
        replica.patience_s(100.0, 500.0)
        replica.sent(100.0)
        group.ejection.answered(replicas, replica, 100.02, 100.0, 20.0, 8)
        replica.answered(100.02, load, 2.5, 20.0)

    return once


def main() -> bool:
    """Print goal, figure, verdict."""
    print(f"P12 routing in virtual time, t(n) = 5 + 0.5 n ms, batches of 32, 50 ms; {machine()}")
    met = True
    for coordinators in (1, 4):
        equal = simulate(EQUAL, 0.95, 10.0, coordinators)
        slow = simulate(ONE_SLOW, 0.8, 10.0, coordinators)
        over = simulate(EQUAL, 1.5, 4.0, coordinators)
        named = f"{coordinators} coordinator{'s' * (coordinators > 1)}"
        shares = (
            (f"8 equal replicas at 0.95, {named}: share of 429", 0.1, equal),
            (f"one of 8 at half speed, 0.8 of what they can do, {named}: share of 429", 0.1, slow),
            (f"8 equal replicas at 1.5, {named}: share of 429", 100 / 3 + 2, over),
        )
        for goal, limit, found in shares:
            met = verdict(goal, limit, found.refused_share * 100, " %") and met
            most = verdict("  attempts per request", 1.10, found.attempts_per_request)
            met = most and met
    costs = ", ".join(f"{count}: {micros(a_choice(count)):.1f} µs" for count in (2, 8, 64))
    print(f"      CPU of all policies for one request and its answer, by replicas: {costs}")
    return met


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
