"""Host guard: a listener on loopback that asks for no secret answers only who calls it by a name that nobody can have
resolve as they like. Else a web page whose own name resolves to this machine would get in (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Iterable
from typing import Final

from crema.errors import CremaError
from crema.host.http_answer import Answer
from crema.host.http_request import Request
from crema.host.service import Route

MAX_KNOWN_HOSTS: Final = 64
# a name or an address in brackets, and a port; what else a header could hold would only be guessed at
_HOST: Final = re.compile(r"(?:([A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")


class HostGuard:
    """Judges by which name a listener was called. `names` are allowed besides addresses and `localhost`."""

    def __init__(self, names: Iterable[str] = (), advice: str = "call it by its address") -> None:
        self.is_on = True
        """To be switched off where the listener is not on loopback."""
        self._names = frozenset(name.lower() for name in names)
        self._advice = advice
        # what was found in order: nearly all callers send the same
        self._known: set[str] = set()

    def guarded(self, route: Route) -> Route:
        """The route, behind `check`."""
        handler = route.handler

        def handle(request: Request) -> Awaitable[Answer]:
            self.check(request)
            return handler(request)

        return Route(route.method, route.path, handle, route.scope)

    def check(self, request: Request) -> None:
        """Raises CremaError `forbidden`."""
        if not self.is_on:
            return
        host = request.headers.get("Host", "")
        if host not in self._known:
            self._check(host)
        if request.authority is not None:
            # the whole URL stands in the request line: then that is what counts, and not the header
            self._check(request.authority)

    def _check(self, host: str) -> None:
        found = _HOST.match(host)
        if found is not None:
            name = found[1]
            if name is None or is_safe_name(name) or name.lower() in self._names:
                if len(self._known) < MAX_KNOWN_HOSTS:
                    self._known.add(host)
                return
        raise CremaError("forbidden", f"this listener is not called {host[:100]!r}; {self._advice}")


def is_safe_name(name: str) -> bool:
    """Whether a name is one that no stranger can have resolve as they like: an address, one word (`localhost`, a
    container's name), or below `localhost`."""
    name = name.lower().removesuffix(".")
    return "." not in name or name.endswith(".localhost") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
