"""Fair shares: when models are busy, a key that uses more than its share of one gives way to the keys that do not.

What waits, waits in the minions. So this bounds what a key has in flight towards them: while a version has more in
flight than its replicas run at once, the keys that call it have equal shares of its places (one batch running and one
waiting per worker). A key over its share goes by the bulk lane, behind all others' interactive calls, and once it holds what
is left for it, further calls are refused. A key within its share is never refused here and never delayed by such calls.

Pure: `now` is an argument, and what is in flight at the minions. A key that calls alone has everything, but where there are
other keys its burst gives way, too: whoever of them comes next must find a place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from coordinator.merge import Part
from coordinator.peer import Peer
from coordinator.plan import Plan
from coordinator.served import Served
from crema.errors import CremaError

# How quickly a key's mean use follows what it does, and how slowly its habit.
USE_S: Final = 0.5
HABIT_S: Final = 3.0
# For how long a version stays busy: a worker can be idle for a moment between two batches.
BUSY_S: Final = 1.0
# A key that called within this time has a share that is kept for it.
ACTIVE_S: Final = 60.0
# Use scatters: a key is over its share when its mean is so much above it, or what it has in flight now even more.
SLACK: Final = 1.25
BURST: Final = 1.5
BURST_PLACES: Final = 1
# Who is known to use its share may burst more: random calls do.
HABITUAL_BURST: Final = 2.0
HABIT_FACTOR: Final = 3.0
HABIT_PLACES: Final = 4
# A preprocessor has no lanes: from this expected wait on, who uses more than the others waits outside.
PREPROCESS_WAIT_MS: Final = 10.0
# Weight of one observation in the largest batch that is known to run, and in the mean time a call takes.
_WEIGHT: Final = 0.2
_MIN_RETRY_AFTER_MS: Final = 100.0
_MAX_RETRY_AFTER_MS: Final = 5_000.0

Verdict = Literal["within", "gives_way", "refused"]


class Use:
    """What one key has in flight: `held` now, and on the mean over about half a second. Refused calls count as tried."""

    __slots__ = ("_at", "_called_at", "_mean", "habit", "held")

    def __init__(self, now: float) -> None:
        self.held = 0
        self.habit = 0.0
        """The mean of what was held over a few seconds, as of the last change; refused calls do not count."""
        self._mean = 0.0
        self._at = self._called_at = now

    def mean(self, now: float) -> float:
        """The mean at `now`."""
        if now > self._at:
            self._mean += (self.held - self._mean) * -math.expm1((self._at - now) / USE_S)
            self.habit += (self.held - self.habit) * -math.expm1((self._at - now) / HABIT_S)
            self._at = now
        return self._mean

    def change(self, now: float, places: int) -> None:
        """So many more places are held from `now` on; fewer, when negative."""
        self.mean(now)
        self.held += places
        self._called_at = now

    def tried(self, now: float, place_seconds: float) -> None:
        """A call was refused that would have held a place for that long."""
        self._mean = self.mean(now) + place_seconds / USE_S
        self._called_at = now

    def is_idle(self, now: float) -> bool:
        """Whether nothing came for so long that no share is kept."""
        return self.held == 0 and now - self._called_at > ACTIVE_S


class Pool:
    """The calls to one version in one lane, by key. `max_batch` is the most that one worker takes at once."""

    def __init__(self, max_batch: int, in_flight: int = 1) -> None:
        self.held = 0
        """Places held by all keys, from admission to answer."""
        self.uses: dict[str, Use] = {}
        self._max_batch = max_batch
        self._batch = float(max_batch)
        self._batches = 1 + in_flight
        self._call_s = 0.1
        self._busy_until = -math.inf
        self._on_the_way = 0.0
        self._looked_at = -math.inf
        self._forgot_at = -math.inf

    def judge(
        self, now: float, key: str, at_minions: int, workers: float, is_shared: bool = False
    ) -> Verdict:
        """How a call of `key` is to be treated, with `at_minions` in flight between here and the version's `workers`;
        `is_shared` says that there are other keys, whether they call now or not."""
        running = self._batch * workers
        self._look(now, max(0, self.held - at_minions))
        # what came in one moment is not there yet, and will be: more is on its way then than there is on the mean
        if max(at_minions, self.held - self._on_the_way) >= running:
            self._busy_until = now + BUSY_S
        elif now >= self._busy_until:
            return "within"
        use = self.uses.get(key)
        if use is None:
            return "within"
        # what is on its way to the minions and back takes places too, but none of theirs
        places = self._batches * running + self._on_the_way
        if len(self.uses) < 2:
            return "gives_way" if is_shared and use.held > BURST * places + BURST_PLACES else "within"
        share, is_short = self._share(now, places)
        if is_short and use.mean(now) > SLACK * share:
            return "refused" if use.held >= share else "gives_way"
        # a mean takes a second to show what has begun just now
        equal = places / len(self.uses)
        burst = max(
            BURST * equal + BURST_PLACES,
            min(HABITUAL_BURST * equal + BURST_PLACES, HABIT_FACTOR * use.habit + HABIT_PLACES),
        )
        return "gives_way" if use.held > burst else "within"

    def is_above_mean(self, now: float, key: str) -> bool:
        """Whether `key` uses more than the others on the mean."""
        use = self.uses.get(key)
        if use is None or len(self.uses) < 2:
            return False
        mean = sum(each.mean(now) for each in self.uses.values()) / len(self.uses)
        return use.mean(now) > SLACK * mean + 1 or use.held > BURST * SLACK * mean + BURST_PLACES

    def enter(self, now: float, key: str, places: int) -> None:
        """`key` takes places."""
        use = self.uses.get(key)
        if use is None:
            self._forget(now)
            use = self.uses[key] = Use(now)
        use.change(now, places)
        self.held += places

    def leave(self, now: float, key: str, places: int, took_s: float, was_refused: bool) -> None:
        """`key` gives them back after `took_s` seconds; `was_refused` if a minion had no place for it."""
        use = self.uses[key]
        use.change(now, -places)
        self.held -= places
        if was_refused:
            self.refused(now, key, places, took_s)
        else:
            self._call_s += _WEIGHT * (took_s - self._call_s)
        self._forget(now)

    def refused(self, now: float, key: str, places: int, took_s: float = 0.0) -> None:
        """A call of `key` was refused: what it would have held had it run still shows how much the key asks for."""
        if key in self.uses:
            self.uses[key].tried(now, places * max(0.0, self._call_s - took_s))

    def learn(self, queue_ms: float, inference_ms: float, batch_size: int) -> None:
        """An answer came. An item that was left out of a batch shows how large batches become."""
        if batch_size > self._batch:
            self._batch = min(float(batch_size), self._max_batch)
        elif queue_ms > 1.1 * inference_ms + 2:
            self._batch += _WEIGHT * (batch_size - self._batch)

    @property
    def retry_after_ms(self) -> float:
        """When places that are held now should be free."""
        return min(_MAX_RETRY_AFTER_MS, max(_MIN_RETRY_AFTER_MS, self._call_s * 1000))

    def _share(self, now: float, places: float) -> tuple[float, bool]:
        """(what each key may have so that all find room, whether they want more than there is).

        Who wants less than an equal part leaves the rest to the others.
        """
        wanted = sorted(use.mean(now) for use in self.uses.values())
        left = places
        for index, each in enumerate(wanted):
            part = left / (len(wanted) - index)
            if each > part:
                return max(1.0, part), True
            left -= each
        return max(1.0, places / len(wanted)), False

    def _look(self, now: float, on_the_way: int) -> None:
        """Follow the mean of what is held and not at the minions."""
        self._on_the_way += (on_the_way - self._on_the_way) * -math.expm1((self._looked_at - now) / BUSY_S)
        self._looked_at = now

    def _forget(self, now: float) -> None:
        if now - self._forgot_at > ACTIVE_S / 10:
            self._forgot_at = now
            for key in [key for key, use in self.uses.items() if use.is_idle(now)]:
                del self.uses[key]


class Admission:
    """The places of one call, until it ends."""

    __slots__ = ("key", "places", "pools")

    def __init__(self, key: str, places: int, pools: Sequence[Pool]) -> None:
        self.key = key
        self.places = places
        self.pools = pools


class FairShares:
    """The pools of all versions. `processes` coordinators share the minions, and so each has that part of their places;
    `is_shared` says whether there are keys of several names."""

    def __init__(self, processes: int = 1, is_shared: Callable[[], bool] = lambda: False) -> None:
        self._processes = processes
        self._is_shared = is_shared
        self._pools: dict[tuple[str, str, str], Pool] = {}
        self._all = Pool(1)

    def check(self, now: float, key: str, plan: Plan, preprocessors: Iterable[Peer]) -> Plan:
        """The plan as `key` gets it now: by the bulk lane when it has to give way. Raises CremaError `overloaded`."""
        is_shared = self._is_shared()
        verdicts = [
            self._pool(served, plan.lane).judge(
                now, key, _at(served.peers.all), self._workers(served), is_shared
            )
            for served in _versions(plan)
        ]
        waits_ms = [peer.replica.predicted_wait_ms(now) for peer in preprocessors]
        if "refused" in verdicts or (
            waits_ms and min(waits_ms) > PREPROCESS_WAIT_MS and self._all.is_above_mean(now, key)
        ):
            self._refuse(now, key, plan)
        if plan.lane != "bulk" and "gives_way" in verdicts:
            return replace(plan, lane="bulk")
        return plan

    def enter(self, now: float, key: str, plan: Plan, places: int) -> Admission:
        """Take the places of a call that was checked with this plan. Who enters must `leave`, once."""
        pools = [self._all, *(self._pool(served, plan.lane) for served in _versions(plan))]
        for pool in pools:
            pool.enter(now, key, places)
        return Admission(key, places, pools)

    def leave(self, now: float, admission: Admission, took_s: float, parts: Sequence[Part]) -> None:
        """The call has ended; `parts` is what the minions said."""
        was_refused = any(part.error is not None and part.error.code == "overloaded" for part in parts)
        for pool in admission.pools:
            pool.leave(now, admission.key, admission.places, took_s, was_refused)
        for part in parts:
            timing = part.timing
            if timing and "batch_size" in timing:
                for lane in ("interactive", "bulk"):
                    pool_of = self._pools.get((part.model, part.version, lane))
                    if pool_of is not None:
                        pool_of.learn(timing["queue_ms"], timing["inference_ms"], int(timing["batch_size"]))

    def _refuse(self, now: float, key: str, plan: Plan) -> None:
        pools = [self._all, *(self._pool(served, plan.lane) for served in _versions(plan))]
        for pool in pools:
            pool.refused(now, key, 1)
        after_ms = max(pool.retry_after_ms for pool in pools)
        raise CremaError(
            "overloaded",
            f"the models are busy, and the key {key} has its share of them in flight; come back in {after_ms:.0f} ms",
            retry_after_ms=after_ms,
        )

    def _pool(self, served: Served, lane: str) -> Pool:
        name = (served.model, served.version_text, lane)
        pool = self._pools.get(name)
        if pool is None:
            batching = served.card.get("batching") or {}
            pool = self._pools[name] = Pool(batching.get("max_size", 1), batching.get("in_flight", 1))
        return pool

    def _workers(self, served: Served) -> float:
        workers: int = served.card.get("workers", 1)
        return max(1, len(served.open_peers)) * workers / self._processes


def _versions(plan: Plan) -> list[Served]:
    """The versions of a plan, each once."""
    return list({id(planned.served): planned.served for planned in plan.models}.values())


def _at(peers: Iterable[Peer]) -> int:
    return sum(peer.replica.outstanding for peer in peers)
