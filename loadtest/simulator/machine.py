"""Machine: what a minion and a preprocessor have in common in the simulation: they start, serve, drain, die, and cost.

A machine that died answers nothing. Whoever waits for it learns that at once where its connections break, and only when
it is taken out of the routing where it just went silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loadtest.simulator.agenda import Action, Agenda
from loadtest.simulator.attempt import Attempt
from loadtest.simulator.cores import Thread

if TYPE_CHECKING:
    from loadtest.simulator.coordinator import Coordinator

State = Literal["starting", "ready", "draining", "dead", "gone"]


@dataclass(slots=True)
class Seen:
    """What the gates of one fleet have decided about interactive items since the last control period."""

    accepted: int = 0
    refused: int = 0


class Machine:
    """One machine with one replica on it, `hop_s` seconds away from its coordinators. It began and ended at seconds of the
    day. Where it shares its cores, `thread` is that of its front process."""

    __slots__ = (
        "agenda",
        "arrive",
        "began_at",
        "ended_at",
        "hop_s",
        "is_noticed",
        "is_silent",
        "number",
        "seen",
        "state",
        "thread",
        "unanswered",
    )

    def __init__(self, agenda: Agenda, number: int, seen: Seen, hop_s: float, thread: Thread | None) -> None:
        self.agenda = agenda
        self.number = number
        self.seen = seen
        self.hop_s = hop_s
        self.thread = thread
        self.arrive: Action = self.receive if thread is None else self._hear
        """What happens when a request has crossed the network."""
        self.state: State = "starting"
        self.began_at = agenda.day_s
        self.ended_at = math.inf
        self.is_noticed = False
        """That it died."""
        self.is_silent = False
        self.unanswered: list[Attempt] = []
        """What a machine that died was asked."""

    @property
    def pending(self) -> int:
        """Requests that were let in and are not answered."""
        raise NotImplementedError

    def busy_ratio(self) -> float:
        """The share of its capacity that it used lately."""
        raise NotImplementedError

    def receive(self, attempt: Attempt) -> None:
        """A request arrives."""
        raise NotImplementedError

    def cancel(self, attempt: Attempt) -> None:
        """Its answer is not wanted any more."""
        raise NotImplementedError

    def drain(self) -> None:
        """Let nothing in any more; it is gone when all is answered."""
        self.state = "draining"
        self._let_go()

    def die(self, is_silent: bool) -> list[Attempt]:
        """Power off. Returns who waits for an answer and learns now that none will come."""
        self.state = "dead"
        self.ended_at = self.agenda.day_s
        self.is_silent = is_silent
        self.unanswered = [each for each in self.held() if not each.is_over]
        return [] if is_silent else self.forget()

    def held(self) -> list[Attempt]:
        """All that it has let in and not answered."""
        raise NotImplementedError

    def forget(self) -> list[Attempt]:
        """Who still waits for a machine that died, once."""
        waiting, self.unanswered = self.unanswered, []
        return [each for each in waiting if not each.is_over]

    def meets_nobody(self, attempt: Attempt) -> None:
        """A request has come to a machine that died."""
        if self.is_silent:
            self.unanswered.append(attempt)
        else:
            self.tell(attempt.coordinator, attempt.coordinator.lost, attempt)

    def tell(self, coordinator: Coordinator, action: Action, *args: Any) -> None:
        """Answer: `action` of the coordinator is called with `args` once it has heard it."""
        agenda, thread = self.agenda, coordinator.thread
        when = agenda.now + self.hop_s
        if thread is None:
            agenda.at(when, action, *args)
        else:
            agenda.at(when, thread.do, action, *args)

    def _hear(self, attempt: Attempt) -> None:
        assert self.thread is not None
        self.thread.do(self.receive, attempt)

    def _let_go(self) -> None:
        if self.state == "draining" and not self.pending:
            self.state = "gone"
            self.ended_at = self.agenda.day_s
