"""Splitter: which items of a batch that raised run together next, until the guilty one has run alone.

Pure: it is told how runs ended and says what to run. It runs nothing, answers nobody and never looks into an item.
With one guilty item among n it takes at most 2·log2(n) + 1 further runs; each further guilty item at most as many again.
A batch of which nothing has passed by then is given up: the model is at fault and not an item.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from minion.batcher import Waiting, patient_until

W = TypeVar("W", bound=Waiting)


class Split:
    """What is known of one batch that raised: how many runs it may take until something passes."""

    __slots__ = ("has_passed", "runs", "runs_allowed")

    def __init__(self, n: int) -> None:
        self.runs = 0
        self.runs_allowed = math.floor(2 * math.log2(n) + 1)
        self.has_passed = False


class Part(Generic[W]):
    """Items that run together: a batch as it was formed (`split` is None), or a part of one that raised."""

    __slots__ = ("is_fresh", "is_guilty", "items", "other_half", "split")

    def __init__(self, items: list[W], split: Split | None = None, *, is_fresh: bool = False) -> None:
        self.items = items
        self.split = split
        self.is_fresh = is_fresh
        """Whether it comes straight from the lanes: nothing is known against any of its items."""
        self.other_half: Part[W] | None = None
        self.is_guilty = False
        """Whether it is known without a run that it would raise: the other half did not."""


class Taken(Generic[W]):
    """What to run next (None: nothing is left), and items dropped on the way because their deadline had passed."""

    __slots__ = ("expired", "part")

    def __init__(self) -> None:
        self.part: Part[W] | None = None
        self.expired: list[W] = []


class Splitter(Generic[W]):
    """The parts that wait to run, oldest first. They go ahead of everything that waits in the lanes."""

    def __init__(self) -> None:
        self.parts: deque[Part[W]] = deque()
        """Others only look whether there are any."""

    def __len__(self) -> int:
        """How many items wait."""
        return sum(len(part.items) for part in self.parts) if self.parts else 0

    def raised(self, part: Part[W]) -> list[W]:
        """A run raised. Returns the items whose error that is; the others are kept and run again."""
        split = part.split
        if split is not None and not split.has_passed and split.runs >= split.runs_allowed:
            return part.items + self._drop(lambda other, item: other.split is split)
        if len(part.items) == 1:
            return part.items
        if split is None:
            part.split = Split(len(part.items))
        self.parts.extend(self._halves(part, is_guilty=True))
        return []

    def too_large(self, part: Part[W]) -> list[W]:
        """A run found no memory. Returns the item that has none even alone; else the halves are kept, in their order."""
        if len(part.items) == 1:
            return part.items
        # nothing is known of the halves: each may well pass where both together did not
        self.parts.extendleft(reversed(self._halves(part, is_guilty=False)))
        return []

    def passed(self, part: Part[W]) -> None:
        """A run gave outcomes."""
        if part.split is not None:
            part.split.has_passed = True
        if part.other_half is not None:
            part.other_half.is_guilty = True

    def set_apart(self, items: list[W]) -> None:
        """Let each of these run alone, before all others."""
        self.parts.extendleft(Part([item]) for item in reversed(items))

    def put_back(self, part: Part[W]) -> None:
        """A part did not run after all."""
        if part.split is not None:
            part.split.runs -= 1
        if part.items:
            self.parts.appendleft(part)

    def next(self, now: float, limit: int) -> Taken[W]:
        """The part to run now, of at most `limit` items."""
        taken: Taken[W] = Taken()
        while self.parts:
            part = self.parts.popleft()
            taken.expired += [item for item in part.items if item.deadline <= now]
            part.items = [item for item in part.items if item.deadline > now]
            if not part.items:
                continue
            if len(part.items) > limit or (part.is_guilty and len(part.items) > 1):
                self.parts.extendleft(reversed(self._halves(part, is_guilty=part.is_guilty)))
                continue
            if part.split is not None:
                part.split.runs += 1
            taken.part = part
            break
        return taken

    def leave(self, item: W) -> bool:
        """Take out an item whose caller has gone. False when it does not wait here."""
        for part in self.parts:
            if item in part.items:
                part.items.remove(item)
                return True
        return False

    def drop_expired(self, now: float) -> list[W]:
        """Take out every item whose deadline has passed."""
        return self._drop(lambda part, item: item.deadline <= now)

    def drop_hopeless(self, ready_at: float, patience_s: float) -> list[W]:
        """Take out every item that a worker that is back at `ready_at` cannot help (as `Batcher.drop_hopeless`)."""
        return self._drop(lambda part, item: ready_at >= patient_until(item, patience_s))

    def _halves(self, part: Part[W], *, is_guilty: bool) -> tuple[Part[W], Part[W]]:
        """The smaller half first: when it passes and they are guilty together, the larger one is known without a run."""
        middle = len(part.items) // 2
        first, second = Part(part.items[:middle], part.split), Part(part.items[middle:], part.split)
        if is_guilty:
            first.other_half = second
        return first, second

    def _drop(self, is_dropped: Callable[[Part[W], W], bool]) -> list[W]:
        dropped: list[W] = []
        for part in self.parts:
            gone = [item for item in part.items if is_dropped(part, item)]
            if gone:
                dropped += gone
                part.items = [item for item in part.items if item not in gone]
        self.parts = deque(part for part in self.parts if part.items)
        return dropped
