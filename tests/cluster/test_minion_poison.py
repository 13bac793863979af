"""A real minion and items that misbehave: they fail alone, and what they break is repaired."""

from __future__ import annotations

import asyncio
import time

from tests.cluster.running_minion import RunningMinion, eventually, running_minion

RAISE, HANG, SPIN, SEGFAULT, NO_MEMORY, BROKEN_DEVICE, SLEEP, NAN, CROWDED = (
    255,
    254,
    253,
    252,
    250,
    249,
    248,
    245,
    243,
)


async def test_only_the_item_that_raises_errs_and_its_mates_are_answered_as_if_alone() -> None:
    async with running_minion("chaos") as minion:
        header, outcomes = await minion.infer(1, 2, 3, RAISE, 5, 6, 7, 8)
        assert header["status"] == 200
        assert [each.get("ok") for each in outcomes] == [1, 2, 3, None, 5, 6, 7, 8]
        assert outcomes[3]["error"]["code"] == "model_failed"
        assert "/a/path" not in str(outcomes)
        # one of eight, and no more than 2·log2(8) + 1 further runs
        assert await minion.metric("crema_batch_seconds_count") <= 1 + 7
        assert await minion.metric("crema_batch_splits_total") == 1
        failed = next(event for event in minion.log if event["event"] == "batch_failed")
        assert "in predict" in failed["traceback"]
        before = await minion.metric("crema_batch_seconds_count")
        # seen again, it runs alone at once and its mates are not split
        _, outcomes = await minion.infer(1, RAISE, 3)
        assert [each.get("ok") for each in outcomes] == [1, None, 3]
        assert await minion.metric("crema_batch_seconds_count") == before + 2
        assert await minion.metric("crema_batch_splits_total") == 1


async def test_an_item_that_kills_the_worker_twice_is_quarantined_and_its_mate_is_not() -> None:
    async with running_minion("chaos") as minion:
        _, outcomes = await minion.infer(SEGFAULT, 7)
        assert [each["error"]["code"] for each in outcomes] == ["not_ready"] * 2
        await minion.until("ready")
        _, outcomes = await minion.infer(SEGFAULT, 7, remaining_ms=20_000)
        assert outcomes[0]["error"]["code"] == "item_quarantined", "it is not to be tried on a third"
        assert outcomes[1] == {"ok": 7}
        await minion.until("ready")
        _, outcomes = await minion.infer(SEGFAULT, 7)
        assert outcomes[0]["error"]["code"] == "item_quarantined"
        assert outcomes[0]["error"]["retryable"] is False
        assert outcomes[1] == {"ok": 7}
        assert await minion.metric("crema_worker_restarts_total", reason="crashed") == 2
        assert await minion.metric("crema_dropped_total", reason="quarantined") == 1
        assert await minion.metric("crema_pending") == 0


async def test_a_worker_that_hangs_is_killed_at_the_bound_and_the_log_says_where_it_hung() -> None:
    async with running_minion("chaos") as minion:
        began = time.monotonic()
        hanging = asyncio.ensure_future(minion.infer(HANG))
        await minion.until("busy")
        waiting = asyncio.ensure_future(minion.infer(7, remaining_ms=20_000))
        _, outcomes = await hanging
        assert 1.0 <= time.monotonic() - began <= 1.0 + 3.0
        assert (outcomes[0]["error"]["code"], outcomes[0]["error"]["retryable"]) == ("not_ready", True)
        assert (await waiting)[1] == [{"ok": 7}]
        assert await minion.metric("crema_worker_restarts_total", reason="watchdog") == 1
        lost = next(event for event in minion.log if event["event"] == "worker_lost")
        assert lost["problem"].startswith("the worker hangs: a batch had not ended after 1.")
        assert "in _hang" in lost["problem"]


async def test_a_worker_that_spins_and_holds_the_interpreter_is_killed_just_the_same() -> None:
    async with running_minion("chaos") as minion:
        _, outcomes = await minion.infer(SPIN)
        assert outcomes[0]["error"]["code"] == "not_ready"
        await minion.until("ready")
        assert await minion.metric("crema_worker_restarts_total", reason="watchdog") == 1


async def test_a_batch_that_is_slow_but_ends_within_the_bound_is_left_alone() -> None:
    async with running_minion("chaos") as minion:
        assert (await minion.infer(SLEEP))[1] == [{"ok": SLEEP}]
        assert (await minion.readiness())[1]["restarts"] == 0


async def test_a_batch_without_memory_is_halved_and_the_next_ones_are_smaller_from_the_start() -> None:
    async with running_minion("chaos") as minion:
        _, outcomes = await minion.infer(*[CROWDED] * 8)
        assert outcomes == [{"ok": CROWDED}] * 8
        assert await minion.metric("crema_batch_seconds_count") == 1 + 2
        _, outcomes = await minion.infer(*[CROWDED] * 8)
        assert outcomes == [{"ok": CROWDED}] * 8
        assert await minion.metric("crema_batch_seconds_count") == 3 + 2
        assert (await minion.readiness())[1]["restarts"] == 0


async def test_an_item_that_finds_no_memory_alone_errs_alone_and_the_process_lives() -> None:
    async with running_minion("chaos") as minion:
        _, outcomes = await minion.infer(1, 2, 3, 4, 5, NO_MEMORY, 7, 8)
        assert [each.get("ok") for each in outcomes] == [1, 2, 3, 4, 5, None, 7, 8]
        assert outcomes[5]["error"]["code"] == "model_failed"
        assert "OutOfMemoryError" in outcomes[5]["error"]["message"]
        assert await minion.metric("crema_batch_seconds_count") <= 1 + 7
        assert (await minion.readiness())[1]["restarts"] == 0


async def test_after_an_error_that_sticks_to_the_device_the_process_is_replaced() -> None:
    async with running_minion("chaos") as minion:
        before = await minion.worker_pid()
        _, outcomes = await asyncio.wait_for(minion.infer(BROKEN_DEVICE, 7), 2.0)
        assert [each["error"]["code"] for each in outcomes] == ["not_ready"] * 2
        await eventually(lambda: has_another_worker(minion, before))
        assert (await minion.infer(7))[1] == [{"ok": 7}]
        assert await minion.metric("crema_worker_restarts_total", reason="cuda") == 1
        lost = next(event for event in minion.log if event["event"] == "worker_lost")
        assert lost["problem"].startswith("the device failed: RuntimeError: CUDA error: device-side assert")


async def has_another_worker(minion: RunningMinion, pid: int) -> bool:
    _, body = await minion.readiness()
    return bool(body["ready"]) and body["workers"][0]["pid"] != pid


async def test_nan_is_that_item_s_error_and_its_mates_are_untouched() -> None:
    async with running_minion("chaos") as minion:
        _, outcomes = await minion.infer(1, NAN, 3)
        assert outcomes[1]["error"]["code"] == "model_output_invalid"
        assert [outcomes[0], outcomes[2]] == [{"ok": 1}, {"ok": 3}]
        assert await minion.metric("crema_batch_seconds_count") == 1
