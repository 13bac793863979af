"""The dispatcher with a full batch that lies ready at the worker: what becomes of its items before it begins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crema.errors import CremaError
from minion.request import Request
from tests.minion.dispatcher_rig import MAX_SIZE, RAISED, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    """One batch in flight, as by default; its worker is known to take 20 ms for any batch."""
    rig = Rig()
    rig.ready(curve=((1, 0.02), (4, 0.02)))
    return rig


async def until(rig: Rig, batches: int) -> None:
    """Wait, bounded, until the worker was handed this many batches; the rig's clock stands still meanwhile."""
    async with asyncio.timeout(5):
        while len(rig.worker.batches) < batches:
            await asyncio.sleep(0.002)


async def lying(rig: Rig, *asked: dict[str, Any]) -> list[Request]:
    """A batch of one runs, and one with these four lies behind it."""
    rig.asked()
    await turn()
    requests = [rig.asked(**message) for message in asked]
    requests += [rig.asked() for _ in range(MAX_SIZE - len(requests))]
    rig.now += 0.02
    await until(rig, 2)
    return requests


async def answered(rig: Rig, request: Request) -> dict[str, Any]:
    """Wait, bounded, for the answer of a request that gets an error."""
    async with asyncio.timeout(5):
        while request.key not in rig.answers:
            await asyncio.sleep(0.01)
    error: dict[str, Any] = rig.answers[request.key][0][0]["error"]
    return error


async def test_a_full_batch_is_handed_over_when_the_worker_is_about_to_be_free(rig: Rig) -> None:
    await lying(rig)
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [1, 4]


async def test_a_batch_that_is_not_full_waits_until_the_worker_is_free(rig: Rig) -> None:
    rig.asked()
    await turn()
    for _ in range(3):
        rig.asked()
    rig.now += 5.0
    await asyncio.sleep(0.01)
    assert len(rig.worker.batches) == 1


async def test_it_goes_to_the_worker_with_the_deadlines_of_its_items_and_to_a_free_one_without(
    rig: Rig,
) -> None:
    rig.asked(remaining_ms=900)
    await turn()
    rig.asked(remaining_ms=500)
    for _ in range(3):
        rig.asked()
    deadline = rig.now + 0.5
    rig.now += 0.02
    await until(rig, 2)
    assert rig.worker.until == [None, [deadline, None, None, None]]


async def test_an_item_whose_deadline_passes_while_it_lies_there_is_answered_then_and_counted_once(
    rig: Rig,
) -> None:
    late, *mates = await lying(rig, {"remaining_ms": 100})
    rig.now += 0.2
    assert (await answered(rig, late))["code"] == "deadline_exceeded"
    assert rig.gate.pending == 4
    rig.finish(0.0, batch=0)
    rig.finish(batch=1, skipped=[0])
    assert [rig.answers[mate.key][0] for mate in mates] == [[{"ok": mate.key}] for mate in mates]
    assert rig.value("dropped_total", reason="expired") == 1
    assert rig.gate.pending == 0


async def test_an_item_that_the_worker_finds_expired_first_is_told_so(rig: Rig) -> None:
    late, *mates = await lying(rig, {"remaining_ms": 100})
    rig.finish(0.09, batch=0)
    rig.finish(batch=1, skipped=[0])
    assert rig.answers[late.key][0][0]["error"]["code"] == "deadline_exceeded"
    assert rig.answers[mates[0].key][0] == [{"ok": mates[0].key}]
    assert rig.gate.pending == 0


async def test_only_what_ran_is_counted(rig: Rig) -> None:
    _, mate, *_ = await lying(rig, {"remaining_ms": 100})
    rig.finish(0.2, batch=0)
    rig.finish(0.02, batch=1, skipped=[0])
    assert rig.answers[mate.key][1].size == 3
    assert rig.value("batch_size_sum") == 1 + 3
    assert rig.value("queue_wait_seconds_count") == 1 + 3


async def test_waiting_ends_when_the_worker_begins_the_batch_and_not_when_it_gets_it(rig: Rig) -> None:
    mate = (await lying(rig))[0]
    rig.finish(0.1, batch=0)
    rig.finish(0.02, batch=1)
    assert mate.started_at - mate.arrived_at == pytest.approx(0.02 + 0.1)
    assert rig.value("queue_wait_seconds_sum") == pytest.approx(4 * 0.12)


async def test_a_batch_of_which_nothing_ran_is_none(rig: Rig) -> None:
    requests = await lying(rig, *[{"remaining_ms": 100}] * 4)
    rig.finish(0.2, batch=0)
    before = rig.curve.predict(4)
    rig.finish(0.0, batch=1, skipped=[0, 1, 2, 3])
    assert {rig.answers[each.key][0][0]["error"]["code"] for each in requests} == {"deadline_exceeded"}
    assert rig.value("batch_size_count") == 1
    assert rig.value("dropped_total", reason="expired") == 4
    assert rig.curve.predict(4) == before
    assert rig.served == 1


async def test_the_worker_is_told_of_a_caller_that_leaves_while_its_item_lies_there(rig: Rig) -> None:
    requests = await lying(rig)
    rig.dispatcher.abandon(requests[2])
    assert rig.worker.skipped == [(rig.worker.batches[1][0], [2])]
    assert rig.gate.pending == 4
    rig.finish(0.0, batch=0)
    rig.finish(batch=1, skipped=[2])
    assert requests[2].key not in rig.answers
    assert rig.answers[requests[3].key][0] == [{"ok": requests[3].key}]
    assert rig.value("dropped_total", reason="abandoned") == 1
    assert rig.gate.pending == 0


