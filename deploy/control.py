"""Control: the supervisor's own HTTP, on a Unix socket that only this user may open. It answers; it decides nothing.

A release verb takes as long as it takes: its answer is one JSON line per step of progress, empty lines while there is
nothing to say, and a last line that is `{"done": …}` or `{"refused": …, "detail": …}`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog
from aiohttp import web

from deploy.pointers import ReleaseRefused

HEARTBEAT_S: Final = 2.0

Verb = Callable[[dict[str, Any], Callable[[str], None]], Awaitable[dict[str, Any]]]
"""Takes the request's body and whom to tell of progress. Raises ReleaseRefused."""

log = structlog.get_logger(__name__)


class Control:
    """`GET /livez`, `GET /status`, and `POST /VERB` for each of `verbs`, on the socket at `path`."""

    def __init__(
        self,
        path: Path,
        status: Callable[[], dict[str, Any]],
        verbs: Mapping[str, Verb] = MappingProxyType({}),
    ) -> None:
        self._path = path
        self._status = status
        self._verbs = verbs
        self._runner: web.AppRunner | None = None
        self._running: set[asyncio.Task[dict[str, Any]]] = set()

    async def start(self) -> None:
        """Listen. What a killed supervisor left at the path is replaced: the folder is held, so nobody uses it."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/status", self._answer_status)
        for name, verb in self._verbs.items():
            app.router.add_post(f"/{name}", functools.partial(self._run, verb))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        self._path.unlink(missing_ok=True)
        # the mode must be right from the first moment, and a socket takes its mode from the mask
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening; verbs that still run are given up."""
        for task in self._running:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._path.unlink(missing_ok=True)

    async def _livez(self, request: web.Request) -> web.Response:
        return web.json_response({"live": True, "pid": os.getpid()})

    async def _answer_status(self, request: web.Request) -> web.Response:
        return web.json_response(self._status())

    async def _run(self, verb: Verb, request: web.Request) -> web.StreamResponse:
        """Run a verb to its end, also when whoever asked leaves."""
        asked = await request.json()
        said: asyncio.Queue[str] = asyncio.Queue()
        task = asyncio.create_task(self._told(verb, asked, said.put_nowait))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while not task.done():
            line = b"\n"
            next_line = asyncio.ensure_future(said.get())
            await asyncio.wait({next_line, task}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if next_line.done():
                line = json.dumps({"progress": next_line.result()}).encode() + b"\n"
            else:
                next_line.cancel()
            await response.write(line)
        await response.write(json.dumps(await task).encode() + b"\n")
        return response

    async def _told(
        self, verb: Verb, asked: dict[str, Any], progress: Callable[[str], None]
    ) -> dict[str, Any]:
        try:
            return {"done": await verb(asked, progress)}
        except ReleaseRefused as error:
            return {"refused": str(error), "detail": getattr(error, "detail", "")}
        except Exception as error:
            log.exception("verb_failed")
            return {
                "refused": f"it failed: {error!r}; this is a bug of ours\n  see: .crema/logs/supervisor.log"
            }
