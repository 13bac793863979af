"""Batcher: what waits, in two lanes, and which of it goes next.

Pure: what waits is plain data and `now` is an argument. It binds late (a free worker gets what waits now), drops what
expired, and never shrinks a batch to save its oldest item. It runs nothing and answers nobody.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from crema.names import LANES, Lane

# For how long after an interactive item bulk keeps batches short for the next one, in seconds.
_MEMORY_S: Final = 10.0


class Waiting:
    """An item that waits: `key` is its shape and dtype, `deadline` (infinite without one) and `queued_at` are seconds.

    Whoever hands it in subclasses it to carry what belongs to the item.
    """

    __slots__ = ("deadline", "key", "lane", "queued_at")

    def __init__(self, key: object, lane: Lane, deadline: float, queued_at: float) -> None:
        self.key = key
        self.lane: Lane = lane
        self.deadline = deadline
        self.queued_at = queued_at


W = TypeVar("W", bound=Waiting)


class Formed(Generic[W]):
    """A batch (all of one key, maybe empty) and the items that were dropped because their deadline had passed."""

    __slots__ = ("batch", "expired")

    def __init__(self) -> None:
        self.batch: list[W] = []
        self.expired: list[W] = []


class Batcher(Generic[W]):
    """The lanes: interactive before bulk, each first come, first served."""

    def __init__(self, max_wait_s: float = 0.0) -> None:
        self.max_wait_s = max_wait_s
        # ordered dicts as queues: an item leaves from anywhere in constant time when its caller does
        self._lanes: dict[Lane, OrderedDict[W, None]] = {lane: OrderedDict() for lane in LANES}
        # each by itself: others only look whether and how many wait there
        self.interactive, self.bulk = self._lanes["interactive"], self._lanes["bulk"]
        self._is_short_until = -math.inf
        """Until when bulk keeps batches short."""

    def __len__(self) -> int:
        """How many items wait."""
        return len(self.interactive) + len(self.bulk)

    def ahead(self, lane: Lane) -> int:
        """How many items go before one that would now join `lane`."""
        interactive = len(self.interactive)
        return interactive if lane == "interactive" else interactive + len(self.bulk)

    def join(self, item: W) -> None:
        """Put an item at the end of its lane."""
        if item.lane == "interactive":
            self._is_short_until = item.queued_at + _MEMORY_S
        self._lanes[item.lane][item] = None

    def put_back(self, items: list[W]) -> None:
        """Items of a batch that never ran go before all others of their lanes, in the order they had."""
        for item in reversed(items):
            lane = self._lanes[item.lane]
            lane[item] = None
            lane.move_to_end(item, last=False)

    def leave(self, item: W) -> bool:
        """Take an item out whose caller has gone. False when it does not wait (any more)."""
        lane = self._lanes[item.lane]
        if item not in lane:
            return False
        del lane[item]
        return True

    def due_at(self, now: float, limit: int) -> float | None:
        """When a free worker should be given a batch: `now`, or later only while `max_wait_s` runs; None: nothing waits."""
        count = len(self)
        if not count:
            return None
        if self.max_wait_s <= 0 or count >= limit:
            return now
        oldest = min(next(iter(lane)).queued_at for lane in self._lanes.values() if lane)
        return max(now, oldest + self.max_wait_s)

    def is_full(self, now: float, limit: int, bulk_limit: int) -> bool:
        """Whether what waits fills a batch, so that nothing that comes later could join it: shapes aside."""
        interactive, bulk = len(self.interactive), len(self.bulk)
        return interactive >= limit or (
            interactive + bulk >= limit and (bulk_limit >= limit or now >= self._is_short_until)
        )

    def form(self, now: float, limit: int, bulk_limit: int | None = None) -> Formed[W]:
        """Take up to `limit` items of the first one's key out of the lanes; expired ones met on the way are dropped.

        Bulk fills it up to `bulk_limit` only (default: `limit`) while interactive items have come within the last seconds:
        the next one has to wait until this batch ends.
        """
        formed: Formed[W] = Formed()
        batch, expired = formed.batch, formed.expired
        key: object = None
        for name, lane in self._lanes.items():
            if not lane:
                continue
            if name == "bulk" and bulk_limit is not None and now < self._is_short_until:
                limit = min(limit, bulk_limit)
            passed_over: list[W] = []
            while lane and len(batch) < limit:
                item, _ = lane.popitem(last=False)
                if item.deadline <= now:
                    expired.append(item)
                elif not batch or item.key == key:
                    key = item.key
                    batch.append(item)
                else:
                    passed_over.append(item)
            for item in reversed(passed_over):
                lane[item] = None
                lane.move_to_end(item, last=False)
        return formed

    def drop_expired(self, now: float) -> list[W]:
        """Take out every item whose deadline has passed, for when no batch is about to be formed."""
        return self._drop(lambda item: item.deadline <= now)

    def drop_hopeless(self, ready_at: float, patience_s: float) -> list[W]:
        """Take out every item that cannot be helped by a worker that is back at `ready_at` (see `patient_until`)."""
        return self._drop(lambda item: ready_at >= patient_until(item, patience_s))

    def _drop(self, is_dropped: Callable[[W], bool]) -> list[W]:
        dropped = [item for lane in self._lanes.values() for item in lane if is_dropped(item)]
        for item in dropped:
            del self._lanes[item.lane][item]
        return dropped


def patient_until(item: Waiting, patience_s: float) -> float:
    """How long an item waits for a worker: until its deadline or, without one, for `patience_s` from when it was queued."""
    return item.deadline if item.deadline < math.inf else item.queued_at + patience_s
