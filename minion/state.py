"""State: what a minion is doing, which moves are allowed, and what it answers meanwhile.

    state     means                                             /readyz  infer (channel and POST /v1/infer)
    STARTING  no worker: it is loading, or being replaced       503      503 not_ready, Retry-After = predicted
    READY     the worker waits for a batch                      200      admitted by the gate, else 429 overloaded
    BUSY      a batch is running                                200      admitted by the gate, else 429 overloaded
    DRAINING  shutting down; what was admitted is finished      503      503 not_ready
    FAILED    the model did not load; tried again with back-off 503      503 not_ready, Retry-After = predicted

`/livez` and `/metrics` answer 200 in every state.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """What the minion is doing; the value is the word that `/readyz` says."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    FAILED = "failed"

    @property
    def is_ready(self) -> bool:
        """Whether requests reach the gate."""
        return self is _READY or self is _BUSY


MOVES: Final[dict[State, frozenset[State]]] = {
    State.STARTING: frozenset({State.READY, State.FAILED, State.DRAINING}),
    State.READY: frozenset({State.BUSY, State.STARTING, State.DRAINING}),
    State.BUSY: frozenset({State.READY, State.STARTING, State.DRAINING}),
    # straight back to READY: while a failed model is tried again it is still reported as failed, with its reason
    State.FAILED: frozenset({State.READY, State.DRAINING}),
    State.DRAINING: frozenset(),
}


# an attribute of an enum is looked up by Python code
_READY: Final = State.READY
_BUSY: Final = State.BUSY


class Life:
    """The state of one minion and the problem that explains it."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self.problem: str | None = None
        """Why it is not serving, first line first; None when nothing is wrong."""

    def begin(self) -> None:
        """A batch was handed over: a minion that is ready is busy. Many times a second, and always allowed."""
        if self.state is _READY:
            self.state = _BUSY

    def end(self) -> None:
        """No batch runs any more: a minion that is busy is ready."""
        if self.state is _BUSY:
            self.state = _READY

    def move(self, to: State, problem: str | None = None) -> None:
        """Go to another state. Raises ValueError for a move that is not allowed: that is a bug of ours."""
        if to not in MOVES[self.state]:
            raise ValueError(
                f"a minion does not go from {self.state.name} to {to.name}; this is a bug of ours"
            )
        self.state = to
        self.problem = problem
