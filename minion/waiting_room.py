"""WaitingRoom: everything that waits for a worker, in one order: the parts of batches that raised, then the lanes.

It joins the pure objects batcher, splitter and suspects: suspects run alone, and what is quarantined never runs.
"""

from __future__ import annotations

from collections.abc import Callable

from crema.names import Lane
from minion.batcher import Batcher
from minion.request import Item
from minion.splitter import Part, Splitter
from minion.suspects import Suspects, fingerprint


class Next:
    """What to run now (None: nothing), and who is answered instead of running."""

    __slots__ = ("expired", "part", "quarantined")

    def __init__(self) -> None:
        self.part: Part[Item] | None = None
        self.expired: list[Item] = []
        self.quarantined: list[Item] = []


class WaitingRoom:
    """What waits, as one thing. `now` is an argument everywhere."""

    def __init__(self, batcher: Batcher[Item]) -> None:
        self.suspects = Suspects()
        self._batcher = batcher
        self._splitter: Splitter[Item] = Splitter()

    def __len__(self) -> int:
        batcher, splitter = self._batcher, self._splitter
        waiting = len(batcher.interactive) + len(batcher.bulk)
        return waiting + len(splitter) if splitter.parts else waiting

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        batcher = self._batcher
        return not (batcher.interactive or batcher.bulk or self._splitter.parts)

    def ahead(self, lane: Lane) -> int:
        """How many items go before one that would now join `lane`."""
        return self.queue(lane)[0]

    def queue(self, lane: Lane) -> tuple[int, int]:
        """How many items go before one that would now join `lane`, and how many wait in all."""
        batcher, splitter = self._batcher, self._splitter
        interactive = len(batcher.interactive)
        if splitter.parts:
            interactive += len(splitter)
        waiting = interactive + len(batcher.bulk)
        return (interactive if lane == "interactive" else waiting), waiting

    @property
    def has_bulk(self) -> bool:
        """Whether any of those that wait in the lanes are bulk."""
        return bool(self._batcher.bulk)

    def join(self, items: list[Item], now: Callable[[], float], deaths: int = 0) -> list[Item]:
        """Let items wait, but those that are quarantined, which are returned. `now` is asked only while there are any.

        `deaths`: so many workers died elsewhere while these ran.
        """
        quarantined: list[Item] = []
        if deaths:
            self.suspects.accused([_print(item) for item in items], deaths, now())
        if self.suspects.records:
            at = now()
            quarantined = [item for item in items if self.suspects.is_quarantined(_print(item), at)]
            items = [item for item in items if item not in quarantined]
        for item in items:
            self._batcher.join(item)
        return quarantined

    def put_back(self, part: Part[Item]) -> None:
        """A part that was taken and did not run: it goes first."""
        self._splitter.put_back(part)

    def leave(self, item: Item) -> bool:
        """Take out an item whose caller has gone. False when it does not wait (any more)."""
        return self._batcher.leave(item) or self._splitter.leave(item)

    @property
    def has_parts(self) -> bool:
        """Whether something waits apart from the lanes: parts of batches that raised, suspects, what a death left over."""
        return bool(self._splitter.parts)

    def due_at(self, now: float, limit: int) -> float | None:
        """When a free worker should be given something: `now`, later, or None when nothing waits."""
        return now if self._splitter.parts else self._batcher.due_at(now, limit)

    def is_full(self, now: float, limit: int, bulk_limit: int) -> bool:
        """Whether what waits in the lanes fills a batch (see `Batcher.is_full`)."""
        return self._batcher.is_full(now, limit, bulk_limit)

    def next(self, now: float, limit: int, bulk_limit: int | None = None, *, is_early: bool = False) -> Next:
        """Take out what a free worker should run now, or (`is_early`) what may lie ready at one that is not free yet:
        never what waits apart. The limits are those of `Batcher.form`."""
        found = Next()
        while True:
            part: Part[Item] | None = None
            if not is_early and self._splitter.parts:
                taken = self._splitter.next(now, limit)
                found.expired += taken.expired
                part = taken.part
            if part is None:
                formed = self._batcher.form(now, limit, bulk_limit)
                found.expired += formed.expired
                if not formed.batch:
                    return found
                part = Part(formed.batch, is_fresh=True)
            if self.suspects.records:
                part.items = self._cleared(part.items, now, found, is_early)
            if part.items:
                found.part = part
                return found

    def _cleared(self, items: list[Item], now: float, found: Next, is_early: bool) -> list[Item]:
        """Those that may run together. Suspects among others are put where they run alone, next."""
        cleared: list[Item] = []
        apart: list[Item] = []
        for item in items:
            if self.suspects.is_quarantined(_print(item), now):
                found.quarantined.append(item)
            elif (is_early or len(items) > 1) and self.suspects.is_suspect(_print(item), now):
                apart.append(item)
            else:
                cleared.append(item)
        self._splitter.set_apart(apart)
        return cleared

    # -- how runs ended ------------------------------------------------------------------------------------------------

    def passed(self, part: Part[Item]) -> None:
        """A run gave outcomes."""
        if part.split is not None or part.other_half is not None:
            self._splitter.passed(part)
        if self.suspects.records and len(part.items) == 1:
            self.suspects.passed(_print(part.items[0]))

    def raised(self, part: Part[Item], now: float) -> list[Item]:
        """A run raised. Returns the items whose error that is; the others run again."""
        is_split = part.split is not None
        failed = self._splitter.raised(part)
        if is_split and len(failed) == 1:
            # it will come again: then it runs alone at once, and no mates wait for another split
            self.suspects.raised(_print(failed[0]), now)
        return failed

    def too_large(self, part: Part[Item]) -> list[Item]:
        """A run found no memory. Returns the item that has none even alone; the others run again in smaller batches."""
        return self._splitter.too_large(part)

    def died(self, items: list[Item], now: float) -> list[Item]:
        """A worker died while these ran. Returns those that must not run again, anywhere."""
        self.suspects.died([_print(item) for item in items], now)
        return [item for item in items if self.suspects.is_quarantined(_print(item), now)]

    # -- what does not run ---------------------------------------------------------------------------------------------

    def drop_expired(self, now: float) -> list[Item]:
        """Take out every item whose deadline has passed, for when nothing is about to run."""
        return self._splitter.drop_expired(now) + self._batcher.drop_expired(now)

    def drop_hopeless(self, ready_at: float, patience_s: float) -> list[Item]:
        """Take out every item that a worker that is back at `ready_at` cannot help (see `Batcher.drop_hopeless`)."""
        return self._splitter.drop_hopeless(ready_at, patience_s) + self._batcher.drop_hopeless(
            ready_at, patience_s
        )


def _print(item: Item) -> bytes:
    if item.fingerprint is None:
        item.fingerprint = fingerprint(item.pixels, item.params)
    return item.fingerprint
