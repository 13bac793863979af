"""ChannelServer: listens for channels; every connection reports to one receiver. It knows no message."""

from __future__ import annotations

import asyncio
from typing import Any

from crema.host.channel import Channel, Receiver
from crema.host.short_way import listen_beside
from crema.names import Role


class ChannelServer:
    """Listens for channels. Every accepted connection is a `Channel` that reports to the one `receiver`."""

    def __init__(
        self,
        receiver: Receiver,
        role: Role,
        accepts: frozenset[Role],
        *,
        token: str | None = None,
        max_connections: int = 1024,
    ) -> None:
        self._receiver = receiver
        self._role: Role = role
        self._accepts = accepts
        self._token = token
        self._max_connections = max_connections
        self._channels: set[Channel] = set()
        # uvloop's is not asyncio's, and has its sockets in a list
        self._server: Any = None
        self._beside: Any = None

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port (the one chosen, when `port` is 0)."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port)
        chosen = int(self._server.sockets[0].getsockname()[1])
        listening = listen_beside(host, chosen)
        if listening is not None:
            self._beside = await loop.create_unix_server(self._accept, sock=listening)
        return chosen

    def stop_listening(self) -> None:
        """Take no new connections; those that stand go on."""
        for server in (self._server, self._beside):
            if server is not None:
                server.close()

    async def close(self) -> None:
        """Stop listening and close every connection once what was written has gone out."""
        self.stop_listening()
        for channel in list(self._channels):
            channel.close()

    def _accept(self) -> asyncio.BufferedProtocol:
        channel = _ServedChannel(self, self._receiver, self._role, self._accepts, self._token)
        self._channels.add(channel)
        return channel

    @property
    def is_full(self) -> bool:
        """Whether there are more connections than allowed."""
        return len(self._channels) > self._max_connections

    def forget(self, channel: Channel) -> None:
        """A connection ended."""
        self._channels.discard(channel)


class _ServedChannel(Channel):
    def __init__(
        self,
        server: ChannelServer,
        receiver: Receiver,
        role: Role,
        accepts: frozenset[Role],
        token: str | None,
    ) -> None:
        super().__init__(receiver, role, accepts, asks=token)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._server.is_full:
            self._refuse("overloaded", "too many connections", None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        super().connection_lost(exc)
