"""Merge: what became of each model of a call → one body and one status. Pure, and the only place where that is decided.

Knows no HTTP library and no clock. The rules stand in the API's description: `docs/api.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from crema.errors import CremaError, problem, retry_after_seconds

# the most retryable reason first; a part's error always has one of these statuses
STATUS_ORDER: Final = (429, 503, 504, 502, 500, 422)
# A part that was refused without saying when to come back: tell the caller something.
DEFAULT_RETRY_AFTER_MS: Final = 1000.0
_REFUSALS: Final = frozenset({"overloaded", "not_ready"})
# Parts named in a problem's detail; the others stand in `results`.
_MAX_NAMED: Final = 4

_encode = msgspec.json.Encoder().encode
# what it raises for a value that is none
_NOT_JSON: Final = (TypeError, ValueError, OverflowError, RecursionError)


class Part(msgspec.Struct):
    """What became of one model of a call: an output with its timing, or an error."""

    key: str
    model: str
    version: str
    is_required: bool
    output: Any = None
    timing: dict[str, float] | None = None
    error: CremaError | None = None


class Merged(msgspec.Struct, frozen=True):
    """A call's answer: `body` is an answer if `status` is 200, else a problem document."""

    status: int
    body: dict[str, Any]
    retry_after_s: int | None
    """For the header `Retry-After`: given whenever a part was refused."""
    code: str
    """`ok`, `partial`, or the problem's code."""


def finish(part: Part, as_msgpack: bool) -> None:
    """Make a part fit to leave, in place: errors within the table, outputs finite, and sealed unless for msgpack."""
    if part.error is not None:
        part.error = part_error(part.error)
        return
    if as_msgpack:
        is_good = is_finite(part.output)
    else:
        part.output = sealed(part.output)
        is_good = part.output is not None
    if not is_good:
        part.output = part.timing = None
        part.error = CremaError(
            "model_output_invalid",
            "the model's output holds a number that is not finite; report it to the model's owner",
        )


def merge_json(
    request_id: str, parts: Sequence[Part], image: dict[str, Any] | None, timing: dict[str, float]
) -> tuple[Merged, bytes]:
    """Finish all parts and merge them: the answer, and its body as JSON.

    Encoded once where all is well. The encoder writes null for NaN and infinity: without a null there was none.
    """
    for part in parts:
        if part.error is not None:
            part.error = part_error(part.error)
    merged = merge(request_id, parts, image, timing)
    try:
        encoded = _encode(merged.body)
    except _NOT_JSON:
        encoded = b"null"
    if b"null" in encoded:
        for part in parts:
            finish(part, as_msgpack=False)
        merged = merge(request_id, parts, image, timing)
        encoded = _encode(merged.body)
    return merged, encoded


def part_error(error: CremaError) -> CremaError:
    """An error as a part may carry it: with a status of `STATUS_ORDER`; a refusal always says when to come back."""
    if error.status not in STATUS_ORDER:
        return CremaError(
            "internal",
            "a minion refused what this coordinator sent; this is a bug of ours, reported in our log",
        )
    if error.code in _REFUSALS and error.retry_after_ms is None:
        return CremaError(
            error.code, error.message, retry_after_ms=DEFAULT_RETRY_AFTER_MS, retryable=error.retryable
        )
    return error


def sealed(output: Any) -> msgspec.Raw | None:
    """An output as finished JSON, or None when it holds a number that is not finite or something that is not JSON."""
    try:
        encoded = _encode(output)
    except _NOT_JSON:
        return None
    # the encoder writes null for NaN and infinity; without a null there was none, and nothing needs to be walked
    if b"null" in encoded and not is_finite(output):
        return None
    return msgspec.Raw(encoded)


def is_finite(value: Any) -> bool:
    """Whether all numbers in a plain value are finite."""
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is dict:
        return all(map(is_finite, value.values()))
    if type(value) is list:
        return all(map(is_finite, value))
    return True


def merge(
    request_id: str, parts: Sequence[Part], image: dict[str, Any] | None, timing: dict[str, float]
) -> Merged:
    """One answer out of all parts, in their order.

    200 if at least one model answered and every required one did; otherwise the problem of the most retryable reason
    among the required parts that failed, or among all parts if none is required.
    """
    results: dict[str, dict[str, Any]] = {}
    failed: list[Part] = []
    after_ms = 0.0
    for part in parts:
        error = part.error
        if error is None:
            results[part.key] = {
                "status": "ok",
                "model": part.model,
                "version": part.version,
                "output": part.output,
                "timing": part.timing,
            }
        else:
            results[part.key] = {
                "status": "error",
                "model": part.model,
                "version": part.version,
                "error": error.as_wire(),
            }
            failed.append(part)
            after_ms = max(after_ms, error.retry_after_ms or 0.0)
    retry_after_s = retry_after_seconds(after_ms) if after_ms else None
    failed_required = [part for part in failed if part.is_required] if failed else failed
    if len(failed) < len(parts) and not failed_required:
        status = "partial" if failed else "ok"
        body = {"id": request_id, "status": status, "image": image, "results": results, "timing": timing}
        return Merged(200, body, retry_after_s, status)
    reason = _reason(failed_required or failed, after_ms)
    body = {**problem(reason, request_id), "results": results}
    return Merged(reason.status, body, retry_after_s, reason.code)


def _reason(failed: list[Part], after_ms: float) -> CremaError:
    """The error of the whole call: the most retryable reason, its text naming the parts."""
    errors = [(part.key, part.error) for part in failed if part.error is not None]
    _, chosen = min(errors, key=lambda each: STATUS_ORDER.index(each[1].status))
    named = "; ".join(f"{key[:80]}: {error.message}" for key, error in errors[:_MAX_NAMED])
    more = f"; and {len(errors) - _MAX_NAMED} more in `results`" if len(errors) > _MAX_NAMED else ""
    if chosen.code not in _REFUSALS:
        return CremaError(chosen.code, named + more, retryable=chosen.retryable)
    text = f"{named}{more}; come back in {after_ms:g} ms"
    return CremaError(chosen.code, text, retry_after_ms=after_ms, retryable=chosen.retryable)
