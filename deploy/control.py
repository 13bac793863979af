"""Control: the supervisor's own HTTP, on a Unix socket that only this user may open. It answers; it decides nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web


class Control:
    """`GET /livez` and `GET /status` on the socket at `path`."""

    def __init__(self, path: Path, status: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._status = status
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. What a killed supervisor left at the path is replaced: the folder is held, so nobody uses it."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/status", self._answer_status)
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
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._path.unlink(missing_ok=True)

    async def _livez(self, request: web.Request) -> web.Response:
        return web.json_response({"live": True, "pid": os.getpid()})

    async def _answer_status(self, request: web.Request) -> web.Response:
        return web.json_response(self._status())
