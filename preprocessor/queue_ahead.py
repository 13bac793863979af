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
    rest_ms, busy = 0.0, 0
    for work, started_at in running:
        rest_ms += max(1.0, cost.predict_ms(work) - (now - started_at) * 1000)
        busy += 1
    drain_ms = (rest_ms + cost.predict_ms(waiting.work_before("bulk"))) / workers
    images = waiting.images_before(lane)
    if not images and busy < workers:
        return Ahead(drain_ms=drain_ms)
    return Ahead(images, (rest_ms + cost.predict_ms(waiting.work_before(lane))) / workers, drain_ms)
