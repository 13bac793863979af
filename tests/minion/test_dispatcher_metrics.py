"""What the metrics tell of a dispatcher."""

from __future__ import annotations

import pytest

from crema.errors import CremaError
from tests.minion.dispatcher_rig import PLACES, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_the_metrics_tell_what_happened(rig: Rig) -> None:
    rig.ready()
    rig.asked(3)
    await turn()
    rig.now += 0.1
    rig.finish(after_s=0.1)
    rig.dispatcher.refresh()
    assert rig.value("requests_total", code="200") == 1
    assert rig.value("batch_size_sum") == 3
    assert rig.value("batch_seconds_sum") == pytest.approx(0.2)
    assert rig.value("request_seconds_sum") == pytest.approx(0.2)
    assert rig.value("places") == PLACES
    assert rig.value("pending") == 0
    assert rig.value("ready") == 1
    assert rig.value("busy_ratio") == 1.0
    assert rig.value("model_load_seconds_sum") == 0.5


async def test_items_are_counted_by_lane_and_by_what_the_gate_decided(rig: Rig) -> None:
    rig.ready()
    rig.asked(3)
    rig.asked(1, lane="bulk")
    assert isinstance(rig.ask(PLACES), CremaError)
    counted = {
        (lane, decision): rig.value("items_total", lane=lane, decision=decision)
        for lane, decision in (("interactive", "accepted"), ("bulk", "accepted"), ("interactive", "full"))
    }
    assert counted == {
        ("interactive", "accepted"): 3,
        ("bulk", "accepted"): 1,
        ("interactive", "full"): PLACES,
    }


async def test_asking_whether_there_is_room_counts_no_item(rig: Rig) -> None:
    rig.ready()
    assert rig.dispatcher.refusal(rig.now, 1, "interactive", 1.0, is_probe=True) is None
    assert rig.value("items_total", lane="interactive", decision="accepted") == 0


async def test_a_minion_of_small_batches_is_busy_and_hardly_loaded(rig: Rig) -> None:
    rig.ready(curve=((1, 0.1), (4, 0.1)))
    for _ in range(40):
        rig.asked()
        await turn()
        rig.finish(0.1)
    rig.dispatcher.refresh()
    assert rig.value("busy_ratio") > 0.9
    assert rig.value("load_ratio") < 0.3


async def test_starting_is_shown_until_the_model_is_loaded(rig: Rig) -> None:
    rig.dispatcher.refresh()
    assert (rig.value("starting"), rig.value("ready")) == (1, 0)
    rig.ready()
    rig.dispatcher.refresh()
    assert (rig.value("starting"), rig.value("ready")) == (0, 1)
