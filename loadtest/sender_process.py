"""A sender as a process of its own: orders come as a line on standard input, what it counts goes out as lines of JSON.

It says `ready` once its photos are in memory, waits for a line with the moment to start, and ends when standard input does:
whoever started it may be gone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import warnings
from typing import Any, Final

import uvloop

from loadtest.photo_stock import PhotosError, PhotoStock
from loadtest.sender import Orders, Progress, Sender

PROGRESS_EVERY_S: Final = 1.0
READY: Final = {"ready": True}
_GARBAGE_AT: Final = 20_000
_LINE_BYTES: Final = 256 << 20


def progress_document(progress: Progress) -> dict[str, Any]:
    """As a line says it."""
    return {
        "sent": progress.sent,
        "counts": progress.counts,
        "good": progress.good,
        "answered": progress.answered.document(),
        "lag": progress.lag.document(),
        "cpu_share": progress.cpu_share,
        "in_flight": progress.in_flight,
    }


async def serve() -> int:
    """One run: load, wait for the start, send, tell. → exit status."""
    orders_and_signs = await standard_input()
    orders = Orders.read(json.loads(await orders_and_signs.readline()))
    try:
        photos = PhotoStock.load(orders.photos)
    except PhotosError as error:
        say({"error": str(error)})
        return 1
    # the photos and the library stay: a search for cycles among them, in the middle of the run, would make calls late
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AT, 20, 50)
    say(READY)
    line = await orders_and_signs.readline()
    if not line:
        return 1
    sender = Sender(orders, photos)
    sending = asyncio.create_task(sender.run(float(json.loads(line)["start"])))
    stopped = asyncio.create_task(orders_and_signs.readline())
    stopped.add_done_callback(lambda _: sender.stop())
    while not sending.done():
        await asyncio.wait([sending], timeout=PROGRESS_EVERY_S)
        say({"progress": progress_document(sender.progress())})
    sending.result()
    say(
        {
            "tallies": [tally.document() for tally in sender.tallies],
            "cpu_shares": sender.cpu_shares,
            "cpu_s": sender.cpu_s,
        }
    )
    return 0


async def standard_input() -> asyncio.StreamReader:
    """Line by line, without a thread that would wait for one."""
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


def say(document: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def main() -> int:
    """The process."""
    # aiohttp advises against bodies of bytes over 1 MiB; photos lie in memory anyway
    warnings.simplefilter("ignore", ResourceWarning)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve())
    except BrokenPipeError:
        # whoever started us is gone; Python's own flush at the end must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
