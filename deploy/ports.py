"""Whether the addresses that a `cluster.yaml` fixes can be listened on, asked before anything is built or started."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from crema.host.config import Address

# What a killed cluster held is free within moments of its end.
PATIENCE_S = 3.0


class PortTaken(Exception):
    """A port that callers were told cannot be had; the text says what to do."""


def is_one_address(address: Address) -> bool:
    """Whether one socket can listen on all that `address` means: a name may stand for several."""
    return len(_meant_by(address)) == 1


def listening(address: Address) -> socket.socket:
    """A socket that listens on `address`, for processes to take connections from, at once or one after the other.

    What waits in its queue belongs to all who hold it: none is lost when one of them ends. Raises OSError.
    """
    [(family, kind, protocol, _, where), *_] = _meant_by(address)
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(where)
        opened.listen(1024)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


async def check_free(address: Address, key: str, patience_s: float = PATIENCE_S) -> None:
    """Raise PortTaken unless `address`, the value of `key` in the cluster file, can be bound now or soon."""
    if address.port == 0:
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while True:
        error = _try(address)
        if error is None:
            return
        if loop.time() >= deadline:
            raise PortTaken(
                f"{address} cannot be listened on: {error}\n"
                f"  stop the program that uses it (ss -ltnp 'sport = :{address.port}' names it)\n"
                f'  or set another {key} in the cluster file, for instance "{Address(address.host, 0)}" for a free one'
            )
        await asyncio.sleep(0.2)


def _meant_by(address: Address) -> list[tuple[Any, ...]]:
    return [*socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)]


def _try(address: Address) -> str | None:
    try:
        for family, kind, protocol, _, where in _meant_by(address):
            with socket.socket(family, kind, protocol) as probe:
                # as the listener itself will: ports in TIME_WAIT are free, ports that are listened on are not
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                probe.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None
