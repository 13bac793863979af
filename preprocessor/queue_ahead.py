"""What stands before an image that comes now: what is being decoded, and what waits and goes first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crema.names import Lane
from preprocessor.cost import DecodeCost
from preprocessor.gate import Ahead
from preprocessor.waiting import Waiting


def ahead_of(
    waiting: Waiting[Any],
    running: Iterable[tuple[float, float]],
    workers: int,
    cost: DecodeCost,
    now: float,
    lane: Lane,
) -> Ahead:
    """What stands before an image of `lane`. `running` gives the work and the start, in seconds, of what is being decoded."""
    rest_ms, busy, ms_per_unit = 0.0, 0, cost.ms_per_unit
    for work, started_at in running:
        left_ms = work * ms_per_unit - (now - started_at) * 1000
        rest_ms += left_ms if left_ms > 1.0 else 1.0
        busy += 1
    if not waiting.is_empty:
        drain_ms = (rest_ms + cost.predict_ms(waiting.work_before("bulk"))) / workers
        if images := waiting.images_before(lane):
            wait_ms = (rest_ms + cost.predict_ms(waiting.work_before(lane))) / workers
            return Ahead(images, wait_ms, drain_ms)
    else:
        drain_ms = rest_ms / workers
    return Ahead(0, rest_ms / workers if busy >= workers else 0.0, drain_ms)
