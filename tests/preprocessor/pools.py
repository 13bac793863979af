"""A decode pool under test: started, fed and always closed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from crema.names import OptionalFormat
from preprocessor.cost import work_of
from preprocessor.header import read_header
from preprocessor.order import order_of
from preprocessor.pool import Job, Pool
from preprocessor.spec import Spec

PATIENCE_S = 20.0
SMALL = Spec(64, 64)


class Counted:
    """What the pool told its watcher."""

    def __init__(self) -> None:
        self.replaced: list[str] = []
        self.dropped: list[str] = []

    def decoder_replaced(self, reason: str) -> None:
        self.replaced.append(reason)

    def job_dropped(self, reason: str) -> None:
        self.dropped.append(reason)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Poll, within a bound, until `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what


def states(pool: Pool) -> list[str]:
    return [decoder["state"] for decoder in pool.decoders]


def pids(pool: Pool) -> set[int]:
    return {decoder["pid"] for decoder in pool.decoders}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def running(workers: int = 1, **options: Any) -> AsyncIterator[tuple[Pool, Counted]]:
    """A pool whose processes are all ready, and what it tells."""
    counted = Counted()
    pool = Pool(workers, counted, **options)
    pool.start()
    try:
        await until(lambda: states(pool) == ["ready"] * workers, "all decoders ready")
        yield pool, counted
    finally:
        started = pids(pool)
        await pool.close()
        assert not any(is_alive(pid) for pid in started)


def job(
    image: bytes,
    *specs: Spec,
    deadline_s: float | None = None,
    formats: Sequence[OptionalFormat] = (),
) -> tuple[Job, asyncio.Future[Job]]:
    """A job and the future that its end fulfils."""
    over: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
    deadline = None if deadline_s is None else time.monotonic() + deadline_s
    wanted = order_of(specs or (SMALL,))
    work = work_of(read_header(image, formats))
    return Job(image, wanted, work, deadline, over.set_result), over


async def decoded(pool: Pool, image: bytes, *specs: Spec, deadline_s: float | None = None) -> Job:
    one, over = job(image, *specs, deadline_s=deadline_s)
    pool.submit(one)
    async with asyncio.timeout(PATIENCE_S):
        return await over
