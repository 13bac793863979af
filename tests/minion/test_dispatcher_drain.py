"""A dispatcher that drains: what is refused, what is finished, what is sent back."""

from __future__ import annotations

import asyncio

import pytest

from crema.errors import CremaError
from minion.state import State
from tests.minion.dispatcher_rig import Rig, turn


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_draining_refuses_what_is_new_and_finishes_what_was_admitted(rig: Rig) -> None:
    rig.ready()
    request = rig.asked(6)
    await turn()
    draining = asyncio.get_running_loop().create_task(rig.dispatcher.drain())
    await turn()
    error = rig.ask()
    assert isinstance(error, CremaError)
    assert error.code == "not_ready"
    assert rig.value("refused_total", reason="draining", lane="interactive") == 1
    rig.finish()
    rig.finish()
    await asyncio.wait_for(draining, 5)
    assert len(rig.answers[request.key][0]) == 6
    assert rig.life.state is State.DRAINING


async def test_draining_without_a_worker_keeps_nobody_waiting(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    waiting = rig.asked(remaining_ms=5000)
    rig.lose()
    await asyncio.wait_for(rig.dispatcher.drain(), 5)
    assert rig.answers[waiting.key][0][0]["error"]["code"] == "not_ready"


async def test_what_is_left_at_the_end_of_a_drain_is_sent_back(rig: Rig) -> None:
    rig.ready()
    running = rig.asked(4)
    await turn()
    waiting = rig.asked(2)
    rig.dispatcher.give_up()
    for request in (running, waiting):
        error = rig.answers[request.key][0][0]["error"]
        assert (error["code"], error["retryable"]) == ("not_ready", True)
    assert rig.gate.pending == 0
