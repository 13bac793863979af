"""Fetches: the preprocessor's side of fetching by URL. So many at once, each in time, by a process apart that is kept alive.

It opens no URL itself. A fetch holds a place here and none of the gate's: no decoder waits for a stranger's server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from crema import wire
from crema.errors import CremaError
from crema.host.channel import Buffer, Channel
from crema.host.channel_lost import ChannelLost
from crema.host.image_limits import MAX_IMAGE_BYTES, MAX_URL_CHARS
from crema.names import OptionalFormat
from preprocessor.fetch import TOTAL_S

PLACES: Final = 16
# A fetch takes up to five seconds; most take far less.
RETRY_AFTER_MS: Final = 1000
# The process keeps the time of a fetch itself; one that has not answered by now is stuck.
PATIENCE_S: Final = TOTAL_S + 1.0
RESTART_FIRST_S: Final = 0.1
RESTART_MOST_S: Final = 5.0

_ROOT: Final = str(Path(__file__).resolve().parent.parent)
# What a look-up and TLS need to know of this machine; nothing of ours.
_INHERITED: Final = ("LD_LIBRARY_PATH", "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")

log = structlog.get_logger(__name__)

OnFetched = Callable[[Buffer, CremaError | None], None]
"""(the image, None) or (b"", what is wrong)"""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched, as the arguments of the fetching process write it: see `crema.host.fetch_hosts`."""

    hosts: Sequence[str]
    private: Sequence[str] = ()
    formats: Sequence[OptionalFormat] = ()


class Place:
    """One fetch: entered, then begun, then left. To leave before it has ended takes it back; twice is once."""

    __slots__ = ("_fetches", "began_at", "number", "on_done", "request_id", "timer", "url")

    def __init__(self, fetches: Fetches, number: int) -> None:
        self._fetches: Fetches | None = fetches
        self.number = number
        self.url = ""
        self.request_id = ""
        self.began_at = 0.0
        self.on_done: OnFetched | None = None
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, url: str, deadline: float | None, request_id: str, on_done: OnFetched) -> None:
        """Fetch `url` until `deadline` (of the clock; None: the fetch's own limit). `on_done` is called once, later."""
        assert self._fetches is not None
        self.url, self.request_id, self.on_done = url, request_id, on_done
        self._fetches.begin(self, deadline)

    def leave(self) -> None:
        """Give the place back."""
        if self._fetches is not None:
            self._fetches.give_back(self)
            self._fetches = None


