"""Waiting: the images that wait for a decoder, interactive before bulk, oldest first. Pure: `now` is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from crema.names import LANES, Lane


class Waiter(Protocol):
    """What is asked of an image that waits."""

    @property
    def lane(self) -> Lane:
        """Which queue."""

    @property
    def work(self) -> float:
        """Predicted (`preprocessor.cost`)."""

    @property
    def is_heavy(self) -> bool:
        """Whether that is far more than most images take."""

    @property
    def is_quick(self) -> bool:
        """Whether it may be decoded together with others."""

    @property
    def deadline(self) -> float | None:
        """From when on nobody waits for it any more."""


W = TypeVar("W", bound=Waiter)


class Waiting(Generic[W]):
    """Two queues, and the predicted work in each (`preprocessor.cost`), that of heavy images apart."""

    def __init__(self) -> None:
        self._interactive: deque[W] = deque()
        self._bulk: deque[W] = deque()
        self._queues: dict[Lane, deque[W]] = {"interactive": self._interactive, "bulk": self._bulk}
        self._work: dict[Lane, float] = dict.fromkeys(LANES, 0.0)
        self._heavy_work: dict[Lane, float] = dict.fromkeys(LANES, 0.0)
        self._heavies: dict[Lane, int] = dict.fromkeys(LANES, 0)

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not (self._interactive or self._bulk)

    def __iter__(self) -> Iterator[W]:
        yield from self._interactive
        yield from self._bulk

    def join(self, one: W) -> None:
        """Wait, behind all of the same lane."""
        self._queues[one.lane].append(one)
        self._count(one, 1)

    def put_back(self, one: W) -> None:
        """Wait again, before all of the same lane."""
        self._queues[one.lane].appendleft(one)
        self._count(one, 1)

    def leave(self, one: W) -> None:
        """Wait no more. Raises ValueError for one that does not wait."""
        self._queues[one.lane].remove(one)
        self._count(one, -1)

    def take(self, now: float, *, heavy: bool = True, beside: W | None = None) -> tuple[W | None, list[W]]:
        """(who is next and still in time, or None; those before it whose deadline has passed). All of them have left.

        Without `heavy` those that are go on waiting. With `beside`, which goes first, None too where the next one is not quick or
        of another lane.
        """
        expired: list[W] = []
        found: W | None = None
        for queue in (self._interactive, self._bulk):
            for one in queue:
                if one.deadline is not None and now >= one.deadline:
                    expired.append(one)
                elif heavy or not one.is_heavy:
                    found = one
                    break
            if found is not None:
                break
        if beside is not None and found is not None and not (found.is_quick and found.lane == beside.lane):
            found = None
        for one in expired:
            self.leave(one)
        if found is not None:
            self.leave(found)
        return found, expired

    def clear(self) -> None:
        """Nobody waits any more."""
        for lane, queue in self._queues.items():
            queue.clear()
            self._work[lane] = self._heavy_work[lane] = 0.0
            self._heavies[lane] = 0

    def images_before(self, lane: Lane) -> int:
        """How many go before a newcomer of `lane`."""
        first = len(self._interactive)
        return first if lane == "interactive" else first + len(self._bulk)

    def heavies_before(self, lane: Lane) -> int:
        """How many of those are heavy."""
        first = self._heavies["interactive"]
        return first if lane == "interactive" else first + self._heavies["bulk"]

    def work_before(self, lane: Lane) -> tuple[float, float]:
        """The work of those: (of light ones, of heavy ones)."""
        light, heavy = self._work["interactive"], self._heavy_work["interactive"]
        if lane == "interactive":
            return light, heavy
        return light + self._work["bulk"], heavy + self._heavy_work["bulk"]

    def _count(self, one: W, sign: int) -> None:
        lane = one.lane
        if one.is_heavy:
            self._heavies[lane] += sign
            # of none the sum is none, whatever its rounding says
            self._heavy_work[lane] = self._heavy_work[lane] + sign * one.work if self._heavies[lane] else 0.0
        elif len(self._queues[lane]) > self._heavies[lane]:
            self._work[lane] += sign * one.work
        else:
            self._work[lane] = 0.0
