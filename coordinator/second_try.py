"""Second tries: which failures may be tried again on another replica, within which budget, and what is told of them.

One second try per request, and only the coordinator makes any: for a replica that is full or not ready, whose
connection broke, or whose answer was none. Pure: time comes as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from coordinator.merge import STATUS_ORDER
from coordinator.replica import Replica
from coordinator.retry_budget import RetryBudget
from crema.errors import CremaError
from crema.host.headers import pack_members

Outcome = Literal["ok", "failed", "discarded", "denied"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "failed", "discarded", "denied")
"""How a second try ended: it answered; it failed too; the first try answered before it, or the call ended; the budget
was spent, so none was made."""

ONE_DEATH: Final = pack_members({"deaths": 1})
"""What a request says besides, once a worker has died with it: then it runs alone, and a second death is its last."""

# Between the moment at which a worker said to be back and the one at which everybody knows that it is.
_KNOWN_WITHIN_S: Final = 0.25


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


def hold_s(replicas: Sequence[Replica], now: float, left_s: float, back_in_ms: float | None) -> float:
    """How long the second try of what was in flight in a worker's death is held back, in seconds; 0: it is not.

    What killed one worker may kill the next. Where a single replica is left, it is not risked while the other one may be
    back before half of the time that is left has passed: with both away everybody would be refused.
    """
    if back_in_ms is None or sum(each.usable_at <= now for each in replicas) != 1:
        return 0.0
    wait_s = back_in_ms / 1000 + _KNOWN_WITHIN_S
    return wait_s if wait_s <= left_s / 2 else 0.0


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
