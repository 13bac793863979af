"""The states of a minion."""

from __future__ import annotations

import pytest

from minion import state
from minion.state import MOVES, Life, State


def test_a_minion_begins_by_starting() -> None:
    assert Life().state is State.STARTING


def test_it_is_ready_for_requests_only_when_ready_or_busy() -> None:
    assert {each for each in State if each.is_ready} == {State.READY, State.BUSY}


def test_a_move_that_is_not_allowed_is_a_bug() -> None:
    with pytest.raises(ValueError, match="does not go from STARTING to BUSY"):
        Life().move(State.BUSY)


@pytest.mark.parametrize("state", State)
def test_batches_make_a_ready_minion_busy_and_change_no_other_state(state: State) -> None:
    life = Life()
    life.state = state
    life.begin()
    assert life.state is (State.BUSY if state is State.READY else state)
    life.end()
    assert life.state is (State.READY if state is State.BUSY else state)


def test_nothing_follows_draining() -> None:
    assert MOVES[State.DRAINING] == frozenset()


def test_every_state_but_draining_can_drain() -> None:
    assert all(State.DRAINING in moves for each, moves in MOVES.items() if each is not State.DRAINING)


def test_a_problem_stays_until_the_next_move() -> None:
    life = Life()
    life.move(State.FAILED, "load: no weights")
    assert life.problem == "load: no weights"
    life.move(State.READY)
    assert life.problem is None


def test_every_state_has_its_line_in_the_table() -> None:
    assert state.__doc__ is not None
    assert all(f"    {each.name} " in state.__doc__ for each in State)
