"""A real minion with two workers on one queue."""

from __future__ import annotations

import os
import signal

from tests.cluster.running_minion import RunningMinion, eventually, running_minion


async def two_are_ready(minion: RunningMinion) -> list[int]:
    """The pids of its workers, once both are ready."""
    _, body = await minion.readiness()
    pids = [each["pid"] for each in body["workers"] if each["state"] == "ready"]
    return pids if len(pids) == 2 else []


async def has_restarted(minion: RunningMinion) -> bool:
    return bool((await minion.readiness())[1]["restarts"] == 1)


async def test_two_workers_share_one_queue_and_the_cores() -> None:
    async with running_minion("pair") as minion:
        pids = await eventually(lambda: two_are_ready(minion))
        _, outcomes = await minion.infer(*range(6))
        assert {each["ok"]["pid"] for each in outcomes} == set(pids)
        assert {each["ok"]["threads"] for each in outcomes} == {max(1, len(os.sched_getaffinity(0)) // 2)}


async def test_while_one_worker_is_replaced_the_other_serves() -> None:
    async with running_minion("pair") as minion:
        first, second = await eventually(lambda: two_are_ready(minion))
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: has_restarted(minion))
        for number in range(3):
            status, _ = await minion.readiness()
            assert status == 200
            _, outcomes = await minion.infer(number)
            assert outcomes[0]["ok"]["pid"] != first
        pids = await eventually(lambda: two_are_ready(minion))
        assert second in pids
        assert first not in pids
        assert (await minion.readiness())[1]["restarts"] == 1


async def test_an_item_that_kills_its_worker_harms_nothing_that_the_other_runs() -> None:
    async with running_minion("pair") as minion:
        await eventually(lambda: two_are_ready(minion))
        _, outcomes = await minion.infer(255, 1, 2, 3)
        assert outcomes[0]["error"]["code"] == "not_ready"
        assert all("ok" in each for each in outcomes[1:])
