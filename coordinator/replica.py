"""Replica: what is known of one replica: its load, how quickly it answers, and whether it may be sent to. Pure data.

Times are seconds of one monotonic clock, given as arguments. Who is ejected is decided in `ejection`.
"""

from __future__ import annotations

import math
from typing import Any, Final

# Weight of one answer in a replica's mean times.
_WEIGHT: Final = 0.2
_UNKNOWN_ITEM_MS: Final = 1.0
# 0 stands for unknown
_LEAST_SERVICE_MS: Final = 0.001
_OTHERS_WEIGHT: Final = 0.05
_MOST_OTHERS: Final = 16.0
# A replica that is new or comes back begins with this share of an equal's choices and has all of them after so long.
SLOW_START_S: Final = 10.0
SLOW_START_SHARE: Final = 0.1
# How long may pass at least before a second try elsewhere, and at how many times the predicted finish.
LEAST_PATIENCE_S: Final = 0.25
PATIENCE_FACTOR: Final = 3.0


class Replica:
    """One replica. The owner says `opened` and `closed` of its connection, and per request `sent`, then exactly one of
    `answered`, `refused` and `given_up`.
    """

    __slots__ = (
        "_item_ms",
        "_others",
        "_reported_at",
        "_service_ms",
        "_trial_at",
        "_unreported",
        "_wait_ms",
        "address",
        "ejected_until",
        "ejections",
        "failed_at",
        "failures",
        "heard_at",
        "is_ejected",
        "is_open",
        "outstanding",
        "restored_at",
        "samples",
        "silences",
        "silent_since",
        "skip_until",
        "slowness",
        "unready_at",
        "usable_at",
        "warm_at",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_open = False
        self.outstanding = 0
        self.skip_until = -math.inf
        self.unready_at = math.inf
        """Since when it is skipped because it was not ready (not: because it was full); infinite while it is not."""
        self.usable_at = math.inf
        """From when on it may be chosen: infinite while it is not connected, or while its one trial runs."""
        self.warm_at = -math.inf
        """When its slow start is over."""
        self._wait_ms = 0.0
        self._reported_at = 0.0
        # sent since the last report: the report does not count them yet
        self._unreported = 0
        self._item_ms = _UNKNOWN_ITEM_MS
        # how many times ours it holds: other coordinators send while we do
        self._others = 1.0
        # from sending to the answer without the time in the queue; 0: unknown
        self._service_ms = 0.0
        self.heard_at = -math.inf
        # what `ejection` keeps here
        self.is_ejected = False
        self.ejected_until = -math.inf
        self.ejections = 0
        self.restored_at = -math.inf
        self._trial_at = math.inf
        self.slowness = 0.0
        self.samples = 0
        self.failures = 0
        self.failed_at = -math.inf
        self.silences = 0
        self.silent_since = math.inf

    # -- its connection --------------------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """It is connected: it starts slowly."""
        self.is_open = True
        self.warm_at = now + SLOW_START_S
        self._wait_ms = 0.0
        self._update()

    def closed(self) -> None:
        """It is not connected any more."""
        self.is_open = False
        self._update()

    # -- requests --------------------------------------------------------------------------------------------------

    def sent(self, now: float) -> None:
        """A request went to this replica."""
        self.outstanding += 1
        self._unreported += 1
        if self.is_ejected and self.ejected_until <= now < self._trial_at:
            self._trial_at = now
            self.usable_at = math.inf

    def answered(
        self, now: float, load: Any, item_ms: float | None = None, service_ms: float | None = None
    ) -> None:
        """It was answered, with the replica's `load` map, and where known the time its model took per item and the
        time from sending to here without the wait in its queue."""
        self.outstanding -= 1
        self.heard_at = now
        self.failures = 0
        self._report(now, load)
        if item_ms is not None and 0 <= item_ms < 60_000:
            self._item_ms += _WEIGHT * (item_ms - self._item_ms)
        if service_ms is not None:
            before = self._service_ms
            if service_ms < _LEAST_SERVICE_MS:
                service_ms = _LEAST_SERVICE_MS
            self._service_ms = before + _WEIGHT * (service_ms - before) if before else service_ms

    def refused(self, now: float, load: Any, retry_after_ms: float | None, *, is_ready: bool = True) -> None:
        """It was refused; until `retry_after_ms` from now another replica is preferred, or, where it only was not ready,
        until it has answered a later request."""
        self.answered(now, load)
        if retry_after_ms is not None:
            self.skip_until = max(self.skip_until, now + retry_after_ms / 1000)
            self.unready_at = math.inf if is_ready else now
        self.end_trial()

    def was_ready(self) -> None:
        """It answered a request that was sent after `unready_at`: its own guess of when it would be ready was too late."""
        self.skip_until = self.unready_at
        self.unready_at = math.inf
        self._update()

    def given_up(self, sent_at: float) -> None:
        """The request that was sent then was cancelled, or its connection was lost."""
        self.outstanding -= 1
        self._unreported = min(self._unreported, self.outstanding)
        if sent_at >= self._trial_at:
            self.end_trial()

    # -- what a choice needs to know -------------------------------------------------------------------------------

    def predicted_wait_ms(self, now: float) -> float:
        """How long a request sent now would wait: the last report, run down by the time since, plus what we sent since."""
        reported = self._wait_ms - (now - self._reported_at) * 1000
        return (reported if reported > 0 else 0.0) + self._unreported * self._item_ms * self._others

    def weight(self, now: float) -> float:
        """Its share of an equal's choices: less than 1 while it starts slowly."""
        left_s = self.warm_at - now
        return (
            1.0 if left_s <= 0 else max(SLOW_START_SHARE, 1 - (1 - SLOW_START_SHARE) * left_s / SLOW_START_S)
        )

    def patience_s(self, now: float, unknown_ms: float) -> float:
        """For how long it may be silent about a request sent now; `unknown_ms` stands for an unknown finish."""
        if not self._service_ms:
            return max(LEAST_PATIENCE_S, unknown_ms / 1000)
        finish_ms = self.predicted_wait_ms(now) + self._service_ms
        return max(LEAST_PATIENCE_S, PATIENCE_FACTOR * finish_ms / 1000)

    # -- ejection --------------------------------------------------------------------------------------------------

    def eject(self, until: float) -> None:
        """Not to be chosen before `until`, and then for one request at a time until it is restored."""
        self.is_ejected = True
        self.ejected_until = until
        self.end_trial()

    def restore(self, now: float) -> None:
        """It behaves again: it starts slowly."""
        self.is_ejected = False
        self.warm_at = now + SLOW_START_S
        self.restored_at = now
        self.slowness, self.samples = 0.0, 0
        self.end_trial()

    def is_trial(self, sent_at: float) -> bool:
        """Whether the request that was sent then is its trial."""
        return self.is_ejected and sent_at >= self._trial_at

    def end_trial(self) -> None:
        """Its trial has come to an end: while it is ejected, another one may begin."""
        self._trial_at = math.inf
        self._update()

    # -- small parts -----------------------------------------------------------------------------------------------

    def _update(self) -> None:
        if not self.is_open or self._trial_at < math.inf:
            self.usable_at = math.inf
        elif self.is_ejected:
            self.usable_at = max(self.ejected_until, self.skip_until)
        else:
            self.usable_at = self.skip_until

    def _report(self, now: float, load: Any) -> None:
        """What an answer says of the replica's load."""
        wait_ms = load.get("expected_wait_ms") if type(load) is dict else None
        if (type(wait_ms) is float or type(wait_ms) is int) and 0 <= wait_ms < 1e9:
            self._wait_ms = wait_ms
            self._reported_at = now
            self._unreported = 0
            pending = load.get("pending")
            outstanding = self.outstanding
            if type(pending) is int and outstanding > 0:
                times = 1.0
                if pending > outstanding:
                    times = pending / outstanding if pending < _MOST_OTHERS * outstanding else _MOST_OTHERS
                self._others += _OTHERS_WEIGHT * (times - self._others)
        elif self._unreported > self.outstanding:
            self._unreported = self.outstanding
