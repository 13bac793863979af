"""Heavy images in a pool with real processes: what they leave to others, and when a process gives way."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from PIL import Image

from crema.host.turns import LONG_S, slice_s
from crema.session import niceness
from preprocessor.link import HEAVY_NICENESS
from tests.preprocessor import image_files as f
from tests.preprocessor.pools import decoded, job, pids, running, states, until

pytestmark = pytest.mark.cluster


async def test_heavy_images_leave_half_of_the_processes_to_others() -> None:
    async with running(2) as (pool, _):
        for _ in range(5):
            await decoded(pool, f.jpeg())
        large = f.png(Image.new("RGB", (6000, 6000)))
        heavy = [job(large) for _ in range(2)]
        for each, _ in heavy:
            pool.submit(each)
        light = await decoded(pool, f.jpeg())
        assert light.error is None
        assert [each.started_at is not None for each, _ in heavy] == [True, False]
        for each, over in heavy:
            async with asyncio.timeout(10):
                assert (await over).error is None, each.error


async def test_the_session_of_a_process_gives_way_while_it_decodes_a_heavy_image() -> None:
    """The niceness of the thread that decodes means nothing to other sessions."""
    async with running(1) as (pool, _):
        (pid,) = pids(pool)
        if niceness(pid) is None:
            pytest.skip("Linux does not group processes by session here")
        for _ in range(5):
            await decoded(pool, f.jpeg())
        assert niceness(pid) == 0
        one, over = job(f.png(Image.new("RGB", (6000, 6000))))
        pool.submit(one)
        assert niceness(pid) == HEAVY_NICENESS
        async with asyncio.timeout(20):
            assert (await over).error is None
            # who has no rights may change it ten times a second
            while niceness(pid) != 0:
                assert (await decoded(pool, f.jpeg())).error is None


def gives_way(pid: int) -> bool:
    """By its session or by its turns, as far as this machine has either."""
    if niceness(pid) is None and slice_s(pid) is None:
        pytest.skip("Linux neither groups processes by session here nor gives threads a slice of their own")
    return niceness(pid) == HEAVY_NICENESS or slice_s(pid) == LONG_S


async def test_an_image_that_was_not_expected_to_be_heavy_gives_way_once_it_is() -> None:
    async with running(1) as (pool, _):
        (pid,) = pids(pool)
        await decoded(pool, f.jpeg())
        assert not gives_way(pid)
        odd = await decoded(pool, f.png_after_header(f.png(), f.chunk(b"tEXt", b"k\x00v") * 200_000))
        assert odd.error is None and not odd.is_heavy
        assert gives_way(pid)
        async with asyncio.timeout(20):
            while gives_way(pid):
                assert (await decoded(pool, f.jpeg())).error is None


async def test_a_process_that_replaces_another_starts_gently_and_is_as_urgent_as_that_was() -> None:
    async with running(2) as (pool, _):
        assert not any(map(gives_way, pids(pool)))
        killed = min(pids(pool))
        os.kill(killed, signal.SIGKILL)
        await until(
            lambda: killed not in pids(pool) and len(pids(pool)) == 2, "the killed process is replaced"
        )
        assert gives_way(max(pids(pool)))
        await until(lambda: states(pool) == ["ready"] * 2, "it is ready")
        async with asyncio.timeout(20):
            while any(map(gives_way, pids(pool))):
                pair = [job(f.jpeg()) for _ in range(2)]
                for each, _ in pair:
                    pool.submit(each)
                for _, over in pair:
                    assert (await over).error is None


async def test_a_heavy_image_does_not_take_the_last_process_while_another_starts() -> None:
    async with running(2) as (pool, _):
        for _ in range(5):
            await decoded(pool, f.jpeg())
        large = f.png(Image.new("RGB", (6000, 6000)))
        os.kill(min(pids(pool)), signal.SIGKILL)
        await until(lambda: sorted(states(pool)) == ["ready", "starting"], "the killed process is replaced")
        heavy, heavy_over = job(large)
        light, light_over = job(f.jpeg())
        for each in (heavy, light):
            pool.submit(each)
        assert (heavy.started_at, light.started_at is not None) == (None, True)
        async with asyncio.timeout(10):
            assert (await light_over).error is None
            assert (await heavy_over).error is None


async def test_a_heavy_image_waits_for_no_process_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(2) as (pool, counted):
        for _ in range(5):
            await decoded(pool, f.jpeg())
        monkeypatch.setattr("preprocessor.decoder_process.sys.executable", "/bin/false")
        os.kill(min(pids(pool)), signal.SIGKILL)
        await until(lambda: pool.last_failure is not None, "its successor does not start")
        heavy, over = job(f.png(Image.new("RGB", (6000, 6000))))
        pool.submit(heavy)
        async with asyncio.timeout(10):
            assert (await over).error is None
        assert "start" in counted.replaced
