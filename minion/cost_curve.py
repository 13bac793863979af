"""CostCurve: what a batch of n items costs, t(n) = a + b·n, learned from every batch.

Pure: it is told sizes and seconds and never looks at a clock. It predicts; it decides nothing about admission.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

# A batch counts this much less for every batch after it: about the last ten decide.
_FORGETTING: Final = 0.9
# What a seeded point weighs, in batches, and all of them together: enough to start from, little enough to be forgotten
# quickly when wrong.
_SEED_WEIGHT: Final = 2.0
_SEED_WEIGHTS: Final = 4.0
# Sizes that vary less than this share of `max_size` say nothing about the slope: it then stays as it was.
_SLOPE_INERTIA: Final = 0.05
# Beside interactive items, bulk fills batches far enough for this share of what full batches get done: short batches are what
# keeps the interactive ones quick, and the last fifth of the throughput is the dearest in time.
_BULK_SHARE: Final = 0.8
# Further than that only while a batch takes hardly longer.
_BULK_STRETCH: Final = 1.05
# What one batch says about how far batches overrun counts this much: about the last thirty decide. At first each says more,
# as in a plain average that begins with so many exact ones.
_SPREAD_WEIGHT: Final = 0.03
_SPREAD_PRIOR: Final = 8
# What is feared of a model of which nothing was seen yet; it is forgotten as what was seen gains weight.
_FEARED_OVERRUN: Final = 0.15
# The batch limit rises only when it would still be right for a curve dearer by this share of the overrun: that is how far off
# the curve may well be, and who is let in for a limit that falls again at once is answered a batch too late.
_DOUBT: Final = 0.75


class CostCurve:
    """t(n) in seconds for a model with batches of up to `max_size` and a promise of `slo_s` seconds."""

    def __init__(self, max_size: int, slo_s: float) -> None:
        self.fixed_s = 0.0
        """a: seconds of any batch."""
        self.per_item_s = 0.0
        """b: seconds of each item."""
        self.is_known = False
        """Whether anything was learned; until then every prediction is 0."""
        self.batch_limit = max_size
        """B: the largest n ≤ max_size with 2·t(n) ≤ slo_s, at least 1, a little less while that is in doubt for a model whose
        times scatter; and never more than memory allows (`allow`)."""
        self.overrun = 0.0
        """By how much of their prediction batches take longer: a standard deviation, from overruns only. 0: exact."""
        self.feared_overrun = _FEARED_OVERRUN
        """The same, and at first what is feared of a model that nobody has seen at work."""
        self.max_size = self._allowed = self._promising = max_size
        self._slo_s = slo_s
        self._bulk_limit: int | None = max_size
        """None: to be worked out when somebody asks."""
        self._overrun_squared = 0.0
        self._feared_squared = _FEARED_OVERRUN**2
        self._compared = 0
        self._inertia = (_SLOPE_INERTIA * max_size) ** 2
        # exponentially weighted sums of 1, n, n², t, n·t
        self._w = self._n = self._nn = self._t = self._nt = 0.0

    def predict(self, n: int) -> float:
        """t(n) in seconds."""
        return self.fixed_s + self.per_item_s * n

    @property
    def bulk_limit(self) -> int:
        """Up to how many items bulk may fill a batch while interactive items are about: enough for four fifths of the
        throughput of batches of `batch_limit`, and as many more as cost hardly any time."""
        if self._bulk_limit is None:
            self._bulk_limit = self._find_bulk_limit()
        return self._bulk_limit

    @property
    def full_item_s(self) -> float:
        """What an item costs in a full batch, in seconds."""
        return self.predict(self.batch_limit) / self.batch_limit

    def allow(self, n: int) -> None:
        """Memory allows batches of up to `n` items from now on."""
        if n != self._allowed:
            self._allowed = n
            self._set_limits()

    def seed(self, points: Iterable[tuple[int, float]]) -> None:
        """Start from measured (n, seconds) points; ignored once something was learned."""
        if self.is_known:
            return
        usable = [(n, s) for n, s in points if n >= 1 and math.isfinite(s) and s >= 0]
        for n, seconds in usable:
            self._add(n, seconds, min(_SEED_WEIGHT, _SEED_WEIGHTS / len(usable)))
        if self._w:
            # two or more sizes give the slope at once; there is no earlier one to hold on to
            self._fit(inertia=0.0)
            self._promising = self._keeping(1.0)
            self._set_limits()

    def learn(self, n: int, seconds: float) -> None:
        """A batch of `n` items took `seconds`, from hand-over to outcomes."""
        if self.is_known:
            self._compare(self.fixed_s + self.per_item_s * n, seconds)
        self._w = self._w * _FORGETTING + 1.0
        self._n = self._n * _FORGETTING + n
        self._nn = self._nn * _FORGETTING + n * n
        self._t = self._t * _FORGETTING + seconds
        self._nt = self._nt * _FORGETTING + n * seconds
        self._fit(self._inertia)

    def _compare(self, predicted_s: float, seconds: float) -> None:
        """How wrong was it? A batch that was quicker than predicted harms nobody and is taken for an exact one."""
        # beyond twice as long it is another curve, which is learned, and not a spread
        over = seconds / predicted_s - 1 if seconds > predicted_s > 0 else 0.0
        if over > 1.0:
            over = 1.0
        # of errors to both sides half were seen: twice their square is the variance
        weight = 1 / (_SPREAD_PRIOR + self._compared)
        if weight < _SPREAD_WEIGHT:
            weight = _SPREAD_WEIGHT
        self._compared += 1
        self._overrun_squared += weight * (2 * over * over - self._overrun_squared)
        self._feared_squared *= 1 - weight
        self.overrun = math.sqrt(self._overrun_squared)
        self.feared_overrun = math.sqrt(self._overrun_squared + self._feared_squared)

    def _add(self, n: int, seconds: float, weight: float) -> None:
        self._w += weight
        self._n += weight * n
        self._nn += weight * n * n
        self._t += weight * seconds
        self._nt += weight * n * seconds

    def _fit(self, inertia: float) -> None:
        """Least squares; the less the sizes vary, the more the slope stays what it was."""
        mean_n, mean_t = self._n / self._w, self._t / self._w
        spread = self._nn / self._w - mean_n * mean_n
        spread = (spread if spread > 0 else 0.0) + inertia
        slope = self.per_item_s
        if spread > 1e-12:
            slope = (self._nt / self._w - mean_n * mean_t + inertia * self.per_item_s) / spread
        if slope < 0:
            slope = 0.0
        fixed = mean_t - slope * mean_n
        if fixed < 0:  # a batch of none would have negative cost: the line goes through the origin instead
            fixed, slope = 0.0, self._nt / self._nn
        self.fixed_s, self.per_item_s, self.is_known = fixed, slope, True
        self._set_limits()

    def _set_limits(self) -> None:
        self.batch_limit = self._limit()
        self._bulk_limit = None

    def _find_bulk_limit(self) -> int:
        """The least n with n/t(n) ≥ 0.8·B/t(B), or the largest that takes no more than a twentieth longer."""
        limit, fixed_s, per_item_s = self.batch_limit, self.fixed_s, self.per_item_s
        not_gained_s = self.predict(limit) - _BULK_SHARE * per_item_s * limit
        if not_gained_s <= 0:
            return limit
        least = _BULK_SHARE * limit * fixed_s / not_gained_s
        growth_s = _BULK_STRETCH * (fixed_s + per_item_s * least) - fixed_s
        if per_item_s * limit <= growth_s:
            return limit
        return min(limit, max(1, math.ceil(least - 1e-9), math.floor(growth_s / per_item_s + 1e-9)))

    def _limit(self) -> int:
        doubtless = self._keeping(1 + _DOUBT * self.overrun)
        if doubtless == self.max_size:
            self._promising = doubtless
        else:
            self._promising = min(max(self._promising, doubtless), self._keeping(1.0))
        return min(self._promising, self._allowed)

    def _keeping(self, factor: float) -> int:
        """The largest batch of which two keep the promise, were everything `factor` times as dear; at least 1."""
        most = self.max_size
        room = self._slo_s / (2 * factor) - self.fixed_s
        if room < self.per_item_s:
            return 1
        if self.per_item_s * most <= room:
            return most
        return max(1, math.floor(room / self.per_item_s + 1e-9))
