"""Steps `memory` and `latency`: what the worker takes at max_size, and whether single items can keep the promise."""

from __future__ import annotations

import itertools
import statistics
import time

from check.failure import StepFailed
from check.items import Item
from check.probe import BatchRaised
from check.session import is_rejected
from check.subject import Subject

_LEAST_RUNS = 5
_MOST_RUNS = 30
_SIZE_S = 0.4
# A worker that grows in every one of these windows, and by this much in each, does not stop growing.
_WINDOWS = 5
_WINDOW_S = 0.3
_WINDOW_BATCHES = 60
_LEAST_GROWTH_BYTES = 512 * 1024
# as the minion counts resources.memory_mb
_MEGABYTE = 1 << 20


def check_memory(subject: Subject) -> str:
    """The worker's peak at max_size is within resources.memory_mb, and it does not grow with every batch."""
    session = subject.session
    batch = _batch(subject, session.max_size)
    for _ in range(2):
        _seconds(subject, batch)
    sizes = [session.probe.memory_bytes()]
    batches = 0
    for _ in range(_WINDOWS):
        until = time.monotonic() + _WINDOW_S
        for _ in range(_WINDOW_BATCHES):
            _seconds(subject, batch)
            batches += 1
            if time.monotonic() >= until:
                break
        sizes.append(session.probe.memory_bytes())
    peak = session.probe.memory_bytes(peak=True)
    allowed = subject.manifest.resources.memory_mb
    if allowed is not None and peak > allowed * _MEGABYTE:
        raise StepFailed(
            f"the worker takes {peak / _MEGABYTE:.0f} MB at batches of {session.max_size}; resources.memory_mb allows {allowed}",
            hint=f"memory_mb: {int(peak / _MEGABYTE * 1.25) + 1}, or a smaller batching.max_size",
        )
    growth = [after - before for before, after in itertools.pairwise(sizes)]
    if min(growth) >= _LEAST_GROWTH_BYTES:
        raise StepFailed(
            f"the worker leaks: it grew by {sum(growth) / _MEGABYTE:.1f} MB over {batches} equal batches of {session.max_size}",
            hint="keep nothing of a batch: lists, caches and histories grow for as long as the model serves",
        )
    limit = "" if allowed is None else f" of {allowed}"
    return f"peak {peak / _MEGABYTE:.0f}{limit} MB at batches of {session.max_size}"


def check_latency(subject: Subject) -> str:
    """2·t(1) fits slo.p99_ms: an item that just missed a batch waits for it before its own."""
    promised_ms = subject.manifest.slo.p99_ms
    sizes = sorted(
        {
            1,
            *(2**power for power in range(1, 11) if 2**power < subject.session.max_size),
            subject.session.max_size,
        }
    )
    times: dict[int, float] = {}
    for n in sizes:
        subject.progress(f"timing batches of {n}")
        times[n] = 1000 * _median(subject, _batch(subject, n))
        if n == 1 and 2 * times[n] > promised_ms:
            raise StepFailed(
                f"a single item takes {times[n]:.1f} ms, and twice that is more than slo.p99_ms, {promised_ms:g}",
                hint=f"slo: {{p99_ms: {int(2.5 * times[n]) + 1}}}, or a quicker model",
            )
    largest = max((n for n in sizes if 2 * times[n] <= promised_ms), default=1)
    shown = ", ".join(f"t({n}) {times[n]:.1f}" for n in sizes)
    return f"{shown} ms; batches of up to {largest} keep p99 {promised_ms:g} ms"


def _batch(subject: Subject, n: int) -> list[Item]:
    pool = [item for item in subject.pool if not is_rejected(subject.session.alone(item))] or subject.pool
    return [pool[place % len(pool)] for place in range(n)]


def _seconds(subject: Subject, batch: list[Item]) -> float:
    try:
        return subject.session.timed(batch)[1]
    except BatchRaised as raised:
        raise StepFailed(f"a batch of {len(batch)}: {raised.code}: {raised}", detail=raised.detail) from None


def _median(subject: Subject, batch: list[Item]) -> float:
    _seconds(subject, batch)
    began = time.monotonic()
    seconds: list[float] = []
    while len(seconds) < _MOST_RUNS:
        seconds.append(_seconds(subject, batch))
        if len(seconds) >= _LEAST_RUNS and time.monotonic() - began >= _SIZE_S:
            break
    return statistics.median(seconds)
