"""Scatter: outcomes back to the requests whose items they are; places given back; then the answers.

It neither runs nor chooses anything. An outcome is bytes that it does not look into.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from crema.host.channel import Buffer
from minion.gate import Gate
from minion.meters import Meters
from minion.request import Caller, Done, Item, Request


class Scatter:
    """`load` says what every answer tells of this replica."""

    def __init__(
        self, gate: Gate, meters: Meters, load: Callable[[], dict[str, Any]], now: Callable[[], float]
    ) -> None:
        self._idle: asyncio.Future[None] | None = None
        """For whom waits until nothing admitted is unanswered."""
        self._gate = gate
        self._meters = meters
        self._load = load
        self._now = now

    async def idle(self) -> None:
        """Wait until nothing admitted is unanswered. For one who waits."""
        while self._gate.pending:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def leave(self, n: int) -> None:
        """Give `n` places back."""
        self._gate.leave(n)
        if self._idle is not None and not self._gate.pending:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None

    def scatter(self, items: Sequence[Item], outcomes: Sequence[bytes], done: Done) -> None:
        """Give each item its outcome; give the places back; then answer the requests that are complete."""
        complete: list[Request] = []
        freed = 0
        for item, outcome in zip(items, outcomes, strict=True):
            request = item.request
            if request.is_abandoned:  # its places are free already
                continue
            request.outcomes[item.index] = outcome
            request.left -= 1
            freed += 1
            if not request.left:
                complete.append(request)
        self.leave(freed)
        if not complete:
            return
        done.load = self._load()
        self._meters.answered(200, len(complete))
        now = self._now()
        self._meters.request_seconds.observe_all([now - request.arrived_at for request in complete])
        callers: dict[Caller, None] = {}
        for request in complete:
            caller = request.caller
            caller.answer(request, done)
            callers[caller] = None
            # a request and its items hold each other: let go here, or the pixels stay until the garbage collector comes
            request.items = []
        for caller in callers:
            caller.flush()

    def settle(self, items: Sequence[Item], outcome: bytes, done: Done) -> None:
        """The same outcome for all."""
        self.scatter(items, [outcome] * len(items), done)


def split(payload: Buffer, sizes: Any, n: int) -> list[bytes] | None:
    """The payload cut into `n` parts of the given sizes; None when they do not fit it."""
    if type(sizes) is not list or len(sizes) != n or sum(sizes) != len(payload):
        return None
    data = bytes(payload)
    if n == 1:
        return [data]
    parts, end = [], 0
    for size in sizes:
        parts.append(data[end : end + size])
        end += size
    return parts
