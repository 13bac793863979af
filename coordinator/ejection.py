"""Ejection: a replica that is much slower than its peers, silent or broken gets no requests for a while.

Judged by its answers alone: a health probe that passes says nothing about them. After its time is over one request at
a time is its trial; a good answer restores it. Pure: time comes as an argument. Never are more than half ejected.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from coordinator.replica import Replica

FIRST_S: Final = 2.0
MOST_S: Final = 30.0
# One that was restored this long ago begins with FIRST_S again.
FORGIVEN_S: Final = 60.0

# Slower than normal by this factor, and than the best of its peers by the same: a replica at half speed stays.
SLOW_FACTOR: Final = 3.0
# Less than this above normal is nothing that a caller would notice.
LEAST_EXCESS_MS: Final = 10.0
_LEAST_SAMPLES: Final = 4
_WEIGHT: Final = 0.15
_MOST_TIMES: Final = 30.0

FAILURES: Final = 3
# What is lost with one connection is one failure.
_ONE_FAILURE_S: Final = 0.02

SILENCES: Final = 2
SILENT_S: Final = 0.5

_SIZES: Final = 40
_DOWN: Final = 0.3
_UP: Final = 0.02


class Ejection:
    """Judges the replicas of one group. `rng` gives floats in [0, 1): coordinators shall not try in step.

    What is normal is learned per size of the work (powers of two): a batch of 32 takes longer than one of 1.
    """

    __slots__ = ("_normal_ms", "_rng")

    def __init__(self, rng: Callable[[], float] = random.random) -> None:
        self._rng = rng
        # the time of a quick answer per size; 0: not known
        self._normal_ms = [0.0] * _SIZES

    def answered(
        self,
        replicas: Sequence[Replica],
        replica: Replica,
        now: float,
        sent_at: float,
        service_ms: float,
        size: int,
    ) -> None:
        """An answer came `service_ms` after it was sent, the wait in the replica's queue left out, for work of `size`."""
        replica.silences = 0
        place = min(size.bit_length(), _SIZES - 1)
        normal_ms = self._normal_ms[place]
        if not normal_ms:
            normal_ms = self._normal_ms[place] = max(service_ms, 0.001)
        times = min(service_ms / normal_ms, _MOST_TIMES)
        is_slow = times > SLOW_FACTOR and service_ms > normal_ms + LEAST_EXCESS_MS
        if replica.is_ejected:
            if replica.is_trial(sent_at):
                if is_slow:
                    self._eject(replica, now)
                else:
                    replica.restore(now)
            # others of its answers were asked for before it was ejected
            return
        # quick to believe in speed, slow to believe that all have become slow
        if times < 1:
            normal_ms += _DOWN * (service_ms - normal_ms)
        else:
            normal_ms += _UP * min(service_ms - normal_ms, normal_ms)
        self._normal_ms[place] = max(normal_ms, 0.001)
        replica.samples += 1
        replica.slowness += max(_WEIGHT, 1 / replica.samples) * (times - replica.slowness)
        if is_slow and replica.slowness > SLOW_FACTOR and replica.samples >= _LEAST_SAMPLES:
            best = min(
                (
                    each.slowness
                    for each in replicas
                    if each is not replica and each.is_open and not each.is_ejected and each.samples
                ),
                default=None,
            )
            if best is not None and replica.slowness > SLOW_FACTOR * best:
                self._eject_if_allowed(replicas, replica, now)

    def failed(self, replicas: Sequence[Replica], replica: Replica, now: float, sent_at: float) -> None:
        """The connection broke before the answer, or what came was no answer to the request."""
        if replica.is_ejected:
            if replica.is_trial(sent_at):
                self._eject(replica, now)
            return
        if now - replica.failed_at < _ONE_FAILURE_S:
            return
        replica.failed_at = now
        replica.failures += 1
        if replica.failures >= FAILURES:
            self._eject_if_allowed(replicas, replica, now)

    def silent(self, replicas: Sequence[Replica], replica: Replica, now: float, sent_at: float) -> bool:
        """A request is unanswered for longer than a replica may be silent. Returns whether a trial failed by that."""
        if replica.heard_at >= sent_at:
            # it is slow about this one, and not silent
            return False
        if replica.is_ejected:
            if replica.is_trial(sent_at):
                self._eject(replica, now)
                return True
            return False
        if not replica.silences or replica.silent_since < replica.heard_at:
            replica.silences = 0
            replica.silent_since = sent_at
        replica.silences += 1
        if replica.silences >= SILENCES and now - replica.silent_since >= SILENT_S:
            self._eject_if_allowed(replicas, replica, now)
        return False

    def _eject_if_allowed(self, replicas: Sequence[Replica], replica: Replica, now: float) -> None:
        if 2 * (sum(each.is_ejected for each in replicas) + 1) <= len(replicas):
            self._eject(replica, now)

    def _eject(self, replica: Replica, now: float) -> None:
        if not replica.is_ejected and now - replica.restored_at > FORGIVEN_S:
            replica.ejections = 0
        for_s = min(MOST_S, FIRST_S * 2.0**replica.ejections)
        replica.ejections += 1
        replica.failures = replica.silences = 0
        replica.eject(now + for_s * (0.75 + 0.5 * self._rng()))
