"""A real minion whose model leaks: its worker is relieved between batches, and nobody notices."""

from __future__ import annotations

import asyncio

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
