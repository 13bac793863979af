"""The one log event of a request: what was asked of which versions, how it ended, and the time of each hop.

Sizes, formats, ids and codes; never pixels, what a model said, a URL, or a text that the caller wrote besides the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coordinator.answers import tenth
from coordinator.merge import Part

if TYPE_CHECKING:
    from coordinator.visit import Visit


def event_of(visit: Visit, took_s: float) -> dict[str, Any]:
    """The event of a visit that is over; plain values."""
    event: dict[str, Any] = {
        "event": "request",
        "request_id": visit.request_id,
        "path": visit.where,
        "status": visit.status,
        "outcome": visit.code,
        "body_bytes": visit.body_bytes,
        "body_ms": tenth(visit.body_ms),
        "total_ms": tenth(took_s * 1000),
    }
    if visit.caller is not None:
        event["key"] = visit.caller.account.name
    if visit.trace_id is not None:
        event["trace_id"] = visit.trace_id
    if visit.lane is not None:
        event["lane"] = visit.lane
    if visit.images:
        event["images"], event["problems"] = visit.images, visit.problems
        event["models"] = _counts(visit.parts)
        return event
    if visit.image is not None:
        event["image"] = visit.image
        event["preprocess_ms"] = tenth(visit.preprocess_ms)
    if visit.parts:
        event["models"] = [_model(part) for part in visit.parts]
        event["merge_ms"] = tenth(visit.merge_ms)
    return event


def _model(part: Part) -> dict[str, Any]:
    if part.error is None:
        return {"model": part.model, "version": part.version, "outcome": "ok", "timing": part.timing}
    return {"model": part.model, "version": part.version, "outcome": part.error.code}


def _counts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Of a batch: per version, how many images ended how."""
    counted: dict[tuple[str, str], dict[str, int]] = {}
    for part in parts:
        outcomes = counted.setdefault((part.model, part.version), {})
        code = "ok" if part.error is None else part.error.code
        outcomes[code] = outcomes.get(code, 0) + 1
    return [
        {"model": model, "version": version, "outcomes": outcomes}
        for (model, version), outcomes in counted.items()
    ]