class Fetches:
    """At most `places` fetches at once. `rules` None: switched off. Construct, `start()`, `close()`."""

    def __init__(
        self,
        rules: FetchRules | None = None,
        *,
        places: int = PLACES,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_on = rules is not None
        self._rules = rules
        self._places = places
        self._patience_s = patience_s
        self._clock = clock
        self._next_number = 1
        self._entered: dict[int, Place] = {}
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Fetches under way."""
        return len(self._entered)

    @property
    def health(self) -> dict[str, Any] | None:
        """`{pid, state}` of the process, for whoever lists processes; None while there is none."""
        if self._process is None:
            return None
        return {"pid": self._process.pid, "state": "ready" if self._is_open else "starting"}

    def start(self) -> None:
        """Keep the process running, if fetching is switched on."""
        if self.is_on:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """End the process; what is under way is answered `not_ready`."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    # -- fetches ---------------------------------------------------------------------------------------------------

    def enter(self) -> Place:
        """A place for one fetch. The caller owes it a `leave`. Raises CremaError `url_fetch_disabled`, `overloaded`."""
        if not self.is_on:
            message = "fetching images by URL is switched off here; send the image itself"
            raise CremaError("url_fetch_disabled", message)
        if len(self._entered) >= self._places:
            message = (
                f"{self._places} of {self._places} images are being fetched; come back after `retry_after_ms`"
            )
            raise CremaError("overloaded", message, retry_after_ms=RETRY_AFTER_MS)
        place = Place(self, self._next_number)
        self._entered[place.number] = place
        self._next_number += 1
        return place

    def begin(self, place: Place, deadline: float | None) -> None:
        """Hand a fetch over; called by the place itself. Before the process is there, it waits for it."""
        place.began_at = now = self._clock()
        left_s = self._patience_s if deadline is None else deadline - now
        loop = asyncio.get_running_loop()
        if left_s < self._patience_s:
            place.timer = loop.call_later(max(0.0, left_s), self._expire, place)
        else:
            place.timer = loop.call_later(self._patience_s, self._is_stuck, place)
        if self._is_open:
            self._send({"kind": "fetch", "id": place.number, "url": place.url})

    def give_back(self, place: Place) -> None:
        """A fetch is over; called by the place itself."""
        del self._entered[place.number]
        if place.timer is not None:
            place.timer.cancel()
        if place.on_done is not None and self._is_open:
            self._send({"kind": "cancel", "id": place.number})

    def _done(self, place: Place, image: Buffer, error: CremaError | None, **told: Any) -> None:
        """Answer a fetch. Its URL goes nowhere: it may hold a signature."""
        fetch_ms = round((self._clock() - place.began_at) * 1000, 3)
        code = "ok" if error is None else error.code
        log.info(
            "url_fetch", request_id=place.request_id, code=code, bytes=len(image), fetch_ms=fetch_ms, **told
        )
        on_done, place.on_done = place.on_done, None
        place.leave()
        if on_done is not None:
            on_done(image, error)

    def _expire(self, place: Place) -> None:
        with contextlib.suppress(ChannelLost):
            self._send({"kind": "cancel", "id": place.number})
        message = "the deadline passed while the image was fetched; allow more with deadline_ms"
        self._done(place, b"", CremaError("deadline_exceeded", message), reason="deadline")

    def _is_stuck(self, place: Place) -> None:
        """The process did not keep its own time: it is of no use any more."""
        log.error("fetcher_stuck", pid=None if self._process is None else self._process.pid)
        _kill(self._process)
        self._done(place, b"", _lost(), reason="stuck")

    # -- the process -----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Start it, wait for its end, start it again: ever more slowly while it does not even say hello."""
        pause = RESTART_FIRST_S
        try:
            while True:
                began = self._clock()
                try:
                    await self._live()
                except OSError as error:
                    log.error("fetcher_not_started", problem=str(error))
                log.warning("fetcher_gone")
                self._fail_all()
                if self._clock() - began > RESTART_MOST_S:
                    pause = RESTART_FIRST_S
                await asyncio.sleep(pause)
                pause = min(RESTART_MOST_S, pause * 2)
        finally:
            self._fail_all()

    async def _live(self) -> None:
        assert self._rules is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            command = [sys.executable, "-P", "-s", "-m", "preprocessor.fetcher", "--fd", str(theirs.fileno())]
            command += ["--parent-pid", str(os.getpid())]
            command += [each for host in self._rules.hosts for each in ("--host", host)]
            command += [each for network in self._rules.private for each in ("--private", network)]
            command += ["--formats", ",".join(self._rules.formats)] if self._rules.formats else []
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, pass_fds=(theirs.fileno(),), stdin=DEVNULL, stdout=DEVNULL,
                    env=_environment(), cwd="/", start_new_session=True,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        self._process = process
        channel = Channel(self, "preprocessor", frozenset({"worker"}))
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
            await process.wait()
        finally:
            _kill(process)
            await process.wait()
            channel.abort()
            self._channel = self._process = None

    def _fail_all(self) -> None:
        for place in list(self._entered.values()):
            if place.on_done is not None:
                self._done(place, b"", _lost(), reason="fetcher_gone")

    @property
    def _is_open(self) -> bool:
        return self._channel is not None and self._channel.is_open

    def _send(self, header: dict[str, Any]) -> None:
        if self._channel is not None:
            # when it is closing, the keeper answers for all that is under way
            with contextlib.suppress(ChannelLost):
                self._channel.send({"v": wire.WIRE_VERSION, **header})

    # -- the Receiver's side ---------------------------------------------------------------------------------------

    def channel_opened(self, channel: Channel) -> None:
        self._channel = channel
        log.info("fetcher_ready", pid=None if self._process is None else self._process.pid)
        for place in self._entered.values():
            if place.on_done is not None:
                self._send({"kind": "fetch", "id": place.number, "url": place.url})

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return header["kind"] == "answer" and header["id"] in self._entered

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        place = self._entered.get(header["id"])
        if place is None:
            return
        told = {
            name: str(header[name])[:253]
            for name in ("host", "reason", "detail", "redirects")
            if header.get(name)
        }
        if header.get("status") == 200:
            self._done(place, payload, None, **told)
        else:
            error = CremaError.from_wire(header.get("error"))
            if error.code == "image_too_large":
                error.extra["limit"] = {"bytes": MAX_IMAGE_BYTES}
            self._done(place, b"", error, **told)

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        # without its socket it is of no use; the keeper waits for its end
        _kill(self._process)


def url_of(header: dict[str, Any], payload_bytes: int) -> str | None:
    """The URL of a `preprocess` frame; None: the image is its payload. Raises CremaError `invalid_request`."""
    url = header.get("url")
    if url is None:
        return None
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL_CHARS:
        raise CremaError("invalid_request", f"url must be a text of 1 to {MAX_URL_CHARS} characters")
    if payload_bytes:
        raise CremaError("invalid_request", "send either the image or its url")
    return url


def _kill(process: Process | None) -> None:
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _lost() -> CremaError:
    message = "the process that fetches images was lost; send the request again"
    return CremaError("not_ready", message, retry_after_ms=RETRY_AFTER_MS)


def _environment() -> dict[str, str]:
    """No secrets and no settings of ours. A look-up gives up in about the time that a fetch has."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **kept, "PYTHONPATH": _ROOT, "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2",
        "RES_OPTIONS": "timeout:1 attempts:2",
    }  # fmt: skip
