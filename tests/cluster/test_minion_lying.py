"""A real minion as it comes, one batch in flight: what lies at its worker behind a batch that overruns."""

from __future__ import annotations

import asyncio

from tests.cluster.running_minion import RunningMinion, eventually, running_minion

SLOW = 255
"""Makes the sleepy toy take a second for a batch that is predicted to take 20 ms."""


async def test_of_a_full_batch_that_lies_ready_only_items_whose_deadline_has_not_passed_run() -> None:
    async with running_minion("sleepy") as minion:
        slow = asyncio.ensure_future(minion.infer(SLOW))
        await minion.until("busy")
        late = [asyncio.ensure_future(minion.infer(n, remaining_ms=300)) for n in range(1, 6)]
        kept = [asyncio.ensure_future(minion.infer(n)) for n in range(6, 9)]
        for answer, outcomes in await asyncio.gather(*late):
            assert outcomes[0]["error"]["code"] == "deadline_exceeded"
            assert answer["timing"]["batch_size"] == 0
        assert not slow.done()
        answers = await asyncio.gather(*kept)
        assert [outcomes for _, outcomes in answers] == [[{"ok": n}] for n in range(6, 9)]
        assert {answer["timing"]["batch_size"] for answer, _ in answers} == {3}
        assert await minion.metric("crema_batch_size_sum") == 1 + 3
        assert await minion.metric("crema_dropped_total", reason="expired") == 5


async def test_of_a_full_batch_that_lies_ready_only_items_whose_caller_still_waits_run() -> None:
    async with running_minion("sleepy") as minion:
        slow = asyncio.ensure_future(minion.infer(SLOW))
        await minion.until("busy")
        gone = [asyncio.ensure_future(minion.infer(n)) for n in range(1, 6)]
        kept = [asyncio.ensure_future(minion.infer(n)) for n in range(6, 9)]
        await eventually(lambda: is_pending(minion, 9))
        await asyncio.sleep(0.1)  # well after the predicted end: the batch lies at the worker
        for call in gone:
            call.cancel()
        await eventually(lambda: is_pending(minion, 4))
        await slow
        answers = await asyncio.gather(*kept)
        assert [outcomes for _, outcomes in answers] == [[{"ok": n}] for n in range(6, 9)]
        assert await minion.metric("crema_batch_size_sum") == 1 + 3
        assert await minion.metric("crema_dropped_total", reason="abandoned") == 5


async def is_pending(minion: RunningMinion, places: int) -> bool:
    return await minion.metric("crema_pending") == places
