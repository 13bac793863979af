"""Figures of calls: percentiles that are true, goodput, shares, and the knee."""

from __future__ import annotations

import json
import random

import pytest

from loadtest.figures import GAVE_UP, Figures, Latencies, Outcomes, knee


def test_percentiles_are_within_a_quarter_of_a_percent_of_the_exact_ones() -> None:
    chance = random.Random(1)
    seconds = [chance.lognormvariate(-3, 1) for _ in range(20_000)]
    kept, ordered = Latencies(seconds), sorted(seconds)
    for percent in (50.0, 90.0, 99.0, 99.9):
        exact = ordered[round(percent * len(ordered) / 100) - 1]
        assert kept.percentile_s(percent) == pytest.approx(exact, rel=0.0026)


def test_the_longest_is_exact() -> None:
    assert Latencies([0.1, 0.2, 1.2345]).percentile_s(100) == 1.2345


def test_a_percentile_of_one_call_is_that_call() -> None:
    kept = Latencies([0.0421])
    assert {kept.percentile_s(percent) for percent in (50, 99, 99.9)} == {0.0421}


def test_there_is_no_percentile_of_nothing() -> None:
    assert Latencies().percentile_s(99) is None
    assert Latencies().mean_s is None


def test_durations_below_the_shortest_bucket_are_counted() -> None:
    assert Latencies([0.0, -1e-5, 1e-9]).count == 3


def test_merged_latencies_are_those_of_all() -> None:
    chance = random.Random(2)
    seconds = [chance.expovariate(10) for _ in range(1000)]
    merged, whole = Latencies(seconds[:300]), Latencies(seconds)
    merged.merge(Latencies(seconds[300:]))
    assert merged.buckets == whole.buckets
    assert (merged.count, merged.min_s, merged.max_s) == (whole.count, whole.min_s, whole.max_s)


def some_outcomes() -> Outcomes:
    outcomes = Outcomes(slo_s=0.5)
    for _ in range(6):
        outcomes.add("ok", 0.1)
    outcomes.add("ok", 0.9)
    outcomes.add("partial", 0.2, "model_failed")
    outcomes.add("refused", 0.004, "overloaded")
    outcomes.add("lost", 5.0, GAVE_UP)
    return outcomes


def test_goodput_counts_whole_answers_within_the_slo() -> None:
    figures = some_outcomes().figures(seconds=2.0)
    assert (figures.good, figures.goodput_per_s, figures.good_share) == (6, 3.0, 0.6)


def test_shares_are_of_what_was_offered() -> None:
    figures = some_outcomes().figures(seconds=2.0)
    assert (figures.share("refused"), figures.share("partial"), figures.share("failed", "lost")) == (
        0.1,
        0.1,
        0.1,
    )
    assert figures.offered_per_s == 5.0


def test_refusals_do_not_make_answers_look_quick() -> None:
    outcomes = Outcomes(slo_s=1.0)
    outcomes.add("ok", 0.8)
    for _ in range(100):
        outcomes.add("refused", 0.002, "overloaded")
    figures = outcomes.figures(1.0)
    assert figures.percentiles_s[50.0] == 0.8
    assert figures.refused_p99_s == pytest.approx(0.002)


@pytest.mark.parametrize("code", [GAVE_UP, "deadline_exceeded"])
def test_a_call_that_waited_for_nothing_is_in_the_percentiles(code: str) -> None:
    outcomes = Outcomes(slo_s=1.0)
    outcomes.add("failed", 5.0, code)
    assert outcomes.figures(1.0).max_s == 5.0


def test_a_connection_that_failed_at_once_is_not_a_quick_answer() -> None:
    outcomes = Outcomes(slo_s=1.0)
    outcomes.add("lost", 0.001, "not_connected")
    assert outcomes.figures(1.0).percentiles_s[50.0] is None


def test_error_codes_are_told_the_most_frequent_first() -> None:
    outcomes = Outcomes(slo_s=1.0)
    for code in ("not_ready", "overloaded", "overloaded"):
        outcomes.add("refused", 0.01, code)
    assert list(outcomes.figures(1.0).codes.items()) == [("overloaded", 2), ("not_ready", 1)]


def test_outcomes_survive_a_way_as_json() -> None:
    outcomes = some_outcomes()
    read = Outcomes.read(json.loads(json.dumps(outcomes.document())))
    assert read.figures(2.0) == outcomes.figures(2.0)
    assert Outcomes.read(json.loads(json.dumps(Outcomes(0.5).document()))).offered == 0


def test_merged_outcomes_are_those_of_both() -> None:
    outcomes = some_outcomes()
    outcomes.merge(some_outcomes())
    figures = outcomes.figures(4.0)
    assert (figures.offered, figures.good, figures.codes["overloaded"]) == (20, 12, 2)


def step(rate: int, good: int) -> Figures:
    outcomes = Outcomes(slo_s=0.5)
    for number in range(rate):
        outcomes.add("ok", 0.1 if number < good else 0.9)
    return outcomes.figures(1.0)


def test_the_knee_is_the_highest_load_that_holds() -> None:
    found = knee([step(300, 150), step(100, 100), step(200, 199)], 0.99)
    assert found is not None and found.offered_per_s == 200


def test_a_load_above_one_that_failed_is_no_knee() -> None:
    found = knee([step(100, 100), step(200, 100), step(300, 300)], 0.99)
    assert found is not None and found.offered_per_s == 100


def test_there_is_no_knee_when_the_lowest_load_fails() -> None:
    assert knee([step(100, 10), step(200, 200)], 0.99) is None
