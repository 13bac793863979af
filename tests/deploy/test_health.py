"""Health: the body of /readyz, checked."""

from __future__ import annotations

import pytest

from deploy.health import Health, Part


def test_a_minions_answer_is_read_with_its_workers() -> None:
    body = {"ready": True, "state": "busy", "problem": None, "workers": [{"pid": 7, "state": "ready"}]}
    assert Health.parse(body) == Health(True, "busy", None, (Part(7, "ready"),))


def test_a_coordinators_answer_is_read_with_its_counts() -> None:
    health = Health.parse(
        {"ready": False, "models": {"a": {"version": "1.0", "ready": 1}, "b": {"version": "1.0", "ready": 0}}}
    )
    assert health.ready_of == (("a", 1), ("b", 0))
    assert health.state == "degraded"


def test_a_coordinator_without_any_ready_model_is_starting() -> None:
    assert Health.parse({"ready": False, "models": {"a": {"ready": 0}}}).state == "starting"


def test_of_a_problem_with_a_traceback_the_first_line_is_kept() -> None:
    body = {"ready": False, "state": "failed", "problem": "\nload: no file\nTraceback"}
    assert Health.parse(body).problem == "load: no file"


def test_the_traceback_is_kept_beside_it_and_of_a_long_one_the_end() -> None:
    body = {"ready": False, "state": "failed", "problem": "load: no file\nTraceback:\n  in load\n"}
    assert Health.parse(body).traceback == "Traceback:\n  in load"
    endless = {"ready": False, "problem": "load: no file\n" + "x\n" * 10_000 + "in load"}
    kept = Health.parse(endless).traceback
    assert kept is not None
    assert len(kept) <= 4000
    assert kept.endswith("in load")


@pytest.mark.parametrize("body", [None, [], "ready", {}, {"ready": 1}, {"ready": "true"}])
def test_what_is_not_an_answer_is_refused(body: object) -> None:
    with pytest.raises(ValueError, match="ready"):
        Health.parse(body)


def test_entries_that_make_no_sense_are_left_out() -> None:
    health = Health.parse(
        {"ready": True, "state": "surprised", "workers": [{"pid": "7"}, 3], "models": {"a": None}}
    )
    assert (health.state, health.parts, health.ready_of) == ("ready", (), ())
