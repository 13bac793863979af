"""Cores: what all processes of one machine share in the simulation, and Thread: one of them that wants some of it.

First come, first served, in slices: whoever has a core and still something to do keeps it until its slice is used up, as
Linux does between processes that are equally nice. Not simulated: caches, and cores that are slower together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from loadtest.simulator.agenda import Action, Agenda

# What Linux lets one run while others wait: it looks at its clock's next tick, 250 times a second.
SLICE_S: Final = 0.004


@dataclass(frozen=True, slots=True)
class Work:
    """CPU seconds that a process needs for a message, and more when it has to wake up for it."""

    message_s: float = 0.0
    wake_s: float = 0.0


class Cores:
    """`count` cores of one machine."""

    __slots__ = ("_free", "_waiting")

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Thread] = deque()

    @property
    def is_wanted(self) -> bool:
        """Whether a thread waits for a core."""
        return bool(self._waiting)

    def want(self, thread: Thread) -> None:
        """`thread.run` is called once it has a core: now, or when it is its turn."""
        if self._free:
            self._free -= 1
            thread.run()
        else:
            self._waiting.append(thread)

    def leave(self) -> None:
        """A thread that had a core does not use it any more."""
        if self._waiting:
            self._waiting.popleft().run()
        else:
            self._free += 1


class Thread:
    """Does one thing after the other, each once it had a core for as long as that takes. A new one sleeps."""

    __slots__ = ("_agenda", "_cores", "_is_awake", "_left_s", "_todo", "_used_s", "_work")

    def __init__(self, agenda: Agenda, cores: Cores, work: Work) -> None:
        self._agenda = agenda
        self._cores = cores
        self._work = work
        self._todo: deque[tuple[float, Action, tuple[Any, ...]]] = deque()
        self._is_awake = False
        self._left_s = self._used_s = 0.0

    def do(self, action: Action, *args: Any) -> None:
        """Call `action(*args)` when the message that leads to it has been worked off."""
        self.work(self._work.message_s, action, *args)

    def do_all(self, count: int, action: Action, *args: Any) -> None:
        """Call `action(*args)` when `count` messages that lead to it have been worked off."""
        self.work(count * self._work.message_s, action, *args)

    def work(self, cpu_s: float, action: Action, *args: Any) -> None:
        """Call `action(*args)` after `cpu_s` seconds of a core."""
        self._todo.append((cpu_s, action, args))
        if not self._is_awake:
            self._is_awake = True
            self._left_s = self._work.wake_s + cpu_s
            self._used_s = 0.0
            self._cores.want(self)

    def run(self) -> None:
        """It has a core."""
        runs_s = min(self._left_s, SLICE_S - self._used_s)
        self._left_s -= runs_s
        self._used_s += runs_s
        self._agenda.at(self._agenda.now + runs_s, self._ran)

    def _ran(self) -> None:
        if self._left_s <= 0:
            _, action, args = self._todo.popleft()
            action(*args)
            if not self._todo:
                self._is_awake = False
                self._cores.leave()
                return
            self._left_s = self._todo[0][0]
        if self._used_s < SLICE_S:
            self.run()
            return
        self._used_s = 0.0
        if self._cores.is_wanted:
            # behind those who wait: one of them has the core now
            self._cores.want(self)
            self._cores.leave()
        else:
            self.run()
