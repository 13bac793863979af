"""What the other tiers answer, read with suspicion: whatever does not fit becomes that tier's error and nothing worse.

Pure functions over one answer's header and payload.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack
import structlog

from coordinator.merge import DEFAULT_RETRY_AFTER_MS
from crema import wire
from crema.errors import CODES, CremaError
from crema.host.channel import Buffer
from crema.host.image_limits import MAX_IMAGE_BYTES, MAX_PIXELS

# What a preprocessor may say of a photo or of itself; anything else it refuses is a bug between us.
PREPROCESS_STATUSES: Final = frozenset({413, 415, 422, 429, 500, 502, 503, 504})

# More is no time that a request can have taken.
_MOST_MS: Final = 1e9

Timing = dict[str, float]

log = structlog.get_logger(__name__)


NO_OUTCOME: Final = CremaError(
    "model_output_invalid",
    "the minion's answer holds no outcome for this image; report it to the model's owner",
)
"""What `outcome_of` gives for an answer that is none."""


def tenth(number: float) -> float:
    """`number`, not negative, to one decimal place: a quarter of what `round` costs."""
    return (number * 10 + 0.5) // 1 / 10


def image_of(header: dict[str, Any]) -> dict[str, Any] | None:
    """What a preprocessor found the photo to be, as the API shows it."""
    told = header.get("image")
    if type(told) is not dict:
        return None
    return {
        "format": told.get("format"),
        "width": told.get("width"),
        "height": told.get("height"),
        "bytes": told.get("bytes"),
    }


def is_refusal(header: dict[str, Any]) -> bool:
    """Whether an answer whose status is not 200 is one that a tier can have sent, and not garbage."""
    error = header.get("error")
    return type(header.get("status")) is int and type(error) is dict and error.get("code") in CODES


def error_of(header: dict[str, Any], who: str, statuses: frozenset[int] | None = None) -> CremaError:
    """The error of an answer whose status is not 200. One that the tier may not send means that we sent it nonsense."""
    error = CremaError.from_wire(header.get("error"))
    if error.code == "internal" or (statuses is not None and error.status not in statuses):
        log.error(
            "refused_by_tier", who=who, status=header.get("status"), error=str(header.get("error"))[:300]
        )
        return CremaError(
            "internal", "another tier refused what this coordinator sent; it is logged under this request id"
        )
    if error.code == "image_too_large":
        # of the images with too many bytes only those fetched by URL get past this coordinator
        told = header.get("limit")
        has_too_many_bytes = type(told) is dict and "bytes" in told
        limit = MAX_IMAGE_BYTES if has_too_many_bytes else MAX_PIXELS
        return CremaError(error.code, error.message, limit=limit)
    return for_callers(error)


def for_callers(error: CremaError) -> CremaError:
    """A tier's refusal with a next step that the API's callers can take: they choose no replica.

    What a tier says ends in "; " and the next step for whoever called it.
    """
    if error.code == "not_ready":
        reason = error.message.rpartition("; ")[0] or error.message
        after_ms = error.retry_after_ms or DEFAULT_RETRY_AFTER_MS
        return CremaError(error.code, f"{reason}; try again", retry_after_ms=after_ms)
    if error.status in (429, 503) and error.retry_after_ms is None:
        return CremaError(error.code, error.message, retry_after_ms=DEFAULT_RETRY_AFTER_MS)
    return error


def timing_of(told: Any, total_ms: float) -> tuple[Timing, float, float | None, int]:
    """The timing of a model's part, the time it took without the queue, its time per item and the batch's size; what was
    not told properly is left out (None, 0)."""
    if type(told) is dict:
        queue_ms: Any = told.get("queue_ms")
        inference_ms: Any = told.get("inference_ms")
        batch_size: Any = told.get("batch_size")
        if (
            (type(queue_ms) is float or type(queue_ms) is int)
            and (type(inference_ms) is float or type(inference_ms) is int)
            and type(batch_size) is int
            and 0 <= queue_ms < _MOST_MS
            and 0 <= inference_ms < _MOST_MS
            and batch_size > 0
        ):
            timing = {
                "queue_ms": tenth(queue_ms),
                "inference_ms": tenth(inference_ms),
                "total_ms": tenth(total_ms),
                "batch_size": batch_size,
            }
            service_ms = total_ms - timing["queue_ms"]
            return timing, service_ms if service_ms > 0 else 0.0, inference_ms / batch_size, batch_size
    return {"total_ms": tenth(total_ms)}, total_ms, None, 0


def queue_ms_of(told: Any) -> float:
    """How long a request waited in its replica's queue; 0 where that was not told."""
    queue_ms: Any = told.get("queue_ms") if type(told) is dict else None
    is_told = (type(queue_ms) is float or type(queue_ms) is int) and 0 <= queue_ms < _MOST_MS
    return queue_ms if is_told else 0.0


def outcome_of(header: dict[str, Any], payload: Buffer) -> tuple[Any, CremaError | None]:
    """(output, None) or (None, error) of the one item asked for.

    The outcomes stand in the header or, when they are too large for that, in the payload.
    """
    outcomes = header.get("outcomes")
    if outcomes is None:
        size = header.get("outcomes_bytes")
        outcomes = _unpack(payload) if type(size) is int and size == len(payload) else None
    if type(outcomes) is list and len(outcomes) == 1 and type(outcomes[0]) is dict:
        outcome = outcomes[0]
        if "error" in outcome:
            return None, for_callers(CremaError.from_wire(outcome["error"]))
        if "ok" in outcome:
            return outcome["ok"], None
    return None, NO_OUTCOME


def _unpack(payload: Buffer) -> Any:
    size = len(payload)
    try:
        value = msgpack.unpackb(
            payload, max_str_len=size, max_bin_len=0, max_array_len=size, max_map_len=size, max_ext_len=0
        )
        wire.check_plain(value)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException, wire.WireError):
        return None
    return value
