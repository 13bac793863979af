"""A real minion with two batches in flight at its worker."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.cluster.running_minion import eventually, running_minion


async def test_every_answer_is_its_own_with_a_batch_always_lying_ready() -> None:
    async with running_minion("ahead") as minion:
        answers = await asyncio.gather(*(minion.infer(*[number] * 5) for number in range(24)))
        assert [outcomes for _, outcomes in answers] == [[{"ok": number}] * 5 for number in range(24)]
        assert await minion.metric("crema_batch_size_sum") == 120


async def test_of_two_batches_at_a_worker_that_dies_only_the_one_that_ran_is_lost() -> None:
    async with running_minion("ahead") as minion:
        calls = [asyncio.ensure_future(minion.infer(number, remaining_ms=20_000)) for number in range(96)]

        async def has_begun() -> bool:
            return await minion.metric("crema_batch_seconds_count") >= 2

        await eventually(has_begun)
        os.kill(await minion.worker_pid(), signal.SIGKILL)
        lost = 0
        for number, (_, outcomes) in enumerate(await asyncio.gather(*calls)):
            if "error" in outcomes[0]:
                assert outcomes[0]["error"]["code"] == "not_ready"
                lost += 1
            else:
                assert outcomes == [{"ok": number}]
        assert lost <= 8
        assert await minion.metric("crema_pending") == 0


async def test_a_guilty_item_fails_alone_there_too() -> None:
    async with running_minion("ahead") as minion:
        answers = await asyncio.gather(minion.infer(1, 2, 255, 4), *(minion.infer(n) for n in range(16)))
        assert [each.get("ok") for each in answers[0][1]] == [1, 2, None, 4]
        assert [outcomes for _, outcomes in answers[1:]] == [[{"ok": n}] for n in range(16)]
