"""Quick images are decoded together, and each is answered as if it had been alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.decoder_process import DecoderProcess
from preprocessor.pool import QUICK_BYTES, TOGETHER, Job, Pool
from preprocessor.spec import Spec
from tests.preprocessor import image_files as f
from tests.preprocessor.pools import PATIENCE_S, decoded, job, pids, running, states, until

pytestmark = pytest.mark.cluster


@contextmanager
def stopped(pool: Pool) -> Iterator[None]:
    """While its processes do nothing."""
    for pid in pids(pool):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids(pool):
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were handed over together, each time that it was more than one."""
    sizes: list[int] = []
    run_all = DecoderProcess.run_all

    def counted(self: DecoderProcess, images: Sequence[Any]) -> None:
        sizes.append(len(images))
        run_all(self, images)

    monkeypatch.setattr(DecoderProcess, "run_all", counted)
    return sizes


async def submitted(pool: Pool, images: Sequence[bytes], *specs: Spec) -> list[asyncio.Future[Job]]:
    """They wait behind an image that is being decoded; all but that are quick."""
    futures = []
    for image in (f.jpeg(), *images):
        one, over = job(image, *specs)
        one.work = 0.25
        pool.submit(one)
        futures.append(over)
    return futures[1:]


async def ended(futures: Sequence[asyncio.Future[Job]]) -> list[Job]:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*futures)


async def test_they_get_the_pixels_that_they_would_have_got_alone(handed: list[int]) -> None:
    images = [f.jpeg(f.noisy(40 + n, 30)) for n in range(2 * TOGETHER)]
    specs = [Spec(64, 48), Spec(20, 30, "contain", "lanczos")]
    async with running(1) as (pool, _):
        with stopped(pool):
            futures = await submitted(pool, images, *specs)
        done = await ended(futures)
    assert handed == [TOGETHER, TOGETHER]
    for image, one in zip(images, done, strict=True):
        here = decode(image, specs, Profiles())
        assert bytes(one.pixels) == b"".join(tensor.data for tensor in here.tensors)
        assert one.answer is not None and one.answer["image"]["bytes"] == len(image)


async def test_one_that_is_damaged_is_refused_alone(handed: list[int]) -> None:
    images = [f.jpeg(), f.jpeg()[:-200], f.jpeg()]
    async with running(1) as (pool, counted):
        with stopped(pool):
            futures = await submitted(pool, images)
        done = await ended(futures)
        assert counted.replaced == []
    assert handed == [3]
    assert [one.error and one.error.code for one in done] == [None, "undecodable_image", None]


async def test_idle_processes_share_them(handed: list[int]) -> None:
    async with running(2) as (pool, _):
        with stopped(pool):
            # as if they had come while both were busy
            jobs = [job(f.jpeg()) for _ in range(6)]
            for one, _ in jobs[:-1]:
                one.is_quick = True
                pool._waiting.join(one)
            pool.submit(jobs[-1][0])
            assert handed == [3, 3]
        assert [one.error for one in await ended([over for _, over in jobs])] == [None] * 6


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_who_takes_long_makes_nobody_wait(handed: list[int], place: int) -> None:
    slow = f.many_scans(2000, 2000, 250)
    assert len(slow) <= QUICK_BYTES
    images = [f.jpeg()] * 2
    images.insert(place, slow)
    async with running(2) as (pool, counted):
        for _ in range(3):
            await decoded(pool, f.jpeg())
        with stopped(pool):
            # both are busy; the first that is free gets all that wait
            busy, over = job(f.jpeg())
            pool.submit(busy)
            futures = await submitted(pool, images)
        others = [each for index, each in enumerate(futures) if index != place]
        assert [one.error for one in await ended(others)] == [None, None]
        assert not futures[place].done(), "they did not wait for it"
        assert [one.error for one in await ended([futures[place], over])] == [None, None]
        assert handed == [3]
        assert counted.replaced == []


async def test_of_a_process_that_dies_the_image_in_hand_is_answered_for(handed: list[int]) -> None:
    async with running(1) as (pool, counted):
        [pid] = pids(pool)
        with stopped(pool):
            jobs = [job(f.jpeg()) for _ in range(4)]
            for one, _ in jobs:
                one.work = 0.25
            # as if they had waited while the process was busy
            for one, _ in jobs[1:]:
                one.is_quick = True
                pool._waiting.join(one)
            pool.submit(jobs[0][0])
            assert states(pool) == ["busy"] and handed == [4]
            os.kill(pid, signal.SIGKILL)
            first, *others = await ended([over for _, over in jobs])
        await until(lambda: states(pool) == ["ready"], "replaced")
        assert counted.replaced == ["died"]
    # the first of those that waited had come before the one that was submitted last
    assert [one.error is not None for one in (*others, first)] == [True, False, False, False]


async def test_large_ones_and_heavy_ones_are_decoded_alone(handed: list[int]) -> None:
    large = f.png_after_header(f.png(), f.chunk(b"tEXt", bytes(QUICK_BYTES)))
    async with running(1) as (pool, _):
        with stopped(pool):
            futures = await submitted(pool, [large, f.jpeg(), large, f.jpeg()])
        assert [one.error for one in await ended(futures)] == [None] * 4
    assert handed == []


async def test_who_leaves_or_is_late_leaves_the_others_their_answers(handed: list[int]) -> None:
    async with running(1) as (pool, counted):
        with stopped(pool):
            futures = await submitted(pool, [f.jpeg()])
            leaver, _ = job(f.jpeg())
            late, over = job(f.jpeg(), deadline_s=0.05)
            for one in (leaver, late):
                one.work = 0.25
                pool.submit(one)
            assert (await ended([over]))[0].error is not None
            pool.abandon(leaver)
        assert [one.error for one in await ended(futures)] == [None]
        assert counted.dropped == ["expired", "abandoned"]
        assert counted.replaced == []


async def test_nobody_waits_for_a_process_that_stands_still(handed: list[int]) -> None:
    async with running(2) as (pool, counted):
        stands, works = sorted(pids(pool))
        with stopped(pool):
            jobs = [job(f.jpeg()) for _ in range(6)]
            for one, _ in jobs[:-1]:
                one.is_quick = True
                pool._waiting.join(one)
            pool.submit(jobs[-1][0])
            assert handed == [3, 3]
            os.kill(works, signal.SIGCONT)
            # all but the one that the stopped process has in hand
            overs = [over for _, over in jobs]
            async with asyncio.timeout(5):
                while sum(over.done() for over in overs) < 5:
                    await asyncio.sleep(0.01)
            assert states(pool).count("busy") == 1
        assert [one.error for one in await ended(overs)] == [None] * 6
        assert counted.replaced == [] and stands in pids(pool)
