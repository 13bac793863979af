"""What stands before an image that comes now: what is being decoded, and what waits and goes first. Pure.

A fluid picture of the pool: what waits is shared out to the decoders that are free soonest, and heavy images, of which only so
many are decoded at once, among as many decoders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from crema.names import Lane
from preprocessor.cost import DecodeCost
from preprocessor.gate import Ahead
from preprocessor.waiting import Waiting

# What is being decoded takes this much longer at least, however late it is.
_LEAST_REST_MS: Final = 1.0


def heavy_places(workers: int) -> int:
    """How many heavy images are decoded at once, so that they do not make everybody else wait for them."""
    return max(1, workers // 2)


def ahead_of(
    waiting: Waiting[Any],
    running: Iterable[tuple[float, float, bool]],
    workers: int,
    cost: DecodeCost,
    now: float,
    lane: Lane,
    *,
    is_heavy: bool = False,
) -> Ahead:
    """What stands before an image of `lane`, a heavy one or not. `running` gives work and start, in seconds, of what is being
    decoded, and whether it is heavy."""
    light_rests: list[float] = []
    heavy_rests: list[float] = []
    for work, started_at, runs_heavy in running:
        rest_ms = max(_LEAST_REST_MS, cost.predict_ms(work) - (now - started_at) * 1000)
        (heavy_rests if runs_heavy else light_rests).append(rest_ms)
    light_rests += [0.0] * (workers - len(light_rests) - len(heavy_rests))
    light_rests.sort()
    if waiting.is_empty:
        wait_ms = _wait_ms(light_rests, heavy_rests, workers, 0, 0.0, 0.0, is_heavy)
        return Ahead(0, wait_ms, max(light_rests + heavy_rests))
    images, heavies = waiting.images_before(lane), waiting.heavies_before(lane)
    light, heavy = map(cost.predict_ms, waiting.work_before(lane))
    wait_ms = _wait_ms(light_rests, heavy_rests, workers, heavies, light, heavy, is_heavy)
    light, heavy = map(cost.predict_ms, waiting.work_before("bulk"))
    heavies = waiting.heavies_before("bulk")
    drain_ms = max(
        max(light_rests + heavy_rests),
        _wait_ms(light_rests, heavy_rests, workers, heavies, light, heavy, False),
        _wait_ms(light_rests, heavy_rests, workers, heavies, light, heavy, True),
    )
    return Ahead(images, wait_ms, drain_ms)


def _wait_ms(
    light_rests: list[float],
    heavy_rests: list[float],
    workers: int,
    heavies: int,
    light_ms: float,
    heavy_ms: float,
    is_heavy: bool,
) -> float:
    """When a decoder is free for an image, a heavy one or not, behind `heavies` heavy ones that wait. Some decoders are busy with
    heavy images for `heavy_rests`, the others for `light_rests` (ascending)."""
    places = heavy_places(workers)
    # those that wait begin on the decoders that are free first, as many as may
    joining = max(0, min(heavies, places - len(heavy_rests)))
    of_heavy = sorted(heavy_rests + light_rests[:joining])
    heavy_end_ms = _until_free(of_heavy, heavy_ms) if of_heavy else 0.0
    rests = sorted(
        [*(max(rest, heavy_end_ms) if heavies else rest for rest in of_heavy), *light_rests[joining:]]
    )
    wait_ms = _until_free(rests, light_ms)
    return max(wait_ms, heavy_end_ms) if is_heavy and len(of_heavy) >= places else wait_ms


def _until_free(rests: list[float], work_ms: float) -> float:
    """When a decoder is free for the next image, in milliseconds: each is busy for one of `rests` (ascending), and all that
    are free share `work_ms` first."""
    total = work_ms
    for free, rest_ms in enumerate(rests):
        if free and total <= rest_ms * free:
            return total / free
        total += rest_ms
    return total / len(rests)
