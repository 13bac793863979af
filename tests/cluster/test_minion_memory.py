"""A real minion and memory: a leaking worker is relieved between batches and nobody notices; nothing else ever grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.memory_growth import DRIP, MOST_MB, PLAIN, SMALL, WIDE, growth_mb
from benchmarks.wide_package import ITEM_BYTES, write_wide_package
from tests.cluster.running_minion import running_minion

LEAK = 244


async def test_a_leaking_worker_is_relieved_without_a_single_request_failing() -> None:
    async with running_minion("chaos") as minion:
        first = await minion.worker_pid()
        body = (await minion.readiness())[1]
        # 16 MiB each, 300 MB allowed: bounded, and slower than the fresh worker loads
        for _ in range(100):
            answers = await asyncio.gather(minion.infer(LEAK), *(minion.infer(number) for number in range(8)))
            assert [outcomes[0].get("ok") for _, outcomes in answers] == [LEAK, *range(8)]
            body = (await minion.readiness())[1]
            assert body["ready"]
            if body["restarts"]:
                break
            await asyncio.sleep(0.05)
        assert body["restarts"] == 1
        assert await minion.worker_pid() != first
        assert await minion.metric("crema_worker_restarts_total", reason="leak") == 1
        assert await minion.metric("crema_dropped_total") == 0
        assert await minion.metric("crema_requests_total", code="503") == 0


async def test_a_model_that_does_not_leak_keeps_its_worker() -> None:
    async with running_minion("chaos") as minion:
        first = await minion.worker_pid()
        for _ in range(10):
            await asyncio.gather(*(minion.infer(number) for number in range(8)))
            await asyncio.sleep(0.1)
        assert await minion.worker_pid() == first


# -- what many requests leave behind (F25) -----------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_hundred_thousand_requests_leave_less_than_fifty_megabytes_behind_and_a_leak_shows() -> None:
    pixels = bytes([PLAIN]) + bytes(127)
    host, worker = await growth_mb("chaos", 100_000, SMALL, pixels, wrong=20)
    assert host + worker <= MOST_MB
    # the negative control: the very same check catches a model that keeps 1 KB of each
    host, worker = await growth_mb("chaos", 100_000, SMALL, bytes([DRIP]) + bytes(127))
    assert worker > MOST_MB
    assert host <= MOST_MB


@pytest.mark.slow
async def test_ten_thousand_large_tensors_leave_less_than_fifty_megabytes_behind(tmp_path: Path) -> None:
    # a path from the root replaces the toys' folder
    toy = str(write_wide_package(tmp_path).parent)
    pixels = bytes([PLAIN]) + bytes(ITEM_BYTES - 1)
    host, worker = await growth_mb(toy, 10_000, WIDE, pixels, warm_up=1000)
    assert host + worker <= MOST_MB
