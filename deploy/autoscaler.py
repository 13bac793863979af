"""Autoscaler: how many replicas a version wants, and why. Pure: time and what was seen come as arguments.

Up, when the gates of the ready replicas refuse interactive items (429) in two control periods in a row: as many as would
have accepted what was offered, which is `ready x offered / accepted`. Down, when that many would be busy for less than
the target, and nothing in the cooldown needed more. 429s of quotas, of draining and of bulk are not in the figures.

There is no hidden state: each period has its own `need`, and the wanted number is the largest need of the cooldown. So
the same rule can be a recording rule of Prometheus (deploy/prometheus/rules.yml); a test holds the two together. The
preprocessor tier scales by the same function.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Of the rule in Prometheus; on one machine, where replicas start in seconds, the cluster file has shorter ones.
PERIOD_S: Final = 15.0
COOLDOWN_S: Final = 300.0
# A share of refused items up to this is no reason for one more replica, and what a new number of replicas may leave.
TOLERATED_SHARE: Final = 0.01
# Replicas that are not asked to do more than this are one too many when the others could do their work below it.
TARGET_BUSY: Final = 0.7
# Up to at most so many more at once, or to so many times as many, whichever is more (a step of the load to three times
# is followed at once); down to half.
STEP: Final = 4
STEP_TIMES: Final = 3
# An estimate is wrong by a tenth easily: as long as replicas are starting, so much of them is left to show itself.
STARTING_SLACK: Final = 0.1
# What takes longer than half of the cooldown to start is kept for longer: the cooldown is doubled, and doubled again.
SLOW_BOOT_SHARE: Final = 0.5
COOLDOWNS: Final = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Sample:
    """One control period of one version, over all its replicas."""

    at: float
    """When it ended, in seconds of the clock that `now` is of."""
    accepted: float
    """Interactive items that gates admitted in it."""
    refused: float
    """Interactive items that gates refused in it as `full` or `deadline`; never quota, draining, bulk or another 4xx."""
    busy_ratio: float
    """The share of their capacity that ready replicas used at its end, 0 to 1, the mean over them."""
    ready: int
    """Replicas that were ready at its end."""
    starting: int = 0
    """Replicas that were starting at its end."""

    @property
    def offered(self) -> float:
        """Interactive items that wanted in."""
        return self.accepted + self.refused

    @property
    def is_refusing(self) -> bool:
        """Whether more than the tolerated share was refused."""
        return self.refused > TOLERATED_SHARE * self.offered


@dataclass(frozen=True, slots=True)
class Limits:
    """How many there may be: `replicas: {min, max}` of the cluster file."""

    min: int
    max: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas are wanted, and why, in a short sentence for people."""

    wanted: int
    why: str
    need: int
    """What the newest period alone needs, before limits and cooldown."""


def need_of(sample: Sample, before: Sample | None) -> int:
    """How many replicas the period of `sample` needs, by itself; `before` is the period before it, where there is one."""
    if before is not None and sample.is_refusing and before.is_refusing:
        # one that became ready within the period has not accepted its share yet: not counting it errs to the low side
        demand = _demand(sample, before)
        current = sample.ready + sample.starting
        enough = math.ceil((1 - TOLERATED_SHARE) * demand - STARTING_SLACK * sample.starting)
        return max(sample.ready, min(enough, max(current + STEP, STEP_TIMES * current)))
    enough = math.ceil(sample.ready * min(1.0, sample.busy_ratio) / TARGET_BUSY)
    return max(sample.ready // 2, min(sample.ready, enough))


def decide(
    now: float,
    samples: Sequence[Sample],
    limits: Limits,
    boot_s: float = 0.0,
    cooldown_s: float = COOLDOWN_S,
) -> Decision:
    """The decision at `now` by the recent control periods, oldest first. Older ones than `hold_s` says are not looked at,
    but for one more, which the oldest is compared with.

    `boot_s` is how long a replica takes from its start to being ready.
    """
    if not samples:
        return Decision(limits.min, "nothing is known yet: min", limits.min)
    since = now - hold_s(boot_s, cooldown_s)
    highest, at = 0, now
    for index, sample in enumerate(samples):
        if sample.at > since:
            need = need_of(sample, samples[index - 1] if index else None)
            if need >= highest:
                highest, at = need, sample.at
    newest = samples[-1]
    before = samples[-2] if len(samples) > 1 else None
    need = need_of(newest, before)
    wanted = min(max(highest, limits.min), limits.max)
    return Decision(wanted, _why(now, newest, before, need, highest, at, limits), need)


def hold_s(boot_s: float, cooldown_s: float = COOLDOWN_S) -> float:
    """For how many seconds a need is remembered: the cooldown, doubled for what takes long to bring back."""
    fitting = (times * cooldown_s for times in COOLDOWNS if boot_s <= SLOW_BOOT_SHARE * times * cooldown_s)
    return next(fitting, COOLDOWNS[-1] * cooldown_s)


class Autoscaler:
    """`decide` with its recent window: give it each control period's sample once, in order."""

    def __init__(self, limits: Limits, cooldown_s: float = COOLDOWN_S) -> None:
        self.limits = limits
        self._cooldown_s = cooldown_s
        self._samples: deque[Sample] = deque()

    def decide(self, now: float, sample: Sample, boot_s: float = 0.0) -> Decision:
        """Take the sample of the period that ended, and decide."""
        samples = self._samples
        samples.append(sample)
        since = now - COOLDOWNS[-1] * self._cooldown_s
        while len(samples) > 2 and samples[1].at <= since:
            samples.popleft()
        return decide(now, tuple(samples), self.limits, boot_s, self._cooldown_s)


def _demand(sample: Sample, before: Sample) -> float:
    """How many replicas' worth of work was offered, by what the ready ones accepted."""
    return min(sample.ready, before.ready) * sample.offered / max(1.0, sample.accepted)


def _why(
    now: float, newest: Sample, before: Sample | None, need: int, highest: int, at: float, limits: Limits
) -> str:
    ready, busy = newest.ready, f"{100 * min(1.0, newest.busy_ratio):.0f} %"
    many = "replica" if ready == 1 else "replicas"
    if not ready:
        return "no replica is ready"
    if highest > limits.max and need == highest:
        return f"429s: {highest} are needed, but max is {limits.max}"
    if need > ready and before is not None:
        share = 100 * newest.refused / newest.offered
        return f"429s: {ready} {many} refused {share:.0f} % of what was offered"
    if max(need, limits.min) < min(highest, limits.max):
        return f"cooling down: {need} would do, {highest} were needed {now - at:.0f} s ago"
    if newest.is_refusing:
        return f"429s in one period: {ready} {many}, waiting whether they last"
    if need < ready and limits.min < ready:
        return f"{ready} {many} busy {busy}: {max(need, limits.min)} would do"
    if need < limits.min:
        return f"busy {busy}: min"
    return f"steady: no 429s, busy {busy}"
