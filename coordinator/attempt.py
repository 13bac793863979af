"""Attempt: one request that was sent to one replica, and what its end says about that replica.

Decides nothing about the call it belongs to: whoever made it is told of the answer, of the loss, and of silence.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from coordinator.peer import Peer, Peers
from crema.errors import CremaError
from crema.host.channel import Buffer
from crema.host.channel_lost import ChannelLost


class Sender(Protocol):
    """Whoever makes attempts. Each is told of once with `answered`, unless it was given up before."""

    def answered(self, attempt: Attempt, now: float, header: dict[str, Any] | None, payload: Buffer) -> None:
        """The replica's answer; without a header its connection was lost."""

    def is_late(self, attempt: Attempt, now: float) -> None:
        """There is no answer for longer than the replica may be silent."""


class Attempt:
    """`index` says for which hop it was made. `sender` is None once nothing more can come of it."""

    __slots__ = ("index", "is_second", "peer", "peers", "sender", "sent_at", "sent_id")

    def __init__(
        self, sender: Sender, index: int, peers: Peers, peer: Peer, sent_at: float, is_second: bool
    ) -> None:
        self.sender: Sender | None = sender
        self.index = index
        self.peers = peers
        self.peer = peer
        self.sent_at = sent_at
        self.is_second = is_second
        self.sent_id = 0

    def answered(self, header: dict[str, Any] | None, payload: Buffer, lost: Exception | None) -> None:
        """The channel's `OnAnswer`."""
        sender = self.sender
        if sender is not None:
            self.sender = None
            sender.answered(self, monotonic(), header, payload)

    def is_late(self, now: float) -> None:
        """The wheel's reminder."""
        if self.sender is not None:
            self.sender.is_late(self, now)

    # -- its end ---------------------------------------------------------------------------------------------------

    def failed(self, now: float) -> None:
        """Its connection broke, or what came was no answer to it."""
        group, replica = self.peers.group, self.peer.replica
        group.ejection.failed(group.replicas, replica, now, self.sent_at)
        replica.given_up(self.sent_at)

    def refused(self, now: float, header: dict[str, Any], error: CremaError) -> None:
        """The replica answered, and not with what was asked for."""
        if error.status in (429, 503):
            is_ready = error.status == 429
            self.peer.replica.refused(now, header.get("load"), error.retry_after_ms, is_ready=is_ready)
        else:
            self.peer.replica.answered(now, header.get("load"))

    def succeeded(
        self, now: float, header: dict[str, Any], service_ms: float, item_ms: float | None, size: int
    ) -> None:
        """The replica answered; `service_ms` without its queue, for work of `size` (0: not known)."""
        group, replica = self.peers.group, self.peer.replica
        if group.is_many and size:
            group.ejection.answered(group.replicas, replica, now, self.sent_at, service_ms, size)
        replica.answered(now, header.get("load"), item_ms, service_ms)
        if replica.unready_at <= self.sent_at:
            replica.was_ready()

    def give_up(self) -> None:
        """Its answer is not wanted any more: tell the replica."""
        self.sender = None
        self.peer.replica.given_up(self.sent_at)
        with suppress(ChannelLost):
            self.peer.client.cancel(self.sent_id)
