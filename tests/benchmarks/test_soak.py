"""What the soak judges with, on series made by hand; and its command line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.soak.__main__ import FAULTS, main
from benchmarks.soak.calls import Call, goodput, p99_ms
from benchmarks.soak.outages import recovered_s, worst_dip
from benchmarks.soak.scale import Scale
from benchmarks.soak.verdicts import Verdicts, markdown


def call(number: int, due: float, seconds: float, status: int | None = 200, code: str = "ok") -> Call:
    return Call(number, due, seconds, seconds, status, code)


@pytest.mark.parametrize(
    ("bins", "second"),
    [
        ([1.0, 1.0], 0),
        ([0.3, 0.6, 0.95, 1.0, 0.98], 2),
        ([0.95, 0.2, 0.95, 1.0], 2),
        ([0.3, 0.5, 0.5], math.inf),
        ([0.95, 1.0, 0.85, 1.0], 0),
        ([], math.inf),
    ],
)
def test_recovered_is_the_second_from_which_on_nothing_falls_short(bins: list[float], second: float) -> None:
    assert recovered_s(bins, 0.9) == second


@pytest.mark.parametrize(
    ("bins", "dip"),
    [([0.1, 0.5, 1.0], 1.0), ([0.5, 0.25, 1.0], 0.5), ([0.0, 0.0, 1.0], 1.0), ([1.2, 0.9], 0.9)],
)
def test_a_dip_is_measured_against_the_best_before_it(bins: list[float], dip: float) -> None:
    assert worst_dip(bins) == pytest.approx(dip)


def test_refusals_are_no_errors_and_crossed_answers_are() -> None:
    assert not call(1, 0, 1, 429, "overloaded").is_error
    assert call(1, 0, 1, 200, "crossed").is_error
    assert call(1, 0, 1, None, "ServerDisconnectedError").is_error


def test_goodput_counts_good_answers_when_they_came() -> None:
    calls = [call(1, 0.0, 0.5), call(2, 0.9, 0.2), call(3, 0.1, 0.1, 429, "overloaded")]
    assert goodput(calls, 0.0, 1.0) == 1.0
    assert p99_ms(calls) == 500


def test_a_whole_soak_has_the_sizes_of_the_fault_table_and_a_short_one_less_of_all() -> None:
    whole, short = Scale(60), Scale(6)
    assert (whole.kills, whole.requests, whole.cycles, whole.lasting(20)) == (20, 100_000, 100, 20)
    assert (short.kills, short.requests, short.cycles, short.lasting(20)) == (5, 10_000, 10, 3)


def test_every_verdict_is_a_line_and_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = Verdicts("F1")
    verdicts.at_most("gone", 1.0, 0.25, " s")
    verdicts.at_least("goodput", 0.9, 0.5)
    verdicts.tell("calls", "a|b")
    verdicts.none("errors", [call(7, 0, 0.1, 503, "not_ready")])
    verdicts.ended_early(AssertionError("waited"))
    assert capsys.readouterr().out.splitlines() == [
        "met   F1    gone ≤ 1 s: 0.25 s",
        "MISS  F1    goodput ≥ 0.9: 0.5",
        "told  F1    calls: a|b",
        "MISS  F1    errors: none: 1, the first: call 7: 503 not_ready after 100 ms",
        "MISS  F1    runs to its end: AssertionError: waited",
    ]
    assert not verdicts.all_met
    table = markdown(verdicts.found, "Soak", "Quiet.").splitlines()
    assert table[:5] == ["## Soak", "", "Quiet.", "", "| fault | goal | figure | verdict |"]
    assert "| F1 | calls | a\\|b | told |" in table


def test_a_fault_that_is_not_there_is_wrong_use_and_names_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--faults", "F26,F99"]) == 2
    assert "no fault F99" in (said := capsys.readouterr().err)
    assert "F26" in said


def test_the_list_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(FAULTS)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_short_soak_of_one_fault_runs_and_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # it sets this itself: here it is set back
    report = tmp_path / "soak.md"
    assert main(["--faults", "f28", "--seconds", "1", "--markdown", str(report)]) == 0
    assert "| F28 | attempts at minions per request ≤ 1.1 |" in report.read_text()
