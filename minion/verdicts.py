"""Verdicts: what items are told that got no outcome from the model, and what the log is told about why.

It decides nothing; the dispatcher does. Callers are never told what stands in a traceback.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from crema.errors import CremaError
from crema.outcomes import error_outcome, model_failed_message
from minion.answers import outcome_of
from minion.request import Item
from minion.state import State
from minion.worker_output import LineBudget

_LOGGED_IDS: Final = 32
_LEAST_WAIT_S: Final = 0.1
_MOST_WAIT_S: Final = 60.0

log = structlog.get_logger(__name__)


class BatchFailures:
    """Batches that failed as a whole: into the log, at most one a second in the long run, and as an outcome."""

    def __init__(self) -> None:
        self._budget = LineBudget(per_s=1.0, burst=10.0)

    def log(self, items: list[Item], error: dict[str, Any], now: float) -> None:
        """Say what the model raised, with its traceback and whose items were in the batch."""
        if self._budget.take(now):
            log.error(
                "batch_failed",
                code=error["code"],
                problem=error["message"],
                traceback=error.get("traceback"),
                items=len(items),
                request_ids=_request_ids(items),
                traceparents=[
                    item.request.traceparent for item in items if item.request.traceparent is not None
                ][:_LOGGED_IDS],
            )

    def outcome(self, error: dict[str, Any]) -> bytes:
        """What the items at fault are told."""
        if error["code"] == "model_failed":
            return error_outcome("model_failed", model_failed_message(error["kind"]))
        return error_outcome(error["code"], error["message"])


def died(ready_in_s: float) -> bytes:
    """The outcome of an item whose worker died while it ran."""
    error = CremaError(
        "not_ready",
        "the worker died while it ran this batch; send the request to another replica",
        retry_after_ms=_bounded(ready_in_s) * 1000,
    )
    return outcome_of(error)


def expired(waited_s: float) -> bytes:
    """The outcome of an item that never ran because its deadline passed."""
    return outcome_of(
        CremaError(
            "deadline_exceeded",
            f"the deadline passed after {waited_s * 1000:.0f} ms of waiting for a batch; allow more time",
        )
    )


def quarantined() -> bytes:
    """The outcome of an item that was in flight in two deaths."""
    return outcome_of(
        CremaError(
            "item_quarantined",
            "a worker died twice while it ran this item; it is refused for ten minutes: do not send it again",
        )
    )


def not_ready(state: State, ready_in_s: float) -> CremaError:
    """Why nothing is admitted in this state."""
    if state is State.DRAINING:
        return CremaError(
            "not_ready",
            "this minion is shutting down; send the request to another replica",
            retry_after_ms=1000,
        )
    words = (
        "the model did not load and is tried again" if state is State.FAILED else "the model is being loaded"
    )
    return CremaError("not_ready", f"{words}; come back later", retry_after_ms=_bounded(ready_in_s) * 1000)


def _bounded(wait_s: float) -> float:
    return min(_MOST_WAIT_S, max(_LEAST_WAIT_S, wait_s))


def _request_ids(items: list[Item]) -> list[str]:
    return [item.request.request_id for item in items if item.request.request_id is not None][:_LOGGED_IDS]
