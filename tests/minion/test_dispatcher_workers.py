"""The dispatcher with several workers, and with one that relieves another."""

from __future__ import annotations

from typing import cast

import pytest

from minion.state import State
from minion.worker_process import Loaded, WorkerLost, WorkerProcess
from tests.minion.dispatcher_rig import FakeWorker, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    return Rig()


def add(rig: Rig) -> FakeWorker:
    """One more worker is ready."""
    worker = FakeWorker()
    rig.dispatcher.worker_ready(cast(WorkerProcess, worker), Loaded(0.5, ()))
    return worker


def lose(rig: Rig, worker: FakeWorker) -> None:
    lost = WorkerLost("crashed", "the worker died")
    rig.dispatcher.worker_lost(lost, True, rig.now + 1.0, cast(WorkerProcess, worker))


async def test_two_workers_take_batches_from_one_queue(rig: Rig) -> None:
    workers = [add(rig), add(rig)]
    rig.asked(6)
    await turn()
    assert [len(worker.batches[0][1]) for worker in workers] == [4, 2]


async def test_while_one_worker_is_free_nobody_is_said_to_wait(rig: Rig) -> None:
    add(rig), add(rig)
    rig.curve.seed(((1, 0.1), (4, 0.1)))
    rig.asked(4)
    await turn()
    assert rig.dispatcher.load()["expected_wait_ms"] == 0
    rig.asked(4)
    await turn()
    assert rig.dispatcher.load()["expected_wait_ms"] == pytest.approx(100)


async def test_the_loss_of_one_of_two_fails_its_batch_only_and_the_minion_stays_ready(rig: Rig) -> None:
    dying, living = add(rig), add(rig)
    lost, kept = rig.asked(4), rig.asked(2)
    await turn()
    lose(rig, dying)
    assert {outcome["error"]["code"] for outcome in rig.answers[lost.key][0]} == {"not_ready"}
    assert rig.life.state is State.BUSY
    rig.worker = living
    rig.finish()
    assert rig.answers[kept.key][0] == [{"ok": kept.key}] * 2
    assert rig.life.state is State.READY
    lose(rig, living)
    assert rig.life.state is State.STARTING


async def test_a_relieved_worker_finishes_its_batch_and_gets_no_other(rig: Rig) -> None:
    old = add(rig)
    running = rig.asked(4)
    await turn()
    waiting = rig.asked(2)
    fresh = add(rig)
    relieved = rig.dispatcher.worker_relieved(cast(WorkerProcess, old))
    await turn()
    assert len(fresh.batches) == 1
    assert not relieved.done()
    rig.worker = old
    rig.finish()
    assert relieved.done()
    assert rig.answers[running.key][0] == [{"ok": running.key}] * 4
    rig.worker = fresh
    rig.finish()
    assert rig.answers[waiting.key][0] == [{"ok": waiting.key}] * 2
    assert len(old.batches) == 1
    assert rig.value("worker_restarts_total", reason="leak") == 1
    assert rig.life.state is State.READY


async def test_a_relieved_worker_without_a_batch_may_go_at_once(rig: Rig) -> None:
    old = add(rig)
    add(rig)
    assert rig.dispatcher.worker_relieved(cast(WorkerProcess, old)).done()


async def test_a_relieved_worker_that_dies_over_its_last_batch_has_it_answered(rig: Rig) -> None:
    old = add(rig)
    running = rig.asked()
    await turn()
    add(rig)
    rig.dispatcher.worker_relieved(cast(WorkerProcess, old))
    lose(rig, old)
    assert rig.answers[running.key][0][0]["error"]["code"] == "not_ready"
    assert rig.life.state is State.READY
