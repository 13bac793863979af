"""A real minion that runs two batches at once at its worker, on a GPU that is only imagined."""

from __future__ import annotations

import asyncio

from tests.cluster.running_minion import RunningMinion, running_minion

GPU = ("--device", "cuda:0")
MEET, RAISE, EXIT, HANG, DEVICE = 255, 253, 252, 251, 250
MAX_SIZE = 4


def values(outcomes: list[dict[str, dict[str, int]]]) -> list[int]:
    return [each["ok"]["value"] for each in outcomes]


async def two_batches(
    minion: RunningMinion, first: list[int], second: list[int]
) -> list[list[dict[str, dict[str, int]]]]:
    """Two full batches, sent together; the outcomes of each."""
    answers = await asyncio.gather(minion.infer(*first), minion.infer(*second))
    return [outcomes for _, outcomes in answers]


async def test_two_full_batches_run_at_once_on_two_streams() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        first, second = await two_batches(minion, [MEET, 1, 2, 3], [MEET, 4, 5, 6])
        assert values(first) + values(second) == [MEET, 1, 2, 3, MEET, 4, 5, 6]
        assert len({each["ok"]["stream"] for each in first + second}) == 2


async def test_every_answer_is_its_own_however_many_batches_overlap() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        calls = [[number % 200] * MAX_SIZE for number in range(60)]
        for begin in range(0, len(calls), 12):
            some = calls[begin : begin + 12]
            answers = await asyncio.gather(*(minion.infer(*call) for call in some))
            assert [values(outcomes) for _, outcomes in answers] == some
        assert await minion.metric("crema_pending") == 0


async def test_a_guilty_item_fails_alone_and_the_batch_beside_it_is_not_touched() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        first, second = await two_batches(minion, [1, RAISE, 2, 3], [4, 5, 6, 7])
        assert [each.get("ok", {}).get("value") for each in first] == [1, None, 2, 3]
        assert values(second) == [4, 5, 6, 7]


async def test_of_a_worker_that_dies_both_batches_are_answered_at_once_and_the_next_one_serves() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        async with asyncio.timeout(5):
            first, second = await two_batches(minion, [MEET, EXIT, 1, 1], [MEET, 2, 2, 2])
        assert {each["error"]["code"] for each in first + second} == {"not_ready"}
        assert all(each["error"]["retryable"] for each in first + second)
        await minion.until("ready")
        assert values((await minion.infer(9))[1]) == [9]


async def test_a_batch_that_hangs_beside_another_is_found_by_the_watchdog() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        first, _ = await two_batches(minion, [MEET, HANG, 1, 1], [MEET, 2, 2, 2])
        assert {each["error"]["code"] for each in first} == {"not_ready"}
        assert await minion.metric("crema_worker_restarts_total", reason="watchdog") == 1
        await minion.until("ready")


async def test_a_device_that_is_broken_for_good_costs_the_worker() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        await minion.infer(DEVICE)
        assert await minion.metric("crema_worker_restarts_total", reason="cuda") == 1
        await minion.until("ready")


async def test_the_memory_of_the_gpu_is_in_the_metrics() -> None:
    async with running_minion("overlapping", *GPU) as minion:
        gib = 2**30
        for kind, amount in {"reserved": 1, "used": 3, "total": 8}.items():
            assert await minion.metric("crema_gpu_memory_bytes", kind=kind) == amount * gib


async def test_on_a_cpu_the_same_model_takes_one_batch_after_the_other() -> None:
    async with running_minion("overlapping") as minion:
        first, second = await two_batches(minion, [1, 2, 3, 4], [5, 6, 7, 8])
        assert {each["ok"]["stream"] for each in first + second} == {0}
        assert await minion.metric("crema_gpu_memory_bytes") == 0