async def test_a_caller_that_left_too_late_for_the_worker_is_not_answered_and_counted_once(rig: Rig) -> None:
    requests = await lying(rig)
    rig.dispatcher.abandon(requests[2])
    rig.finish(0.0, batch=0)
    rig.finish(batch=1)
    assert requests[2].key not in rig.answers
    assert rig.value("dropped_total", reason="abandoned") == 1
    assert rig.gate.pending == 0


async def test_when_the_worker_dies_the_lying_items_go_first_to_the_next_one_and_are_no_suspects(
    rig: Rig,
) -> None:
    late, gone, *kept = await lying(rig, {"remaining_ms": 100})
    rig.asked(remaining_ms=20_000)
    rig.now += 0.2
    await answered(rig, late)
    rig.dispatcher.abandon(gone)
    rig.lose()
    rig.ready()
    await turn()
    assert [pixels[0] for pixels in rig.worker.batches[0][1]] == [each.key for each in kept]
    assert rig.value("dropped_total", reason="expired") == 1
    assert rig.value("dropped_total", reason="abandoned") == 1
    assert len(rig.dispatcher._room.suspects) == 1


async def test_a_batch_that_raises_is_split_without_those_for_whom_nobody_waits(rig: Rig) -> None:
    late, guilty, gone, mate = await lying(rig, {"remaining_ms": 100})
    rig.now += 0.2
    await answered(rig, late)
    rig.finish(0.0, batch=0)
    rig.dispatcher.abandon(gone)
    rig.finish(batch=1, **RAISED)
    del rig.worker.batches[:2]
    ran = []
    while rig.worker.batches:
        items = [pixels[0] for pixels in rig.worker.batches.pop()[1]]
        ran += items
        rig.worker.batches.append((rig.dispatcher._batches, [bytes([each]) * 4 for each in items], None))
        rig.finish(**(RAISED if guilty.key in items else {}))
        rig.worker.batches.pop(0)
    assert {late.key, gone.key}.isdisjoint(ran)
    assert rig.answers[guilty.key][0][0]["error"]["code"] == "model_failed"
    assert rig.answers[mate.key][0] == [{"ok": mate.key}]
    assert rig.gate.pending == 0


async def test_while_parts_of_a_split_run_nothing_lies_behind_them(rig: Rig) -> None:
    for _ in range(2):
        rig.asked()
    await turn()
    for _ in range(4):
        rig.asked()
    rig.finish(0.0, **RAISED)
    assert len(rig.worker.batches) == 2
    rig.now += 5.0
    await asyncio.sleep(0.01)
    assert len(rig.worker.batches) == 2


async def test_a_suspect_does_not_lie_at_a_worker_that_is_busy(rig: Rig) -> None:
    rig.dispatcher._room.suspects.raised(_print_of(66, rig), rig.now)
    rig.asked()
    await turn()
    rig.ask_for(1, 2, 66, 3)
    rig.now += 0.02
    await until(rig, 2)
    assert [pixels[0] for pixels in rig.worker.batches[1][1]] == [1, 2, 3]


def _print_of(number: int, rig: Rig) -> bytes:
    from minion.suspects import fingerprint

    return fingerprint(bytes([number]) * 4, None)


async def test_what_the_worker_cannot_have_skipped_ends_it(rig: Rig) -> None:
    await lying(rig)
    rig.finish(0.0, batch=0)
    rig.finish(batch=1, skipped=[4])
    assert rig.worker.is_killed


async def test_at_the_end_of_a_drain_nobody_is_answered_twice(rig: Rig) -> None:
    late, *_ = await lying(rig, {"remaining_ms": 100})
    rig.now += 0.2
    await answered(rig, late)
    rig.dispatcher.give_up()
    assert rig.gate.pending == 0


async def test_after_a_batch_that_found_no_memory_the_gate_predicts_with_smaller_ones() -> None:
    rig = Rig()
    rig.ready(curve=((1, 0.1), (4, 0.1)))
    rig.curve.feared_overrun = 0.0  # it was seen at work for long
    rig.asked(4)
    await turn()
    rig.finish(0.1, **RAISED, trouble="memory")
    assert rig.curve.batch_limit == 2
    # two run and two more go first: three batches of two, and no longer two of four
    assert isinstance(rig.ask(2, remaining_ms=320), Request)
    refused = rig.ask(2, remaining_ms=320)
    assert isinstance(refused, CremaError)
    assert refused.code == "overloaded"


async def test_while_a_larger_batch_is_tried_after_one_found_no_memory_nothing_lies_behind_it(
    rig: Rig,
) -> None:
    rig.dispatcher._cap.ran_out(4)
    for _ in range(100):
        rig.dispatcher._cap.passed(2)
    rig.curve.allow(rig.dispatcher._cap.size)
    assert rig.curve.batch_limit == 3
    rig.asked(3)
    await turn()
    rig.asked(3)
    rig.now += 0.03
    await asyncio.sleep(0.01)
    assert len(rig.worker.batches) == 1
    rig.finish(0.0)
    rig.asked(3)
    rig.now += 0.02
    await until(rig, 3)
