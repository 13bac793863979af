"""Keys: who calls. Follows the file of API keys, recognises callers by their headers, and guards routes by scope.

A request is refused before its body is read. Whether a key is unknown, wrong, expired or revoked makes no difference to
what its caller is told. Once there was a file, nothing is open any more: a file that vanishes leaves no valid key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from coordinator.gate import Holding
from coordinator.quota import Quota
from crema.errors import CremaError
from crema.host.host_guard import HostGuard
from crema.host.http_answer import Answer
from crema.host.http_request import Request, request_id_of
from crema.host.http_responses import problem_response
from crema.host.key_file import ApiKey, KeyFileError, Keys, Scope, read_keys
from crema.host.service import OPEN, Route

WATCH_EVERY_S: Final = 1.0
# What browsers cannot send across origins without asking first; admin routes want it.
ADMIN_HEADER: Final = "X-Crema-Admin"

log = structlog.get_logger(__name__)


class Account:
    """What the keys of one name share."""

    __slots__ = ("holding", "name", "quota")

    def __init__(self, name: str) -> None:
        self.name = name
        self.quota = Quota(name)
        self.holding = Holding()


class Caller:
    """Whoever showed a valid key."""

    __slots__ = ("account", "scopes")

    def __init__(self, account: Account, scopes: tuple[Scope, ...]) -> None:
        self.account = account
        self.scopes = scopes


class KeyRing:
    """The keys in force. `run()` follows the file until it is cancelled. Without a path there are none, for good."""

    def __init__(self, path: Path | None = None) -> None:
        self.is_open = True
        """Whether no keys are in force, so that whoever reaches the listener may call."""
        self.is_shared = False
        """Whether keys of more than one name are."""
        self._path = path
        self._keys = Keys()
        self._accounts: dict[str, Account] = {}
        self._seen: object = None

    def read(self) -> None:
        """Put the file in force. Raises KeyFileError; then, and while it is not there, what was in force changes nothing
        for the better: a file that vanished leaves no valid key."""
        if self._path is None:
            return
        self._seen = _stamp(self._path)
        try:
            keys = read_keys(self._path)
        except FileNotFoundError:
            if self.is_open:
                return
            log.error("keys_vanished", path=str(self._path))
            keys = Keys()
        self.is_open = False
        self._keys = keys
        self.is_shared = len({key.name for key in keys.active(_now())}) > 1
        for key in sorted(keys.records, key=lambda each: each.created):
            # the newest active key of a name says what all of it may use
            if key.is_active(_now()):
                quota = self.account(key.name).quota
                quota.rate_per_s, quota.concurrency = key.rate_per_s, key.concurrency
        log.info("keys_in_force", active=len(keys.active(_now())), records=len(keys.records))

    async def run(self) -> None:
        """Look again every second. A file that is broken leaves the keys before it in force, and is logged."""
        while self._path is not None:
            await asyncio.sleep(WATCH_EVERY_S)
            if await asyncio.to_thread(_stamp, self._path) != self._seen:
                try:
                    self.read()
                except KeyFileError as error:
                    log.error("keys_not_read", problem=str(error))

    def account(self, name: str) -> Account:
        """What the keys of that name share."""
        found = self._accounts.get(name)
        if found is None:
            found = self._accounts[name] = Account(name)
        return found

    def recognise(self, headers: Mapping[str, str]) -> Caller:
        """Who shows a key in `Authorization: Bearer …` or `X-API-Key`. Raises CremaError `unauthenticated`."""
        written = headers.get("Authorization")
        shown = written[7:].strip() if written is not None and written[:7].lower() == "bearer " else None
        if shown is None:
            shown = headers.get("X-API-Key")
        if shown is None:
            raise CremaError(
                "unauthenticated",
                "send an API key as `Authorization: Bearer crema_…`; whoever runs this cluster makes one: crema keys new",
            )
        key: ApiKey | None = self._keys.find(shown)
        if key is None or not key.is_active(_now()):
            raise CremaError(
                "unauthenticated",
                "this API key is not valid; ask whoever runs this cluster for one: crema keys new",
            )
        return Caller(self.account(key.name), key.scopes)


class Guard:
    """Lets through to a listener's routes who has their scope. `refused(request, error)` is told of everybody else."""

    def __init__(
        self,
        ring: KeyRing,
        hosts: Iterable[str] = (),
        refused: Callable[[Request, CremaError], None] | None = None,
    ) -> None:
        """`hosts` are names besides `localhost` under which callers may reach a listener on loopback."""
        self.listens_here_only = True
        """Whether the listener is on loopback."""
        self._host_guard = HostGuard(hosts, "call it by its address, or list the name in coordinator.hosts")
        self._ring = ring
        self._refused = refused

    def guarded(self, route: Route) -> Route:
        """The route, with its scope asked for before its handler begins."""
        handler, scope = route.handler, route.scope

        def handle(request: Request) -> Awaitable[Answer]:
            try:
                self.check(request, scope)
            except CremaError as error:
                return self._refuse(request, error)
            return handler(request)

        return Route(route.method, route.path, handle, scope)

    def check(self, request: Request, scope: Scope | str) -> None:
        """Raises CremaError `unauthenticated` or `forbidden`. Whoever gets past with a key is `request.caller`."""
        if scope == "admin" and ADMIN_HEADER not in request.headers:
            raise CremaError(
                "forbidden",
                f"an admin call carries the header {ADMIN_HEADER}: 1, so that no web page can make it",
            )
        if self._ring.is_open:
            if self.listens_here_only:
                self._host_guard.check(request)
            return
        if scope == OPEN:
            return
        if scope == "metrics" and self.listens_here_only:
            # no key is asked for: whoever is on this machine may look, but no web page
            self._host_guard.check(request)
            return
        caller = self._ring.recognise(request.headers)
        if scope not in caller.scopes:
            raise needs_scope(scope, f"{request.method} {request.path[:200]}")
        request.caller = caller

    async def _refuse(self, request: Request, error: CremaError) -> Answer:
        if self._refused is not None:
            self._refused(request, error)
        headers = {"WWW-Authenticate": 'Bearer realm="crema"'} if error.status == 401 else {}
        return problem_response(error, request_id_of(request), headers)


def needs_scope(scope: str, what: str) -> CremaError:
    """The refusal of a valid key that lacks a scope."""
    return CremaError(
        "forbidden", f"{what} needs a key with the scope {scope}; make one: crema keys new --scopes {scope}"
    )


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _now() -> datetime:
    return datetime.now(UTC)
