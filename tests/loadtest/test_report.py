"""The report of a run: the document, held against a stored one, and the figures that follow from others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.figures import Latencies
from loadtest.report import build
from loadtest.tally import Tally
from tests.loadtest.load_runs import load_run

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "loadtest"


def test_the_document_is_the_stored_one() -> None:
    """Programs read it: a change of it is seen in review. To renew: python -m tests.loadtest.test_report"""
    stored = json.loads((GOLDEN / "report.json").read_text())
    assert build(load_run(), price_per_hour=0.9, began="2026-05-04T10:00:00+00:00") == stored


def test_the_warm_up_is_in_no_figure_but_in_the_plot_over_time() -> None:
    report = build(load_run())
    assert [phase["name"] for phase in report["phases"]] == ["0.5x", "1x", "2x"]
    assert report["total"]["offered"] == 50 + 100 + 200
    assert report["total"]["seconds"] == 3.0
    assert [second["at_s"] for second in report["seconds"]] == [0.0, 1.0, 3.0, 5.0]


def test_shares_add_up_to_what_was_offered() -> None:
    step = build(load_run())["phases"][2]
    assert step["counts"] == {"ok": 75, "partial": 50, "refused": 50, "failed": 25, "lost": 0}
    assert (step["refused_share"], step["partial_share"], step["error_share"]) == (0.25, 0.25, 0.125)
    assert (step["good_share"], step["goodput_per_s"]) == (0.25, 50.0)
    assert step["codes"] == {"overloaded": 50, "deadline_exceeded": 25}


def test_the_knee_is_the_highest_step_that_held() -> None:
    assert build(load_run())["knee"] == {
        "steps": 3,
        "step": "1x",
        "offered_per_s": 100.0,
        "is_highest": False,
    }


def test_cost_is_of_answered_photos_at_the_price_of_the_whole_cluster() -> None:
    phase = build(load_run(), price_per_hour=3.6)["phases"][0]
    # 1 s at 3.6 an hour is a thousandth, for 50 photos
    assert phase["cost_per_million"] == pytest.approx(0.001 / 50 * 1e6)


def test_cpu_time_is_that_between_the_beginning_and_the_end_of_a_phase() -> None:
    phase = build(load_run())["phases"][1]
    assert phase["cpu_s"] == {"coordinator": pytest.approx(1.2), "tags": pytest.approx(3.0)}
    assert phase["cpu_s_per_million"] == round(4.2 / 100 * 1e6)


def test_cpu_time_that_is_not_known_of_one_phase_is_not_known_of_the_whole() -> None:
    run = load_run()
    report = build(load_run(cpu=[*run.cpu[:3], None], cpu_missing="nobody told"))
    assert report["total"]["cpu_s"] is None and report["phases"][0]["cpu_s"] is not None
    assert "CPU: nobody told" in report["notes"]


def test_models_are_told_with_their_errors_and_batches() -> None:
    captions, tags = build(load_run())["models"]
    assert (captions["model"], captions["calls"], captions["ok"]) == ("captions@3.1", 275, 225)
    assert captions["codes"] == {"model_failed": 50}
    assert tags["batch_sizes"] == [[2, 150], [8, 125]]
    assert tags["mean_batch"] == pytest.approx(275 / (75 + 125 / 8), abs=0.01)


def test_a_generator_that_was_late_is_warned_of() -> None:
    run = load_run()
    run.tallies[1].lag = Latencies([0.2] * 100)
    assert "sent late" in build(run)["warnings"][0]


def test_a_run_without_a_call_makes_a_report_all_the_same() -> None:
    run = load_run()
    report = build(load_run(tallies=[Tally(run.scenario.slo_s) for _ in run.tallies]), price_per_hour=1.0)
    assert report["total"]["latency_ms"]["p99"] is None and report["total"]["cost_per_million"] is None
    json.dumps(report, allow_nan=False)


def test_a_run_that_was_cut_short_says_so() -> None:
    assert "stopped before its end" in build(load_run(is_cut_short=True))["notes"][0]


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    document = build(load_run(), price_per_hour=0.9, began="2026-05-04T10:00:00+00:00")
    (GOLDEN / "report.json").write_text(json.dumps(document, indent=1) + "\n")
