"""The dispatcher around a worker that is only a list of what it was handed, with a clock that tests turn."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from crema.errors import CremaError
from minion.state import State
from tests.minion.dispatcher_rig import ITEM, PLACES, SLO_S, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_before_the_model_is_loaded_requests_are_not_ready(rig: Rig) -> None:
    rig.dispatcher.worker_starting(rig.now + 3.0)
    error = rig.ask()
    assert isinstance(error, CremaError)
    assert (error.code, error.retry_after_ms) == ("not_ready", 3000)


async def test_what_arrives_in_one_turn_goes_in_one_batch(rig: Rig) -> None:
    rig.ready()
    for _ in range(3):
        rig.asked()
    await turn()
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [3]


async def test_a_free_worker_is_given_what_waits_before_the_answers_go_out(rig: Rig) -> None:
    rig.ready()
    first = rig.asked()
    await turn()
    rig.asked()
    rig.finish()
    assert len(rig.worker.batches) == 2
    assert rig.answers[first.key][0] == [{"ok": 1}]


async def test_only_one_batch_runs_at_a_time(rig: Rig) -> None:
    rig.ready()
    rig.asked()
    await turn()
    rig.asked()
    await turn()
    assert len(rig.worker.batches) == 1


async def test_outcomes_come_back_in_the_order_of_the_items_over_several_batches(rig: Rig) -> None:
    rig.ready()
    request = rig.asked(6)
    await turn()
    rig.finish()
    assert request.key not in rig.answers
    rig.finish()
    outcomes, done = rig.answers[request.key]
    assert outcomes == [{"ok": request.key}] * 6
    assert done.size == 2


async def test_a_place_is_given_back_before_the_answer_is_written(rig: Rig) -> None:
    rig.ready()
    request = rig.asked()
    await turn()
    rig.finish()
    assert rig.answers[request.key][1].load["pending"] == 0


async def test_pending_includes_the_running_batch(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    rig.asked(2)
    assert rig.dispatcher.load()["pending"] == 6


async def test_beyond_the_places_a_request_is_overloaded(rig: Rig) -> None:
    rig.ready()
    rig.asked(PLACES)
    error = rig.ask()
    assert isinstance(error, CremaError)
    assert (error.code, error.status) == ("overloaded", 429)
    assert error.retry_after_ms is not None
    assert rig.value("refused_total", reason="full", lane="interactive") == 1


async def test_what_could_not_be_answered_in_time_is_overloaded(rig: Rig) -> None:
    rig.ready(curve=((1, 0.2), (4, 0.2)))
    rig.asked(4)
    await turn()
    error = rig.ask(remaining_ms=300)
    assert isinstance(error, CremaError)
    assert error.code == "overloaded"
    assert rig.value("refused_total", reason="deadline", lane="interactive") == 1


async def test_the_load_predicts_the_wait_of_a_new_item(rig: Rig) -> None:
    rig.ready(curve=((1, 0.1), (4, 0.1)))
    rig.asked(8)
    await turn()
    rig.now += 0.04
    assert rig.dispatcher.load()["expected_wait_ms"] == pytest.approx(60 + 100)


async def test_the_state_is_busy_while_a_batch_runs(rig: Rig) -> None:
    rig.ready()
    assert rig.life.state is State.READY
    rig.asked()
    await turn()
    assert rig.life.state is State.BUSY
    rig.finish()
    assert rig.life.state is State.READY


async def test_an_item_that_raises_alone_is_told_the_class_of_the_exception_only(rig: Rig) -> None:
    rig.ready()
    request = rig.asked()
    await turn()
    rig.finish(code="model_failed", kind="RuntimeError", message="RuntimeError: /secret", traceback="…")
    error = rig.answers[request.key][0][0]["error"]
    assert error["code"] == "model_failed"
    assert "RuntimeError" in error["message"]
    assert "/secret" not in error["message"]
    assert rig.gate.pending == 0
    assert rig.served == 0


async def test_a_batch_of_the_wrong_length_is_the_model_s_invalid_output(rig: Rig) -> None:
    rig.ready()
    request = rig.asked()
    await turn()
    rig.finish(code="model_output_invalid", message="predict must return 1 outputs")
    assert rig.answers[request.key][0][0]["error"]["code"] == "model_output_invalid"


async def test_the_model_is_told_params_only_when_somebody_sent_some(rig: Rig) -> None:
    rig.ready()
    rig.asked()
    await turn()
    assert rig.worker.batches[0][2] is None
    rig.asked(items=[ITEM])
    rig.asked(items=[{**ITEM, "params": {"words": 7}}])
    rig.finish()
    assert rig.worker.batches[1][2] == [{}, {"words": 7}]


async def test_an_item_that_expired_is_answered_and_never_runs(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    late = rig.asked(remaining_ms=100)
    rig.finish(after_s=0.2)
    assert len(rig.worker.batches) == 1
    outcome = rig.answers[late.key][0][0]["error"]
    assert outcome["code"] == "deadline_exceeded"
    assert "after 200 ms" in outcome["message"]
    assert rig.value("dropped_total", reason="expired") == 1
    assert rig.gate.pending == 0


async def test_an_item_that_expires_while_a_batch_runs_is_answered_soon(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    late = rig.asked(remaining_ms=100)
    rig.now += 0.2
    async with asyncio.timeout(5):
        while late.key not in rig.answers:
            await asyncio.sleep(0.01)
    assert rig.answers[late.key][0][0]["error"]["code"] == "deadline_exceeded"


async def test_an_abandoned_request_frees_its_places_and_never_runs(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    gone = rig.asked(3)
    rig.dispatcher.abandon(gone)
    assert rig.gate.pending == 4
    rig.finish()
    assert len(rig.worker.batches) == 1
    assert gone.key not in rig.answers
    assert rig.value("dropped_total", reason="abandoned") == 3


async def test_an_abandoned_request_in_the_running_batch_leaves_its_mates_alone(rig: Rig) -> None:
    rig.ready()
    gone, mate = rig.asked(), rig.asked()
    await turn()
    rig.dispatcher.abandon(gone)
    assert rig.gate.pending == 1
    rig.finish()
    assert list(rig.answers) == [mate.key]
    assert rig.gate.pending == 0


async def test_abandoning_twice_or_after_the_answer_changes_nothing(rig: Rig) -> None:
    rig.ready()
    request = rig.asked()
    await turn()
    rig.finish()
    rig.dispatcher.abandon(request)
    rig.dispatcher.abandon(request)
    assert rig.gate.pending == 0


async def test_the_batch_of_a_worker_that_dies_is_answered_at_once_and_may_be_tried_elsewhere(
    rig: Rig,
) -> None:
    rig.ready()
    request = rig.asked()
    await turn()
    rig.lose(ready_in=0.7)
    error = rig.answers[request.key][0][0]["error"]
    assert (error["code"], error["retryable"]) == ("not_ready", True)
    assert error["retry_after_ms"] == pytest.approx(700, abs=1)
    assert rig.life.state is State.STARTING
    assert rig.value("worker_restarts_total", reason="crashed") == 1


async def test_what_waits_stays_while_the_next_worker_comes_in_time(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    patient, urgent = rig.asked(remaining_ms=2000), rig.asked(remaining_ms=600)
    rig.lose(ready_in=1.0)
    assert rig.answers[urgent.key][0][0]["error"]["code"] == "not_ready"
    assert patient.key not in rig.answers
    rig.ready()
    await turn()
    rig.finish()
    assert rig.answers[patient.key][0] == [{"ok": patient.key}]


async def test_a_request_without_deadline_waits_for_a_new_worker_as_long_as_the_model_promises(
    rig: Rig,
) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    waiting = rig.asked()
    rig.lose(ready_in=SLO_S + 0.1)
    assert rig.answers[waiting.key][0][0]["error"]["code"] == "not_ready"


async def test_a_worker_whose_channel_is_lost_is_dead_and_its_batch_answered_when_that_is_known(
    rig: Rig,
) -> None:
    rig.ready()
    rig.worker.is_lost = True
    request = rig.asked()
    await turn()
    rig.lose()
    assert rig.answers[request.key][0][0]["error"]["code"] == "not_ready"


async def test_a_model_that_does_not_load_is_failed_until_it_does(rig: Rig) -> None:
    rig.lose(was_ready=False)
    assert rig.life.state is State.FAILED
    assert rig.life.problem is not None
    rig.lose(was_ready=False)
    assert rig.life.state is State.FAILED
    rig.ready()
    assert rig.life.state is State.READY
    assert rig.life.problem is None


@pytest.mark.parametrize("sizes", [None, [], [1], [2, 9], "x"])
async def test_a_worker_that_answers_nonsense_is_replaced(rig: Rig, sizes: Any) -> None:
    rig.ready()
    rig.asked(2)
    await turn()
    rig.dispatcher.worker_answered({"id": rig.worker.batches[-1][0], "sizes": sizes}, b"abc")
    assert rig.worker.is_killed


async def test_an_answer_to_another_batch_is_ignored(rig: Rig) -> None:
    rig.ready()
    request = rig.asked()
    await turn()
    rig.dispatcher.worker_answered({"id": 99, "sizes": [1]}, b"x")
    assert request.key not in rig.answers


async def test_what_a_batch_cost_is_learned(rig: Rig) -> None:
    rig.ready()
    rig.asked(4)
    await turn()
    rig.finish(after_s=0.25)
    assert rig.curve.predict(4) == pytest.approx(0.25)
    assert rig.served == 1


async def test_an_infinite_wait_is_never_promised(rig: Rig) -> None:
    rig.lose(ready_in=math.inf, was_ready=False)
    error = rig.ask()
    assert isinstance(error, CremaError)
    assert error.retry_after_ms == 60_000


async def test_beside_interactive_requests_bulk_does_not_fill_a_batch_that_would_take_much_longer() -> None:
    rig = Rig()
    rig.ready(curve=((1, 0.05), (4, 0.11)))  # 3 of 4 give four fifths of the throughput
    for lane in ("interactive", "bulk", "bulk", "bulk"):
        rig.asked(lane=lane)
    await turn()
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [rig.curve.bulk_limit] == [3]
