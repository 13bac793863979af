"""Second tries: which failures may be tried again on another replica, within which budget, and what is told of them.

One second try per request, and only the coordinator makes any: for a replica that is full or not ready, whose
connection broke, or whose answer was none. Pure: time comes as an argument.
"""

from __future__ import annotations

from typing import Final, Literal

from coordinator.merge import STATUS_ORDER
from coordinator.retry_budget import RetryBudget
from crema.errors import CremaError

Outcome = Literal["ok", "failed", "discarded", "denied"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "failed", "discarded", "denied")
"""How a second try ended: it answered; it failed too; the first try answered before it, or the call ended; the budget
was spent, so none was made."""


class SecondTries:
    """The budget of one coordinator, and counts of how second tries ended."""

    __slots__ = ("budget", "ended")

    def __init__(self) -> None:
        self.budget = RetryBudget()
        self.ended: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)

    def take(self, now: float) -> bool:
        """Whether one may be made now."""
        if self.budget.take(now):
            return True
        self.ended["denied"] += 1
        return False

    def counted(self) -> dict[Outcome, int]:
        """How many ended how since this was last asked."""
        counted, self.ended = self.ended, dict.fromkeys(OUTCOMES, 0)
        return counted


def can_be_tried_elsewhere(error: CremaError) -> bool:
    """Whether another replica may well answer what this one refused."""
    return error.retryable and error.status in (429, 503)


def more_telling(first: CremaError | None, second: CremaError) -> CremaError:
    """Of the errors of both tries the one that a caller is told: the more retryable, the sooner to be tried again."""
    if first is None:
        return second
    if first.status != second.status:
        return min(
            first,
            second,
            key=lambda error: STATUS_ORDER.index(error.status) if error.status in STATUS_ORDER else 9,
        )
    return min(first, second, key=lambda error: error.retry_after_ms or 0.0)
