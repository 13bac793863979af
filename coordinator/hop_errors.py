"""What a call is told when one of its hops cannot be answered: nobody is there, a connection broke, time ran out."""

from __future__ import annotations

from typing import Any, Final

from coordinator.answers import PREPROCESS_STATUSES, error_of
from coordinator.merge import DEFAULT_RETRY_AFTER_MS
from coordinator.served import Served
from crema.errors import CremaError

NO_PREPROCESSOR: Final = "no preprocessor can be reached; come back in a second"
PREPROCESSOR_LOST: Final = "the preprocessor was lost; come back in a second"
MINION_LOST: Final = "the connection to the minion was lost; try again"


def no_replica(served: Served) -> CremaError:
    """A version has no replica that can be sent to."""
    row = served.row
    says = "cannot be reached" if row.state == "ready" else f"is {row.state}"
    return CremaError(
        "not_ready",
        f"{served.full_name} {says}: 0 of {row.wanted} replicas ready; GET /v1/models shows the state of all",
        retry_after_ms=DEFAULT_RETRY_AFTER_MS,
    )


def nobody(served: Served | None) -> CremaError:
    """Nobody can be asked: no replica of a version, or (None) no preprocessor."""
    return lost(NO_PREPROCESSOR) if served is None else no_replica(served)


def not_answered(header: dict[str, Any] | None, served: Served | None) -> CremaError:
    """A replica of a version, or (None) a preprocessor, refused; without a header its connection was lost."""
    if served is None:
        return (
            lost(PREPROCESSOR_LOST)
            if header is None
            else error_of(header, "preprocessor", PREPROCESS_STATUSES)
        )
    return lost(MINION_LOST) if header is None else error_of(header, served.full_name, None)


def lost(message: str) -> CremaError:
    """A connection broke, or there is none."""
    return CremaError("not_ready", message, retry_after_ms=DEFAULT_RETRY_AFTER_MS)


def late(when: str) -> CremaError:
    """The deadline passed before any model was asked."""
    return CremaError("deadline_exceeded", f"the deadline passed {when}; allow more with deadline_ms")


def silent() -> CremaError:
    """A model was asked and has not answered in time."""
    return CremaError("deadline_exceeded", "no answer before the deadline; allow more with deadline_ms")


def unfitting() -> CremaError:
    """A preprocessor's answer is none to what it was asked."""
    return CremaError(
        "internal", "the preprocessor's answer does not fit the request; it is logged under this request id"
    )


def too_long() -> CremaError:
    """A request's header would break the channel's limit."""
    return CremaError("internal", "this model's params do not fit the channel; send shorter ones")
