"""Pointers and Line: what each verb makes of a model's state, and the way back."""

from __future__ import annotations

import pytest

from deploy.pointers import Line, Pointers, ReleaseRefused

LIVE = Pointers("3.1", {"3.1": None}, {"stable": "3.1"})


def test_beside_moves_nothing_else() -> None:
    now = LIVE.beside("3.2")
    assert (now.default, dict(now.shares), now.labels) == (
        "3.1",
        {"3.1": None, "3.2": 0.0},
        {"stable": "3.1"},
    )
    assert now.beside("3.2") == now


def test_a_canary_gets_its_share_and_the_default_none() -> None:
    assert LIVE.beside("3.2").canary("3.2", 5.0).shares["3.2"] == 5.0
    with pytest.raises(ReleaseRefused, match="is the default"):
        LIVE.canary("3.1", 5.0)


def test_canaries_have_no_more_than_everything_together() -> None:
    now = LIVE.beside("3.2").beside("3.3").canary("3.2", 60.0)
    assert now.canary("3.3", 40.0).canary("3.2", 50.0).shares["3.2"] == 50.0
    with pytest.raises(ReleaseRefused, match="at most 40%"):
        now.canary("3.3", 41.0)


def test_promoting_moves_the_name_and_keeps_the_version_before() -> None:
    now = LIVE.beside("3.2").canary("3.2", 5.0).promote("3.2")
    assert (now.default, dict(now.shares)) == ("3.2", {"3.1": None, "3.2": None})


def test_promoting_an_older_minor_puts_the_newer_ones_of_its_major_beside() -> None:
    now = Pointers("3.2", {"2.9": None, "3.1": None, "3.2": None, "4.0": None}).promote("3.1")
    assert dict(now.shares) == {"2.9": None, "3.1": None, "3.2": 0.0, "4.0": None}


@pytest.mark.parametrize("verb", ["promote", "retire"])
def test_a_version_that_does_not_serve_can_be_neither_promoted_nor_retired(verb: str) -> None:
    with pytest.raises(ReleaseRefused, match=r"no 3\.9 that serves; there are 3\.1"):
        getattr(LIVE, verb)("3.9")


def test_the_default_and_what_a_label_means_are_not_retired() -> None:
    with pytest.raises(ReleaseRefused, match=r"promote another one first: 3\.2"):
        LIVE.beside("3.2").retire("3.1")
    with pytest.raises(ReleaseRefused, match="release and promote another one first"):
        LIVE.retire("3.1")
    with pytest.raises(ReleaseRefused, match="the label stable means"):
        LIVE.beside("3.2").promote("3.2").retire("3.1")


def test_every_verb_is_undone_by_one_step_back() -> None:
    line = Line(Pointers("3.1", {"3.1": None}))
    states = [line.now]
    for step in (
        lambda now: now.beside("3.2").canary("3.2", 5.0),
        lambda now: now.canary("3.2", 20.0),
        lambda now: now.promote("3.2"),
        lambda now: now.retire("3.1"),
    ):
        line = line.moved(step(line.now))
        states.append(line.now)
    line = line.back()
    assert line.now == states[3]
    line = line.back()
    # what callers were taken off by the step back gets no share by it either
    assert line.now == states[2].taken_back("3.2")
    line = line.back().back()
    assert line.now == states[0]
    with pytest.raises(ReleaseRefused, match="no state before"):
        line.back()


def test_what_changes_nothing_is_no_step() -> None:
    line = Line(LIVE).moved(LIVE.beside("3.2").promote("3.2"))
    assert line.moved(line.now.promote("3.2")) is line


def test_a_canary_that_was_taken_back_does_not_return_with_a_step_back() -> None:
    line = Line(LIVE).moved(LIVE.beside("3.3").canary("3.3", 5.0))
    line = line.moved(line.now.canary("3.3", 20.0)).without_canary("3.3")
    assert line.now.shares["3.3"] == 0.0
    assert line.back().now == LIVE


def test_a_line_survives_being_written_and_read() -> None:
    line = Line(LIVE, (), "abc").moved(LIVE.beside("3.2").canary("3.2", 5.0))
    assert Line.of(line.document()) == line


@pytest.mark.parametrize(
    "broken",
    [
        {"default": "3.1", "shares": {"3.2": None}},
        {"default": "3.1", "shares": {"3.1": 101}},
        {"default": "3.1", "shares": {"latest": None, "3.1": None}},
    ],
)
def test_a_state_that_makes_no_sense_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Pointers.of(broken)
