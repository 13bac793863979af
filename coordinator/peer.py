"""Peer: one replica or preprocessor as this coordinator knows it, and Peers: those among which one is chosen."""

from __future__ import annotations

from time import monotonic

from coordinator.ejection import Ejection
from coordinator.replica import Replica
from coordinator.router import Group
from crema.host.channel_client import ChannelClient
from crema.names import Role


class Peer:
    """One replica or preprocessor: its connection and what the router knows of it."""

    __slots__ = ("_has_left", "client", "replica")

    def __init__(self, address: str, ours: Role, its: Role, token: str | None, replica: Replica) -> None:
        self.replica = replica
        self._has_left = False
        self.client = ChannelClient(address, ours, its, token=token, on_change=self._changed)

    async def close(self) -> None:
        """Drop the connection; what is known of the replica may go on with another."""
        self._has_left = True
        self.replica.closed()
        await self.client.close()

    def _changed(self, is_open: bool) -> None:
        if self._has_left:
            return
        if is_open:
            self.replica.opened(monotonic())
        else:
            self.replica.closed()


class Peers:
    """Those among which one is chosen for a request; `group.replicas` lie in the same order."""

    __slots__ = ("all", "group")

    def __init__(self, peers: list[Peer], ejection: Ejection, expected_ms: float) -> None:
        self.all = peers
        self.group = Group([peer.replica for peer in peers], ejection, expected_ms)
