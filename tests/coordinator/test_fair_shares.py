"""Fair shares in virtual time: who is over their share gives way, and who is not never notices."""

from __future__ import annotations

import heapq
import random
from collections import Counter

from coordinator.fair_shares import Pool

BATCH = 8


def hold(pool: Pool, key: str, places: int, now: float = 0.0) -> None:
    for _ in range(places):
        pool.enter(now, key, 1)


def test_a_key_that_calls_alone_has_everything() -> None:
    pool = Pool(BATCH)
    hold(pool, "a", 500)
    assert pool.judge(0.0, "a", 500, 1) == "within"


def test_where_there_are_other_keys_the_burst_of_one_alone_leaves_places_for_them() -> None:
    pool = Pool(BATCH)
    hold(pool, "a", 25)
    assert pool.judge(0.0, "a", 25, 1, is_shared=True) == "within"
    hold(pool, "a", 1)
    assert pool.judge(0.0, "a", 26, 1, is_shared=True) == "gives_way"


def test_nobody_gives_way_while_there_is_room() -> None:
    pool = Pool(BATCH)
    hold(pool, "a", 6)
    hold(pool, "b", 1)
    assert pool.judge(0.0, "a", BATCH - 1, 1) == "within"


def test_a_burst_beyond_the_share_gives_way_at_once() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 2)
    hold(pool, "a", 14)
    assert pool.judge(0.0, "a", 16, 1) == "gives_way"
    assert pool.judge(0.0, "b", 16, 1) == "within"


def test_a_burst_that_has_not_reached_the_minions_yet_gives_way_too() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 1)
    assert pool.judge(0.0, "a", 1, 1) == "within"
    hold(pool, "a", 14)
    assert pool.judge(0.01, "a", 1, 1) == "gives_way"


def test_what_is_on_its_way_all_the_time_makes_no_model_busy() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 1)
    hold(pool, "a", 20)
    for tenth in range(100):
        verdict = pool.judge(tenth / 10, "a", 2, 1)
    assert verdict == "within"


def test_who_stays_over_the_share_is_refused_once_it_is_held() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 4)
    hold(pool, "a", 40)
    assert pool.judge(5.0, "a", 44, 1) == "refused"
    assert pool.judge(5.0, "b", 44, 1) == "within"
    for _ in range(35):
        pool.leave(5.0, "a", 1, 0.1, was_refused=True)
    assert pool.judge(5.0, "a", 9, 1) == "gives_way"


def test_two_replicas_hold_twice_as_much_and_two_coordinators_half_each() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 4)
    hold(pool, "a", 15)
    assert pool.judge(0.0, "a", 19, 2) == "within"
    assert pool.judge(0.0, "a", 19, 0.5) == "gives_way"


def test_what_one_key_leaves_of_its_share_is_the_other_s() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 2)
    hold(pool, "a", 13)
    # 2 of 16 are used by b, so 14 are a's: 13 on the mean is less
    assert pool.judge(20.0, "a", 15, 1) == "within"


def test_a_key_that_stopped_gets_its_share_again() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 4)
    hold(pool, "a", 40)
    assert pool.judge(5.0, "a", 44, 1) == "refused"
    for _ in range(40):
        pool.leave(5.0, "a", 1, 0.1, was_refused=False)
    assert pool.judge(10.0, "a", BATCH, 1) == "within"


def test_an_item_left_out_shows_how_large_batches_become() -> None:
    pool = Pool(32)
    hold(pool, "b", 2)
    hold(pool, "a", 20)
    assert pool.judge(0.0, "a", 22, 1) == "within"
    for _ in range(40):
        pool.learn(queue_ms=150, inference_ms=100, batch_size=BATCH)
    assert pool.judge(0.0, "a", 22, 1) == "gives_way"


def test_a_key_that_is_gone_is_forgotten() -> None:
    pool = Pool(BATCH)
    hold(pool, "a", 1)
    pool.leave(1.0, "a", 1, 0.1, was_refused=False)
    hold(pool, "b", 1, now=1000.0)
    assert list(pool.uses) == ["b"]


def test_a_key_that_is_gone_keeps_no_share_from_one_that_goes_on() -> None:
    pool = Pool(BATCH)
    hold(pool, "b", 1)
    pool.leave(0.0, "b", 1, 0.1, was_refused=False)
    hold(pool, "a", 40)
    verdicts = []
    for second in range(1, 80):
        verdicts.append(pool.judge(float(second), "a", 40, 1))
        pool.enter(float(second), "a", 1)
        pool.leave(float(second), "a", 1, 0.1, was_refused=False)
    assert (verdicts[10], verdicts[-1]) == ("refused", "within")
    assert list(pool.uses) == ["a"]


def one_minion(
    rates: dict[str, float], seconds: float, a_begins: float = 5.0
) -> tuple[dict[str, list[float]], Counter[str]]:
    """Poisson calls of several keys to a minion with a batch of 8 per 100 ms that serves the two lanes in order.

    → latencies and refusals by key."""
    pool, rng = Pool(BATCH), random.Random(7)
    arrivals = sorted(
        (at, key)
        for key, rate in rates.items()
        for at in _poisson(rng, rate, a_begins if key == "a" else 0.0, seconds)
    )
    events: list[tuple[float, int, str]] = [(at, n, key) for n, (at, key) in enumerate(arrivals)]
    heapq.heapify(events)
    lanes: dict[str, list[tuple[float, str]]] = {"interactive": [], "bulk": []}
    running: list[tuple[float, str]] = []
    latencies: dict[str, list[float]] = {key: [] for key in rates}
    refused: Counter[str] = Counter()
    while events:
        now, number, key = heapq.heappop(events)
        if key == "done":
            for began, whose in running:
                latencies[whose].append(now - began)
                pool.leave(now, whose, 1, now - began, was_refused=False)
            running = []
        else:
            at_minion = len(running) + sum(map(len, lanes.values()))
            verdict = pool.judge(now, key, at_minion, 1)
            if verdict == "refused":
                pool.refused(now, key, 1)
                refused[key] += 1
            else:
                lanes["interactive" if verdict == "within" else "bulk"].append((now, key))
                pool.enter(now, key, 1)
        if not running and (waiting := lanes["interactive"] + lanes["bulk"]):
            running, rest = waiting[:BATCH], waiting[BATCH:]
            interactive = max(0, len(lanes["interactive"]) - BATCH)
            lanes = {"interactive": rest[:interactive], "bulk": rest[interactive:]}
            heapq.heappush(events, (now + 0.1, number, "done"))
    return latencies, refused


def _poisson(rng: random.Random, rate: float, begin: float, end: float) -> list[float]:
    found, at = [], begin + rng.expovariate(rate)
    while at < end:
        found.append(at)
        at += rng.expovariate(rate)
    return found


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(0.99 * len(latencies))]


def test_a_key_at_ten_times_its_share_leaves_the_other_s_p99_and_causes_it_no_refusal() -> None:
    alone, _ = one_minion({"b": 28.0}, 65.0)
    beside, refused = one_minion({"b": 28.0, "a": 400.0}, 65.0)
    assert refused["b"] == 0
    assert _p99(beside["b"]) <= 1.2 * _p99(alone["b"])
    # and the minion is kept busy: what b leaves of 80/s is a's
    assert len(beside["a"]) > 0.85 * 60 * (80 - 28)


def test_two_keys_that_both_want_everything_get_the_same() -> None:
    beside, _ = one_minion({"a": 200.0, "b": 400.0}, 60.0, a_begins=0.0)
    assert 0.75 < len(beside["a"]) / len(beside["b"]) < 1.33
