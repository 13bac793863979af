"""The dispatcher with two batches at a worker: the second is handed over just before the first ends."""

from __future__ import annotations

import asyncio

import pytest

from minion.state import State
from tests.minion.dispatcher_rig import RAISED, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    """Its worker is known to take 20 ms for any batch."""
    rig = Rig(in_flight=2)
    rig.ready(curve=((1, 0.02), (4, 0.02)))
    return rig


async def until(rig: Rig, batches: int) -> None:
    """Wait, bounded, until the worker was handed this many batches; the rig's clock stands still meanwhile."""
    async with asyncio.timeout(5):
        while len(rig.worker.batches) < batches:
            await asyncio.sleep(0.002)


async def test_the_second_batch_is_not_handed_over_when_the_first_begins(rig: Rig) -> None:
    rig.asked()
    await turn()
    rig.asked()
    await turn()
    assert len(rig.worker.batches) == 1


async def test_it_is_handed_over_at_the_predicted_end_with_whatever_has_come_by_then(rig: Rig) -> None:
    rig.asked()
    await turn()
    rig.asked()
    await turn()
    rig.now += 0.02
    rig.asked()
    await until(rig, 2)
    assert len(rig.worker.batches[1][1]) == 2
    assert rig.life.state is State.BUSY


async def both(rig: Rig) -> None:
    """Two batches are at the worker."""
    rig.asked()
    await turn()
    rig.asked()
    rig.now += 0.02
    await until(rig, 2)


async def test_there_is_never_a_third(rig: Rig) -> None:
    await both(rig)
    rig.asked()
    rig.now += 1.0
    await turn()
    assert len(rig.worker.batches) == 2


async def test_answers_go_to_whose_batch_it_was_and_the_minion_is_busy_until_the_last(rig: Rig) -> None:
    await both(rig)
    rig.finish(0.0, batch=0)
    assert (rig.answers[1][0], 2 in rig.answers) == ([{"ok": 1}], False)
    assert rig.life.state is State.BUSY
    rig.finish(0.02, batch=1)
    assert rig.answers[2][0] == [{"ok": 2}]
    assert rig.life.state is State.READY
    assert rig.gate.pending == 0


async def test_a_batch_costs_what_it_took_from_when_the_worker_could_begin_it(rig: Rig) -> None:
    await both(rig)
    rig.finish(0.03, batch=0)
    rig.finish(0.02, batch=1)
    assert rig.value("batch_seconds_sum") == pytest.approx(0.05 + 0.02)


async def test_when_the_worker_dies_only_the_batch_that_ran_is_lost(rig: Rig) -> None:
    await both(rig)
    rig.lose(ready_in=0.1)
    assert rig.answers[1][0][0]["error"]["code"] == "not_ready"
    assert 2 not in rig.answers
    rig.ready()
    await turn()
    rig.finish()
    assert rig.answers[2][0] == [{"ok": 2}]


async def test_a_batch_that_raises_is_split_behind_the_one_that_lies_ready(rig: Rig) -> None:
    rig.asked(2)
    await turn()
    rig.asked()
    rig.now += 0.02
    await until(rig, 2)
    rig.finish(0.0, batch=0, **RAISED)
    rig.finish(0.02, batch=1)
    assert rig.answers[2][0] == [{"ok": 2}]
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [2, 1, 1]


async def test_at_the_end_of_a_drain_both_are_sent_back(rig: Rig) -> None:
    await both(rig)
    rig.dispatcher.give_up()
    assert [rig.answers[key][0][0]["error"]["code"] for key in (1, 2)] == ["not_ready"] * 2
    assert rig.gate.pending == 0
