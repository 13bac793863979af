"""Several photos on their way at once, answers in the order of the photos or as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from crema.cli.api import Api, Reply
from crema.cli.send import send


def sent(
    api: Api, photos: Iterable[Path], in_flight: int, tries: int, *, in_order: bool = True
) -> Iterator[tuple[Path, Reply]]:
    """Sends `photos`, at most `in_flight` at once, and yields each with its last reply.

    Photos are read only when their turn comes. Leaving the loop early waits for those on their way and sends no more,
    also not those that wait to be sent again.
    """
    executor = ThreadPoolExecutor(in_flight, thread_name_prefix="send")
    waiting: deque[tuple[Path, Future[Reply]]] = deque()
    leaving = threading.Event()
    try:
        for photo in photos:
            waiting.append((photo, executor.submit(send, api, photo, tries=tries, wait=leaving.wait)))
            if len(waiting) >= in_flight:
                yield from _finished(waiting, in_order)
        while waiting:
            yield from _finished(waiting, in_order)
    finally:
        leaving.set()
        executor.shutdown(wait=True, cancel_futures=True)


def _finished(waiting: deque[tuple[Path, Future[Reply]]], in_order: bool) -> list[tuple[Path, Reply]]:
    """Waits for at least one, and takes out what is done."""
    if in_order:
        photo, future = waiting.popleft()
        return [(photo, future.result())]
    wait([future for _, future in waiting], return_when=FIRST_COMPLETED)
    done = [(photo, future.result()) for photo, future in waiting if future.done()]
    left = [(photo, future) for photo, future in waiting if not future.done()]
    waiting.clear()
    waiting.extend(left)
    return done
