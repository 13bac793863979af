"""A sender as a process of its own: orders come as a line on standard input, what it counts goes out as lines of JSON.

It says `ready` once its photos are in memory, waits for a line with the moment to start, and ends when standard input does:
whoever started it may be gone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import warnings
from typing import Any, Final, TextIO

import uvloop

from loadtest.photo_stock import PhotosError, PhotoStock
from loadtest.sender import Orders, Progress, Sender

PROGRESS_EVERY_S: Final = 1.0
READY: Final = {"ready": True}
_GARBAGE_AT: Final = 20_000


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


async def serve(orders: Orders, photos: PhotoStock, lines: TextIO, out: TextIO) -> None:
    """Send when told to, and tell what happens."""

    def say(document: dict[str, Any]) -> None:
        out.write(json.dumps(document, separators=(",", ":")) + "\n")
        out.flush()

    say(READY)
    line = await asyncio.to_thread(lines.readline)
    if not line:
        return
    sender = Sender(orders, photos)
    sending = asyncio.create_task(sender.run(float(json.loads(line)["start"])))
    loop = asyncio.get_running_loop()

    def stopped() -> None:
        lines.readline()
        loop.call_soon_threadsafe(sender.stop)

    # a thread of the pool would keep the process from ending while it reads
    threading.Thread(target=stopped, daemon=True).start()
    while not sending.done():
        await asyncio.wait([sending], timeout=PROGRESS_EVERY_S)
        say({"progress": progress_document(sender.progress())})
    sending.result()
    say({"tallies": [tally.document() for tally in sender.tallies], "cpu_shares": sender.cpu_shares})


def main() -> int:
    """One run."""
    # aiohttp advises against bodies of bytes over 1 MiB; photos lie in memory anyway
    warnings.simplefilter("ignore", ResourceWarning)
    orders = Orders.read(json.loads(sys.stdin.readline()))
    try:
        photos = PhotoStock.load(orders.photos)
    except PhotosError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    # the photos and the library stay: a search for cycles among them, in the middle of the run, would make calls late
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AT, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(orders, photos, sys.stdin, sys.stdout))
    return 0


if __name__ == "__main__":
    sys.exit(main())
