"""Phases: each kind of arrivals, one after the other, the same for everybody who draws them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.phase import ARRIVALS, Phase, in_turn, schedule


@pytest.mark.parametrize("arrivals", [kind for kind in ARRIVALS if kind != "trace"])
def test_every_kind_of_arrivals_gives_about_its_rate(arrivals: str) -> None:
    phase = Phase("p", 1000.0, 10.0, arrivals)  # type: ignore[arg-type]
    assert len(list(phase.moments(1))) == pytest.approx(10_000, rel=0.15)


def test_a_trace_is_sent_as_recorded_from_its_first_call_on_at_its_speed(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("10\n12\n16\n90\n")
    phase = Phase("p", 5.0, 1.0, "trace", trace=str(tmp_path / "t"), speed=2.0)
    assert list(phase.moments(1)) == [0.0, 1.0, 3.0]


def test_phases_follow_one_another_and_steps_pause_between_themselves() -> None:
    phases = in_turn(
        [
            Phase("warm-up", 2.0, 1.0),
            Phase("1x", 3.0, 1.0, is_step=True),
            Phase("2x", 3.0, 2.0, is_step=True),
            Phase("calm", 1.0, 1.0),
        ],
        pause_s=1.0,
    )
    assert [phase.begins_s for phase in phases] == [0.0, 2.0, 6.0, 9.0]


def test_the_schedule_ascends_and_repeats_exactly() -> None:
    phases = in_turn([Phase("a", 5.0, 30.0), Phase("b", 5.0, 60.0, "bursts")])
    calls = list(schedule(phases, 7))
    assert calls == sorted(calls) == list(schedule(phases, 7))
    assert calls != list(schedule(phases, 8))


def test_two_phases_alike_are_not_drawn_alike() -> None:
    phases = in_turn([Phase("a", 5.0, 30.0), Phase("b", 5.0, 30.0)])
    calls = list(schedule(phases, 7))
    first = [moment for number, moment in calls if number == 0]
    second = [moment - 5.0 for number, moment in calls if number == 1]
    assert first[:5] != pytest.approx(second[:5])


def test_a_phase_survives_a_way_as_json() -> None:
    phase = Phase("a", 5.0, 30.0, "ramp", to_rate=60.0, query=(("models", "tags"), ("lane", "bulk")))
    assert Phase.read(json.loads(json.dumps(phase.document()))) == phase


def test_the_highest_rate_knows_ramps_and_bursts() -> None:
    assert Phase("a", 5.0, 30.0, "ramp", to_rate=60.0).highest_rate == 60.0
    assert Phase("a", 5.0, 30.0, "bursts", factor=3.0).highest_rate == 90.0
