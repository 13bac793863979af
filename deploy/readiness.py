"""Readiness: asks a child's `/readyz` four times a second, for as long as the child lives.

That a process died is noticed elsewhere and at once; this notices that it is not ready, does not answer, or hangs.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp

from deploy.child import Child
from deploy.health import Health

INTERVAL_S: Final = 0.25
TIMEOUT_S: Final = 1.0
# One answer may be late on a busy machine. The second that is missing takes the process out of the routing.
MISSES_ALLOWED: Final = 1
# Silent for this long while its process lives: it hangs, and only a new one helps.
HANGS_AFTER_S: Final = 30.0


class Readiness:
    """Probes children over HTTP connections that are kept open. `async with` it."""

    def __init__(self, interval_s: float = INTERVAL_S, hangs_after_s: float = HANGS_AFTER_S) -> None:
        self._interval_s = interval_s
        self._hangs_after_s = hangs_after_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Readiness:
        # no proxy from the environment, no cookies: the addresses are our own processes
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def watch(self, child: Child, address: str) -> None:
        """Report the health of `child`, whose `/readyz` is at `address` (HOST:PORT), until cancelled."""
        misses, silent_s = 0, 0.0
        while True:
            health = await self._ask(address)
            if health is not None:
                misses, silent_s = 0, 0.0
                child.report(health)
            else:
                misses += 1
                # counted in probes, not by the clock: time in which this process stood still is not the child's
                silent_s += self._interval_s + TIMEOUT_S
                if misses > MISSES_ALLOWED:
                    child.report(None)
                if silent_s >= self._hangs_after_s:
                    child.kill(f"did not answer /readyz for {silent_s:.0f} s")
                    return
            await asyncio.sleep(self._interval_s)

    async def _ask(self, address: str) -> Health | None:
        try:
            return Health.parse(await self.read(address, "/readyz"))
        except ValueError:
            return None

    async def read_text(self, address: str, path: str) -> str | None:
        """What a child answers there with 200; None when it does not."""
        assert self._session is not None
        try:
            async with self._session.get(f"http://{address}{path}", allow_redirects=False) as response:
                return await response.text() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    async def read(self, address: str, path: str) -> Any:
        """The JSON that a child answers there; None when it does not."""
        assert self._session is not None
        try:
            async with self._session.get(f"http://{address}{path}", allow_redirects=False) as response:
                return await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
