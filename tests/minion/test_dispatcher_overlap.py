"""The dispatcher with a worker that runs two batches at once."""

from __future__ import annotations

from typing import Any

import pytest

from minion.gpu_memory import GpuMemory
from tests.minion.dispatcher_rig import RAISED, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    """Its worker is known to take 20 ms for any batch."""
    rig = Rig(in_flight=2)
    rig.ready(curve=((1, 0.02), (4, 0.02)), overlaps=True)
    return rig


async def both(rig: Rig) -> None:
    """Two full batches are at the worker, of requests 1 and 2."""
    rig.asked(4)
    await turn()
    rig.asked(4)
    await turn()
    assert len(rig.worker.batches) == 2


async def test_a_full_batch_is_handed_over_while_the_first_runs(rig: Rig) -> None:
    await both(rig)


async def test_one_that_is_not_full_waits_for_who_may_still_join_it(rig: Rig) -> None:
    rig.asked(4)
    await turn()
    rig.asked(3)
    await turn()
    assert len(rig.worker.batches) == 1


async def test_what_completes_a_batch_sends_it_on_its_way(rig: Rig) -> None:
    rig.asked(4)
    await turn()
    rig.asked(3)
    await turn()
    rig.asked(1)
    await turn()
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [4, 4]


async def test_when_the_worker_dies_both_batches_are_answered_because_both_ran(rig: Rig) -> None:
    await both(rig)
    rig.lose()
    for key in (1, 2):
        assert {each["error"]["code"] for each in rig.answers[key][0]} == {"not_ready"}
    assert rig.gate.pending == 0


async def test_what_was_in_flight_in_two_deaths_is_quarantined_and_ran_alone_the_second_time(
    rig: Rig,
) -> None:
    await both(rig)
    rig.lose()
    for _ in range(2):
        rig.ready(curve=((1, 0.02), (4, 0.02)), overlaps=True)
        rig.ask_for(1)
        await turn()
        if rig.worker.batches:
            assert len(rig.worker.batches) == 1
            rig.lose()
    (outcome,) = rig.answers[4][0]
    assert outcome["error"]["code"] == "item_quarantined"


async def test_a_batch_that_raises_leaves_the_other_alone_and_is_split_when_both_have_ended(rig: Rig) -> None:
    await both(rig)
    rig.finish(0.02, batch=0, **RAISED)
    assert len(rig.worker.batches) == 2  # the halves run where nothing else does
    rig.finish(0.02, batch=1)
    assert rig.answers[2][0] == [{"ok": 2}] * 4
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [4, 4, 2]


async def test_the_second_batch_costs_what_it_took_beyond_the_first(rig: Rig) -> None:
    await both(rig)
    rig.finish(0.03, batch=0)
    rig.finish(0.01, batch=1)
    assert rig.value("batch_seconds_sum") == pytest.approx(0.03 + 0.01)


async def test_each_has_the_watchdog_s_time_from_when_it_is_the_first(rig: Rig) -> None:
    await both(rig)
    rig.finish(2.0, batch=0)
    assert rig.dispatcher._stations.running()[0].until >= rig.now + 3.0


# -- GPU memory --------------------------------------------------------------------------------------------------------


def figures(rig: Rig) -> list[float]:
    rig.dispatcher.refresh()
    return [rig.value("gpu_memory_bytes", kind=kind) for kind in GpuMemory._fields]


async def test_the_memory_of_a_gpu_is_shown_from_the_beginning() -> None:
    rig = Rig()
    rig.ready(gpu_memory=GpuMemory(1, 2, 3))
    assert figures(rig) == [1, 2, 3]


async def test_what_an_answer_says_of_the_gpu_replaces_it() -> None:
    rig = Rig()
    rig.ready(gpu_memory=GpuMemory(1, 2, 3))
    rig.asked()
    await turn()
    rig.finish(gpu_memory={"reserved": 10, "used": 20, "total": 30})
    assert figures(rig) == [10, 20, 30]


async def test_workers_on_one_gpu_reserve_together() -> None:
    rig = Rig()
    rig.ready(gpu_memory=GpuMemory(1, 20, 30))
    rig.ready(gpu_memory=GpuMemory(2, 21, 30))
    assert figures(rig) == [3, 21, 30]


async def test_a_minion_on_a_cpu_shows_no_memory_of_a_gpu() -> None:
    rig = Rig()
    rig.ready()
    rig.dispatcher.refresh()
    assert not [
        sample
        for metric in rig.metrics.registry.collect()
        for sample in metric.samples
        if "gpu" in sample.name
    ]


@pytest.mark.parametrize(
    "said", ["much", {}, {"reserved": 1, "used": 2}, {"reserved": 1.5, "used": 2, "total": -1}, [1, 2, 3]]
)
async def test_a_worker_that_says_nonsense_of_its_gpu_is_not_believed(said: Any) -> None:
    rig = Rig()
    rig.ready(gpu_memory=GpuMemory(1, 2, 3))
    rig.asked()
    await turn()
    rig.finish(gpu_memory=said)
    assert rig.answers[1][0] == [{"ok": 1}]
    assert rig.dispatcher._stations.gpu_memory() is None
