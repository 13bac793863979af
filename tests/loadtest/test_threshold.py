"""Conditions under which a run has failed: how they are written, and what they say of a report."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.threshold import FIGURES, Threshold, ThresholdError


def of(**changes: Any) -> dict[str, Any]:
    latency = {"p50": 40.0, "p90": 80.0, "p99": 400.0, "p99.9": 600.0, "max": 700.0, "mean": 50.0}
    return {
        "latency_ms": latency, "refused_p99_ms": 3.0, "lag_p99_ms": 1.0, "good_share": 0.99, "refused_share": 0.005,
        "partial_share": 0.0, "failed_share": 0.0, "lost_share": 0.0, "error_share": 0.0,
        "goodput_per_s": 99.0, "offered_per_s": 100.0, **changes,
    }  # fmt: skip


REPORT = {
    "total": of(),
    "phases": [{"name": "2x", **of(refused_share=0.4)}],
    "knee": {"offered_per_s": 150.0},
}


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_can_be_held_against_a_report(figure: str) -> None:
    unit = "%" if figure in ("good", "refused", "429", "partial", "failed", "lost", "errors") else ""
    unit = unit or ("" if figure in ("goodput", "offered", "knee") else "ms")
    assert Threshold.parse(f"{figure}>=0{unit}").missed(REPORT) is not None


@pytest.mark.parametrize(
    "written",
    ["p99>500ms", "p99 > 0.4s", "refused>1%", "429>0.5%", "goodput<99", "good<99%", "knee<150", "errors>0%", "p99.9>=1s"],
)  # fmt: skip
def test_what_holds_is_not_missed(written: str) -> None:
    assert Threshold.parse(written).missed(REPORT) is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("p99>399ms", "p99>399ms: it is 400 ms"),
        ("p99.9>0.5s", "p99.9>0.5s: it is 600 ms"),
        ("refused>0.1%", "refused>0.1%: it is 0.500%"),
        ("goodput<=99", "goodput<=99: it is 99/s"),
        ("2x:refused>10%", "2x:refused>10%: it is 40.000%"),
        ("knee<200", "knee<200: the knee is at 150/s"),
        ("3x:p99>1s", "3x:p99>1s: there is no phase 3x; there are 2x"),
    ],
)
def test_what_does_not_hold_says_what_it_was(written: str, said: str) -> None:
    assert Threshold.parse(written).missed(REPORT) == said


def test_a_figure_of_nothing_is_missed() -> None:
    nothing = {**REPORT, "total": of(latency_ms={"p99": None})}
    assert Threshold.parse("p99>500ms").missed(nothing) == "p99>500ms: no call was there to say it of"


def test_a_run_without_a_knee_misses_every_lower_bound_of_it() -> None:
    assert Threshold.parse("knee<10").missed({**REPORT, "knee": {"offered_per_s": None}}) is not None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("p99", "is no threshold; write"),
        ("p98>500ms", "did you mean p99"),
        ("refused>5ms", "refused takes a value like 1%"),
        ("p99>5", "p99 takes a value like 500ms, not one in nothing"),
        ("2x:knee<5", "the knee is of all steps; write knee<5"),
        ("p99=500ms", "is no threshold"),
    ],
)
def test_what_is_no_threshold_is_told_how_to_write_one(written: str, said: str) -> None:
    with pytest.raises(ThresholdError, match=said):
        Threshold.parse(written)
