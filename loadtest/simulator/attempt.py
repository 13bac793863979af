"""A call, its photo, and an attempt: one request of a call that was sent to one machine. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from coordinator.replica import Replica
from coordinator.router import Group
from crema.errors import CremaError
from crema.names import Lane
from minion.batcher import Waiting

if TYPE_CHECKING:
    from loadtest.simulator.coordinator import Coordinator
    from loadtest.simulator.machine import Machine
    from preprocessor.gate import Permit

# In place of a model's index: the hop to the preprocessor.
PREPROCESS: Final = -1


class Photo(NamedTuple):
    """What is known of a photo: what its header makes the gate expect, its bytes, and how long its decode takes."""

    work: float
    nbytes: int
    decode_s: float


@dataclass(frozen=True, slots=True)
class Peers:
    """The machines of one fleet as one coordinator sees them: `group.replicas[i]` is what it knows of `machines[i]`."""

    group: Group
    machines: tuple[Machine, ...]


class Call:
    """One call of an app: due at `due_at`, at the coordinator at `came_at`. `errors` are of hops that are tried a second time (None: the first try is
    still out); `failed` are of models that will not answer."""

    __slots__ = (
        "attempts", "came_at", "deadline", "due_at", "errors", "failed", "is_over", "is_prepared", "lane", "missing", "photo",
    )  # fmt: skip

    def __init__(
        self, due_at: float, came_at: float, deadline: float, lane: Lane, photo: Photo, models: int
    ) -> None:
        self.due_at = due_at
        self.came_at = came_at
        self.deadline = deadline
        self.lane: Lane = lane
        self.photo = photo
        self.missing = models
        self.is_over = self.is_prepared = False
        self.attempts: list[Attempt] = []
        self.failed: list[CremaError] = []
        self.errors: dict[int, CremaError | None] | None = None


class Attempt(Waiting):
    """What waits at a machine. `is_over` once nothing more can come of it; `holds` while it has a place there."""

    __slots__ = (
        "call", "coordinator", "decode_s", "group", "holds", "index", "is_heavy", "is_over", "is_second", "machine", "permit", "replica",
        "sent_at", "started_at", "work",
    )  # fmt: skip

    def __init__(
        self,
        coordinator: Coordinator,
        call: Call,
        index: int,
        peers: Peers,
        chosen: int,
        sent_at: float,
        is_second: bool,
    ) -> None:
        # Waiting's own four, without a call of its constructor
        self.key = index
        self.lane = call.lane
        self.deadline = call.deadline
        self.queued_at = sent_at
        self.coordinator = coordinator
        self.call = call
        self.index = index
        self.group: Group = peers.group
        self.machine: Machine = peers.machines[chosen]
        self.replica: Replica = peers.group.replicas[chosen]
        self.sent_at = sent_at
        self.is_second = is_second
        self.is_over = self.holds = False

    # what only a preprocessor sets
    work: float
    decode_s: float
    is_heavy: bool
    # simulated decoders take one photo at a time: what takes less than a millisecond is no bottleneck
    is_quick: Final = False
    started_at: float
    permit: Permit

    def is_late(self, now: float) -> None:
        """The wheel's reminder: it has been silent for longer than it may be."""
        if not self.is_over:
            self.coordinator.is_late(self, now)
