"""Discovery: `dns://HOST:PORT` in the routing file stands for every address that the name has now.

In a cluster a headless service's name has one address per ready replica. Decides nothing about connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

PREFIX: Final = "dns://"
EVERY_S: Final = 2.0
LOOKUP_TIMEOUT_S: Final = 5.0
# How long a routing that brings new names waits for them.
FIRST_WAIT_S: Final = 0.3

Lookup = Callable[[str, int], Awaitable[Iterable[str]]]
"""(host, port) → its addresses `HOST:PORT`. Raises OSError."""

log = structlog.get_logger(__name__)


async def look_up(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver gives for a name, off the loop."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [
        f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"
        for family, _, _, _, address in found
    ]


class Discovery:
    """What names stand for. A lookup that fails leaves in force what was known: the replicas may well be there."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self._known: dict[str, tuple[str, ...]] = {}
        self._failing: set[str] = set()

    def expand(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """The addresses with each name replaced by what it stands for; none twice."""
        found: dict[str, None] = {}
        for address in addresses:
            if address.startswith(PREFIX):
                found.update(dict.fromkeys(self._known.get(address, ())))
            else:
                found[address] = None
        return tuple(found)

    async def prepare(self, addresses: Iterable[str]) -> None:
        """Look up the names among `addresses` that are new, for `FIRST_WAIT_S` at most."""
        fresh = {each for each in addresses if each.startswith(PREFIX)} - self._known.keys()
        if not fresh:
            return
        for name in fresh:
            self._known[name] = ()
        lookups = [asyncio.ensure_future(self._look_up(name)) for name in fresh]
        await asyncio.wait(lookups, timeout=FIRST_WAIT_S)
        for unfinished in lookups:
            unfinished.cancel()

    async def refresh(self, addresses: Iterable[str]) -> bool:
        """Look all names among `addresses` up again, and forget the others. Returns whether anything changed."""
        names = {each for each in addresses if each.startswith(PREFIX)}
        for name in self._known.keys() - names:
            del self._known[name]
        return any(await asyncio.gather(*(self._look_up(name) for name in names)))

    async def _look_up(self, name: str) -> bool:
        host, _, port = name[len(PREFIX) :].rpartition(":")
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                found = tuple(sorted(set(await self._lookup(host.strip("[]"), int(port)))))
        except (OSError, UnicodeError) as error:  # a TimeoutError is an OSError; a name can be no name at all
            if name not in self._failing:
                self._failing.add(name)
                log.warning("name_not_resolved", name=name, error=str(error) or type(error).__name__)
            return False
        self._failing.discard(name)
        if found == self._known.get(name):
            return False
        log.info("name_resolved", name=name, replicas=len(found))
        self._known[name] = found
        return True
