"""The dispatcher around batches that raise, and around items that kill their worker."""

from __future__ import annotations

import pytest

from crema.errors import CremaError
from tests.minion.dispatcher_rig import RAISED, Rig, turn


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_only_the_guilty_item_of_a_batch_errs(rig: Rig) -> None:
    rig.ready()
    requests = [rig.asked() for _ in range(4)]
    await turn()
    assert rig.work(guilty=[2]) <= 1 + 5
    codes = [rig.answers[each.key][0][0] for each in requests]
    assert [code.get("ok") for code in codes] == [1, None, 3, 4]
    assert codes[1]["error"]["code"] == "model_failed"
    assert rig.gate.pending == 0
    assert rig.value("batch_splits_total") == 1


async def test_the_parts_of_a_split_run_before_what_waits(rig: Rig) -> None:
    rig.ready()
    for _ in range(5):
        rig.asked()
    await turn()
    rig.finish(**RAISED)
    assert [pixels[0] for pixels in rig.worker.batches[-1][1]] == [1, 2]


async def test_a_mate_whose_deadline_passes_during_a_split_does_not_run_again(rig: Rig) -> None:
    rig.ready()
    guilty, late = rig.asked(), rig.asked(remaining_ms=30)
    await turn()
    rig.finish(after_s=0.05, **RAISED)
    rig.finish(**RAISED)
    assert rig.answers[late.key][0][0]["error"]["code"] == "deadline_exceeded"
    assert [len(pixels) for _, pixels, _ in rig.worker.batches] == [2, 1]
    assert rig.answers[guilty.key][0][0]["error"]["code"] == "model_failed"


async def test_a_caller_that_leaves_during_a_split_is_not_run_again(rig: Rig) -> None:
    rig.ready()
    guilty, gone = rig.asked(), rig.asked()
    await turn()
    rig.finish(**RAISED)
    rig.dispatcher.abandon(gone)
    assert rig.work(guilty=[guilty.key]) == 2
    assert list(rig.answers) == [guilty.key]
    assert rig.gate.pending == 0
    assert rig.value("dropped_total", reason="abandoned") == 1


async def test_the_same_guilty_content_runs_alone_when_it_comes_again(rig: Rig) -> None:
    rig.ready()
    rig.ask_for(66, 7, 8)
    await turn()
    rig.work(guilty=[66])
    again = rig.ask_for(9, 66, 8)
    await turn()
    sizes = []
    while rig.worker.batches:
        _, pixels, _ = rig.worker.batches[-1]
        sizes.append(len(pixels))
        before = len(rig.worker.batches)
        rig.finish(**(RAISED if pixels[0][0] == 66 else {}))
        if len(rig.worker.batches) == before:
            break
    assert sizes == [2, 1]
    assert [each.get("ok") for each in rig.answers[again.key][0]] == [9, None, 8]
    assert rig.value("batch_splits_total") == 1


async def test_what_was_in_flight_in_two_deaths_is_refused_and_its_innocent_mate_is_not(rig: Rig) -> None:
    rig.ready()
    rig.ask_for(66, 7)
    await turn()
    rig.lose()
    rig.ready()
    again = rig.ask_for(66, 7)
    await turn()
    assert [pixels[0][0] for _, pixels, _ in rig.worker.batches] == [66]
    rig.lose()
    rig.ready()
    await turn()
    assert [pixels[0][0] for _, pixels, _ in rig.worker.batches] == [7]
    rig.finish()
    assert rig.answers[again.key][0][0]["error"]["code"] == "item_quarantined", (
        "no third worker is to meet it"
    )
    assert rig.answers[again.key][0][1] == {"ok": 7}
    third = rig.ask_for(66, 7)
    assert third.outcomes[0]
    await turn()
    rig.finish()
    error = rig.answers[third.key][0][0]["error"]
    assert (error["code"], error["retryable"]) == ("item_quarantined", False)
    assert rig.answers[third.key][0][1] == {"ok": 7}
    assert rig.value("dropped_total", reason="quarantined") == 1
    assert rig.gate.pending == 0


async def test_a_quarantined_item_alone_is_answered_at_once_without_a_worker_s_help(rig: Rig) -> None:
    rig.ready()
    for _ in range(2):
        rig.ask_for(66)
        await turn()
        rig.lose()
        rig.ready()
    refused = rig.ask_for(66)
    assert rig.answers[refused.key][0][0]["error"]["code"] == "item_quarantined"
    await turn()
    assert rig.worker.batches == []


async def test_the_same_poison_many_times_in_the_queue_kills_two_workers_and_no_third(rig: Rig) -> None:
    rig.ready()
    rig.ask_for(*[66] * 8)
    await turn()
    deaths = 0
    while rig.worker.batches and deaths < 10:
        deaths += 1
        rig.lose()
        rig.ready()
        await turn()
    assert deaths == 2
    assert rig.gate.pending == 0


async def test_after_ten_minutes_it_may_try_again(rig: Rig) -> None:
    rig.ready()
    for _ in range(2):
        rig.ask_for(66)
        await turn()
        rig.lose()
        rig.ready()
    rig.now += 601
    rig.ask_for(66)
    await turn()
    assert len(rig.worker.batches) == 1


async def test_what_was_in_a_death_elsewhere_runs_alone_and_its_next_death_is_the_last(rig: Rig) -> None:
    rig.ready()
    suspect, others = rig.asked(deaths=1), [rig.asked() for _ in range(2)]
    await turn()
    rig.finish()
    assert [[each[0] for each in pixels] for _, pixels, _ in rig.worker.batches] == [[2, 3], [1]]
    assert [rig.answers[each.key][0] for each in others] == [[{"ok": 2}], [{"ok": 3}]]
    rig.lose()
    error = rig.answers[suspect.key][0][0]["error"]
    assert (error["code"], error["retryable"]) == ("item_quarantined", False)


async def test_what_was_in_a_death_elsewhere_and_is_answered_here_is_innocent(rig: Rig) -> None:
    rig.ready()
    asked = rig.asked(deaths=1)
    await turn()
    rig.finish()
    assert rig.answers[asked.key][0] == [{"ok": 1}]
    rig.ask_for(1, 7)
    await turn()
    assert len(rig.worker.batches[-1][1]) == 2


@pytest.mark.parametrize("deaths", [-1, 1.0, True, "1", 101])
async def test_deaths_that_are_no_count_are_refused(rig: Rig, deaths: object) -> None:
    with pytest.raises(CremaError, match="deaths"):
        rig.ask(deaths=deaths)
