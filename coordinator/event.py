"""The one log event of a request: what was asked of which versions, how it ended, and the time of each hop.

Sizes, formats, ids and codes; never pixels, what a model said, a URL, or a text that the caller wrote besides the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from coordinator.answers import tenth
from coordinator.merge import Part

if TYPE_CHECKING:
    from coordinator.visit import Visit


class Event(msgspec.Struct, omit_defaults=True):
    """One line of the log. The journal says when and where; members that do not apply are left out."""

    event: str
    request_id: str
    path: str
    status: int
    outcome: str
    body_bytes: int
    body_ms: float
    total_ms: float
    key: str | None = None
    trace_id: str | None = None
    lane: str | None = None
    images: int | None = None
    problems: int | None = None
    image: dict[str, Any] | None = None
    preprocess_ms: float | None = None
    models: list[dict[str, Any]] | None = None
    merge_ms: float | None = None
    level: str | None = None
    tier: str | None = None
    timestamp: datetime | None = None


def event_of(visit: Visit, took_s: float) -> Event:
    """The event of a visit that is over."""
    event = Event(
        "request",
        visit.request_id,
        visit.where,
        visit.status,
        visit.code,
        visit.body_bytes,
        tenth(visit.body_ms),
        tenth(took_s * 1000),
        None if visit.caller is None else visit.caller.account.name,
        visit.trace_id,
        visit.lane,
    )
    if visit.images:
        event.images, event.problems = visit.images, visit.problems
        event.models = _counts(visit.parts)
        return event
    if visit.image is not None:
        event.image = visit.image
        event.preprocess_ms = tenth(visit.preprocess_ms)
    if visit.parts:
        event.models = [
            {"model": part.model, "version": part.version, "outcome": "ok", "timing": part.timing}
            if part.error is None
            else {"model": part.model, "version": part.version, "outcome": part.error.code}
            for part in visit.parts
        ]
        event.merge_ms = tenth(visit.merge_ms)
    return event


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
