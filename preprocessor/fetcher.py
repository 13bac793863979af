"""The process that fetches images by URL: `fetch` frames in, image bytes or an error out.

`python -m preprocessor.fetcher --fd N --parent-pid P --host RULE…`, started by the preprocessor and by nobody else. It
is apart because it talks to strangers' servers: it holds no secret, writes no file and no log, and gives root away.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures.thread
import contextlib
import encodings.idna  # noqa: F401 - a look-up needs it, and later its file may not be readable any more
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import threading
from typing import Any, Final

from crema import wire
from crema.errors import CremaError
from crema.host.channel import Buffer, Channel
from crema.host.channel_lost import ChannelLost
from crema.host.fetch_hosts import parse_host_rule, parse_network
from crema.host.image_signatures import image_formats
from crema.host.process import die_with_parent, give_root_away
from preprocessor.fetch import Fetch, FetchFailed
from preprocessor.fetch_addresses import Addresses

# Whoever starts this process as root gets one that is nobody; no account of a Linux distribution has this number.
UNPRIVILEGED_ID: Final = 64_917
MEMORY_MB: Final = 1536
OPEN_FILES: Final = 256
# A look-up that hangs holds its thread for seconds longer than its fetch lives: as many as are begun meanwhile.
LOOKUP_THREADS: Final = 96
LOOKUP_STACK_BYTES: Final = 1024 * 1024
SENDING_LOOKS_AGAIN_S: Final = 0.002


def main() -> None:
    """Serve until the preprocessor closes the socket or dies."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocessor.fetcher", description="the process of a preprocessor that fetches images"
    )
    parser.add_argument("--fd", type=int, required=True, help="the socket to the preprocessor")
    parser.add_argument(
        "--parent-pid", type=int, required=True, help="the preprocessor; this process ends with it"
    )
    parser.add_argument("--host", type=parse_host_rule, action="append", required=True)
    parser.add_argument("--private", type=parse_network, action="append", default=[])
    parser.add_argument("--formats", type=image_formats, default=())
    args = parser.parse_args()
    die_with_parent(args.parent_pid, signal.SIGKILL)
    # what libraries log may hold a URL
    logging.disable(logging.CRITICAL)
    tls = ssl.create_default_context()
    limit_process()
    if give_root_away(UNPRIVILEGED_ID):
        # the kernel forgets this at a change of user
        die_with_parent(args.parent_pid, signal.SIGKILL)
    fetch = Fetch(args.host, Addresses(args.private), tls=tls, formats=args.formats)
    asyncio.run(serve(socket.socket(fileno=args.fd), fetch))


def limit_process() -> None:
    """Memory, files and core dumps of this process, from here on."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - as in the decoder
        baseline = int(statm.read().split()[0]) * resource.getpagesize()
    for kind, value in (
        (resource.RLIMIT_AS, baseline + MEMORY_MB * 1024 * 1024),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


async def serve(link: socket.socket, fetch: Fetch) -> None:
    """Answer until the preprocessor closes its end."""
    link.setblocking(False)
    loop = asyncio.get_running_loop()
    threading.stack_size(LOOKUP_STACK_BYTES)
    loop.set_default_executor(concurrent.futures.thread.ThreadPoolExecutor(LOOKUP_THREADS))
    async with fetch:
        desk = Desk(fetch)
        await loop.create_unix_connection(
            lambda: Channel(desk, "worker", frozenset({"preprocessor"})), sock=link
        )
        await desk.has_closed.wait()
    # a look-up that hangs is not waited for
    os._exit(0)


class Desk:
    """The receiver of the one channel: a task per fetch."""

    def __init__(self, fetch: Fetch) -> None:
        self.has_closed = asyncio.Event()
        self._fetch = fetch
        self._sending = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def channel_opened(self, channel: Channel) -> None:
        pass

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        number = header["id"]
        if header["kind"] == "fetch":
            task = asyncio.get_running_loop().create_task(self._answer(channel, number, header["url"]))
            self._tasks[number] = task
        elif header["kind"] == "cancel" and number in self._tasks:
            self._tasks[number].cancel()
        return False

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        pass

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        self.has_closed.set()

    async def _answer(self, channel: Channel, number: int, url: str) -> None:
        answer: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "answer", "id": number}
        image: Buffer = b""
        try:
            fetched = await self._fetch.image(url)
            image = memoryview(fetched.image)
            answer |= {"status": 200, "host": fetched.host, "redirects": fetched.redirects}
        except FetchFailed as failed:
            answer |= _refusal(failed.error, failed.reason, failed.host, failed.detail)
        except Exception as error:
            # strangers' answers reach a large library: whatever it raises is theirs and not ours
            unknown = CremaError(
                "url_fetch_failed",
                "the image could not be fetched: the server's answer cannot be read; send the image itself",
            )
            answer |= _refusal(unknown, "broken", "", type(error).__name__)
        finally:
            del self._tasks[number]
        # one image after the other: a channel whose peer is behind by many of them would be given up
        async with self._sending:
            with contextlib.suppress(ChannelLost):
                channel.send(answer, image)
            await asyncio.sleep(0)
            while channel.is_congested and channel.is_open:
                await asyncio.sleep(SENDING_LOOKS_AGAIN_S)


def _refusal(error: CremaError, reason: str, host: str, detail: str) -> dict[str, Any]:
    return {
        "status": error.status, "error": error.as_wire(), "reason": reason, "host": host, "detail": detail
    }  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
