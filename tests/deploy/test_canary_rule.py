"""CanaryRule and CanaryWindow: what takes a canary back, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from crema.host.latency_steps import step_of
from deploy.canary_rule import CanaryRule, CanaryWindow, Tally

RULE = CanaryRule()


def tally(good: int = 0, errors: int = 0, refused: int = 0, ms: float = 50.0, slow: int = 0) -> Tally:
    """`slow` of the good ones took ten times as long."""
    latency = Counter({step_of(ms): good - slow, step_of(10 * ms): slow})
    return Tally(good, errors, refused, +latency)


def window(canary: Tally, live: Tally, *, seconds: float = 10.0, rule: CanaryRule = RULE) -> CanaryWindow:
    """A window of which all was counted after so many seconds."""
    found = CanaryWindow(rule, 0.0)
    found.add(seconds, canary, live)
    return found


def test_nothing_is_decided_below_fifty_answers() -> None:
    decision = window(tally(errors=49), tally(good=1000)).decide(10.0)
    assert (decision.verdict, decision.reason) == ("waiting", "49 of 50 answers in 60 s")


def test_two_points_more_errors_are_allowed_and_more_are_not() -> None:
    live = tally(good=990, errors=10)
    assert window(tally(good=97, errors=3), live).decide(10.0).verdict == "waiting"
    decision = window(tally(good=96, errors=4), live).decide(10.0)
    assert decision.verdict == "take_back"
    assert decision.reason.startswith("4.0 % of its answers failed, 1.0 % of the live version's")


def test_five_points_more_refusals_are_allowed_and_more_are_not() -> None:
    live = tally(good=90, refused=10)
    assert window(tally(good=85, refused=15), live).decide(10.0).verdict == "waiting"
    assert "429" in window(tally(good=84, refused=16), live).decide(10.0).reason


def test_a_p99_of_one_and_a_half_times_the_live_one_is_allowed_and_more_is_not() -> None:
    live = tally(good=1000, ms=100)
    assert window(tally(good=100, ms=140), live).decide(10.0).verdict == "waiting"
    decision = window(tally(good=100, ms=200), live).decide(10.0)
    assert decision.verdict == "take_back"
    assert "p99" in decision.reason


def test_one_slow_answer_of_fifty_is_chance() -> None:
    assert window(tally(good=50, slow=1), tally(good=1000)).decide(10.0).verdict == "waiting"
    assert window(tally(good=50, slow=3), tally(good=1000)).decide(10.0).verdict == "take_back"


def test_a_ratio_of_two_times_that_nobody_notices_takes_nothing_back() -> None:
    assert window(tally(good=100, ms=4), tally(good=1000, ms=1)).decide(10.0).verdict == "waiting"


def test_trouble_that_hits_both_takes_nothing_back() -> None:
    assert window(tally(good=50, errors=50), tally(good=500, errors=500)).decide(10.0).verdict == "waiting"


def test_it_is_good_once_a_whole_window_was_within_the_rule() -> None:
    found = CanaryWindow(RULE, 0.0)
    for second in range(1, 61):
        found.add(second, tally(good=2), tally(good=40))
        verdict = found.decide(second).verdict
        assert verdict == ("good" if second == 60 else "waiting")


def test_what_is_older_than_the_window_counts_no_more() -> None:
    found = window(tally(good=20, errors=10), tally(good=1000), seconds=1.0)
    found.add(62.0, tally(good=60), tally(good=1000))
    assert found.decide(62.0).verdict == "good"
    assert found.decide(62.0).canary["answers"] == 60


def test_the_limits_are_those_of_the_rule() -> None:
    rule = CanaryRule(window_s=5, min_answers=10, error_points=50)
    assert window(tally(good=6, errors=4), tally(good=10), seconds=5, rule=rule).decide(5.0).verdict == "good"


def test_a_coordinator_that_counts_anew_loses_nothing_it_counted_since() -> None:
    before, after = tally(good=100, errors=5), tally(good=3)
    assert after.since(before) == after
    assert tally(good=103, errors=6).since(before).shown()["answers"] == 4


def test_a_coordinators_entry_is_read_by_its_codes() -> None:
    found = Tally.of({"codes": {"200": 7, "429": 2, "502": 1, "504": 1}, "latency": {"3": 7}})
    assert (found.good, found.refused, found.errors, found.answers) == (7, 2, 2, 11)


@pytest.mark.parametrize("ms", [0.05, 1.0, 47.9, 500.0, 25_000.0])
def test_a_percentile_is_known_to_a_tenth(ms: float) -> None:
    p99 = Tally(100, latency=Counter({step_of(ms): 100})).p99_ms
    assert p99 is not None
    assert max(ms, 0.1) <= p99 * 1.000001 <= max(ms, 0.1) * 1.1001
