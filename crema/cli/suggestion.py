"""Suggestion: which `batching.max_size` and `gate.max_pending` fit a measured curve and the promised p99. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Pixels that may wait in a host, at most: more places than this much memory holds are never suggested.
MOST_WAITING_BYTES: Final = 256 * 1024 * 1024
# A host's own work on an item: however quick the model is, no more items than this allows are answered.
_HOST_ITEM_S: Final = 50e-6
# What a manifest may say.
_MOST_PLACES: Final = 100_000
# An item that just missed a batch waits for all of it before its own: two batches fit into the promise.
_BATCHES: Final = 2


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Numbers for a manifest. `batch_s` is t(max_size); `keeps_promise` is False when not even single items fit."""

    max_size: int
    max_pending: int
    batch_s: float
    keeps_promise: bool


def suggest(
    points: Sequence[tuple[int, float]], slo_s: float, *, item_bytes: int, workers: int = 1
) -> Suggestion:
    """`points` are (n, seconds), n rising from 1 to the largest size that may be suggested.

    `max_size` is the largest n with 2·t(n) ≤ slo_s, at least 1. `max_pending` is what `workers` workers finish within
    slo_s in full batches, as far as 256 MiB of items go, and never less than two full batches for each worker.
    """
    fitting = [n for n in range(1, points[-1][0] + 1) if _BATCHES * seconds_of(points, n) <= slo_s + 1e-9]
    size = fitting[-1] if fitting else 1
    batch_s = seconds_of(points, size)
    least = _BATCHES * size * workers
    batches = math.floor(slo_s / max(batch_s / workers, size * _HOST_ITEM_S))
    places = max(least, min(batches * size, MOST_WAITING_BYTES // max(1, item_bytes)))
    return Suggestion(size, min(places, _MOST_PLACES), batch_s, bool(fitting))


def seconds_of(points: Sequence[tuple[int, float]], n: int) -> float:
    """t(n): as measured, and on the straight line between two measured sizes."""
    before_n, before_s = points[0]
    for size, seconds in points:
        if size >= n:
            if size == before_n:
                return seconds
            return before_s + (seconds - before_s) * (n - before_n) / (size - before_n)
        before_n, before_s = size, seconds
    return before_s
