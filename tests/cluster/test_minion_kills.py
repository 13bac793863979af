"""Real minions that are killed or stopped under load (F1, F2, F9, F15): every request gets its one answer, soon.

The coordinator's part, one further try on another replica, is played here by the test: what a minion says must be enough for it.
"""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.cluster.answer_ledger import AnswerLedger, Entry, LedgerPeer
from tests.cluster.running_minion import RunningMinion, eventually, is_running, running_minion

SLEEP, SEGFAULT = 248, 252
SOON_S = 1.0
"""A batch whose worker was killed is answered within this time of it."""


def a_long_batch(peer: LedgerPeer, **header: float) -> list[Entry]:
    """A full batch that takes 0.3 s."""
    return [peer.ask(SLEEP, **header), *(peer.ask(**header) for _ in range(7))]


async def is_ready(minion: RunningMinion) -> bool:
    return (await minion.readiness())[0] == 200


async def kill_the_busy_worker(minion: RunningMinion) -> float:
    """SIGKILL in the middle of a batch; when that was."""
    await minion.until("busy")
    os.kill(await minion.worker_pid(), signal.SIGKILL)
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
async def test_with_two_replicas_and_one_second_try_no_kill_loses_or_crosses_an_answer(kills: int) -> None:
    async with running_minion("chaos") as one, running_minion("chaos") as other:
        ledger = AnswerLedger()
        peers = [await ledger.connect(minion.ports["channel"]) for minion in (one, other)]
        tried_again = 0
        for kill in range(kills):
            victim, minion = kill % 2, (one, other)[kill % 2]
            await eventually(lambda: both_ready(one, other))
            first = a_long_batch(peers[victim], remaining_ms=5000)
            killed_at = await kill_the_busy_worker(minion)
            await ledger.settled()
            assert max(entry.ended_at or 0.0 for entry in first) - killed_at <= SOON_S
            died = [entry for entry in first if entry.code is not None]
            assert died
            assert all((entry.code, entry.is_retryable) == ("not_ready", True) for entry in died)
            again = [peers[1 - victim].ask(remaining_ms=3000) for _ in died]
            await ledger.settled()
            assert all(entry.is_right for entry in again), "the second try failed"
            tried_again += len(died)
        ledger.assert_one_answer_each()
        assert ledger.codes() == {"not_ready": tried_again, "ok": len(ledger.entries) - tried_again}
        restarts = [(await minion.readiness())[1]["restarts"] for minion in (one, other)]
        assert sum(restarts) == kills


async def both_ready(one: RunningMinion, other: RunningMinion) -> bool:
    return await is_ready(one) and await is_ready(other)


async def test_of_the_only_replica_everything_is_answered_within_a_second_or_by_the_next_worker() -> None:
    async with running_minion("chaos") as minion:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        running = a_long_batch(peer, remaining_ms=5000)
        await minion.until("busy")
        # too little time for a new worker, and enough of it
        hasty = [peer.ask(remaining_ms=600) for _ in range(20)]
        patient = [peer.ask(remaining_ms=20_000) for _ in range(20)]
        killed_at = await kill_the_busy_worker(minion)
        await ledger.settled()
        ledger.assert_one_answer_each()
        for entry in (*running, *hasty):
            assert (entry.ended_at or 0.0) - killed_at <= SOON_S
        assert {entry.code for entry in running} == {"not_ready"}
        assert {entry.code for entry in hasty} <= {"not_ready", "deadline_exceeded"}
        assert all(entry.is_right for entry in patient)
        # at once at full strength, and within five seconds for certain
        ready_at = asyncio.get_running_loop().time()
        full = [peer.ask(remaining_ms=5000) for _ in range(64)]
        await ledger.settled()
        assert all(entry.is_right for entry in full)
        assert asyncio.get_running_loop().time() - ready_at <= 5.0
        assert await minion.metric("crema_pending") == 0


async def test_a_killed_host_ends_its_connections_at_once_and_takes_its_worker_with_it() -> None:
    async with running_minion("chaos") as minion:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        done = [peer.ask() for _ in range(20)]
        await ledger.settled()
        lost = a_long_batch(peer) + [peer.ask() for _ in range(12)]
        await minion.until("busy")
        worker = await minion.worker_pid()
        loop = asyncio.get_running_loop()
        killed_at = loop.time()
        minion.process.kill()
        await ledger.settled()
        ledger.assert_one_answer_each()
        assert all(entry.is_right for entry in done)
        assert all(entry.is_lost and (entry.ended_at or 0.0) - killed_at <= SOON_S for entry in lost)

        async def is_gone() -> bool:
            return not is_running(worker)

        await eventually(is_gone, SOON_S)


async def test_a_poison_item_costs_two_workers_and_no_third_and_its_mates_one_more_try_at_most() -> None:
    async with running_minion("chaos") as minion:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        rounds = []
        for _ in range(4):
            await eventually(lambda: is_ready(minion))
            poison = peer.ask(SEGFAULT, content=2**40, remaining_ms=20_000)
            rounds.append((poison, [peer.ask(remaining_ms=20_000) for _ in range(7)]))
            await ledger.settled()
        ledger.assert_one_answer_each()
        assert [poison.code for poison, _ in rounds] == ["not_ready"] + ["item_quarantined"] * 3
        assert await minion.metric("crema_worker_restarts_total", reason="crashed") == 2
        # in the first death they were in its batch and may be tried elsewhere; from then on it is alone
        assert all(mate.code in (None, "not_ready") for mate in rounds[0][1])
        assert all(mate.is_right for _, mates in rounds[1:] for mate in mates)


# -- F15: a process that is stopped and goes on ------------------------------------------------------------------------


async def test_a_host_that_was_stopped_answers_nobody_twice_and_runs_nothing_that_is_too_late() -> None:
    async with running_minion("chaos") as minion:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        worker = await minion.worker_pid()
        running = a_long_batch(peer, remaining_ms=900)
        await minion.until("busy")
        waiting = [peer.ask(remaining_ms=900) for _ in range(16)]
        given_up = [peer.ask(remaining_ms=900) for _ in range(16)]
        await eventually(lambda: has_pending(minion, 40))
        ran = await minion.metric("crema_batch_size_sum")
        minion.process.send_signal(signal.SIGSTOP)
        try:
            for entry in given_up:
                peer.cancel(entry)
            unseen = [peer.ask(remaining_ms=20_000) for _ in range(8)]
            # the fault itself: longer than every deadline and than the toy's watchdog
            await asyncio.sleep(2.0)
        finally:
            minion.process.send_signal(signal.SIGCONT)
        await ledger.settled(5.0)
        ledger.assert_one_answer_each()
        assert all(entry.is_right for entry in unseen), "what arrived meanwhile is served"
        assert {entry.code for entry in waiting} == {"deadline_exceeded"}
        # the clock may be looked at before their cancels are read; nothing ran for them either way
        assert all(entry.code == "deadline_exceeded" for entry in given_up if entry.answers)
        # the running batch had ended in time; its worker is not blamed for its host's absence
        assert all(entry.is_right for entry in running)
        assert not any(event["event"] == "worker_hangs" for event in minion.log)
        assert await minion.worker_pid() == worker
        assert await minion.metric("crema_batch_size_sum") - ran <= 8 + 8
        assert await minion.metric("crema_pending") == 0


async def has_pending(minion: RunningMinion, places: int) -> bool:
    return await minion.metric("crema_pending") == places


async def test_a_minion_that_was_paused_as_a_whole_goes_on_with_the_worker_that_it_had() -> None:
    """As a paused container or a machine that is moved: the time away is nobody's hang."""
    async with running_minion("chaos") as minion:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        pids = [minion.process.pid, await minion.worker_pid()]
        running = a_long_batch(peer, remaining_ms=20_000)
        await minion.until("busy")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(2.0)  # the fault itself: twice the toy's watchdog
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        await ledger.settled(5.0)
        ledger.assert_one_answer_each()
        assert all(entry.is_right for entry in running)
        assert not any(event["event"] == "worker_hangs" for event in minion.log)
        assert await minion.worker_pid() == pids[1]


async def test_a_stopped_worker_is_found_by_the_watchdog_and_its_late_answer_reaches_nobody() -> None:
    async with running_minion("chaos") as minion:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        worker = await minion.worker_pid()
        running = a_long_batch(peer)
        await minion.until("busy")
        os.kill(worker, signal.SIGSTOP)
        stopped_at = asyncio.get_running_loop().time()
        waiting = [peer.ask(remaining_ms=20_000) for _ in range(8)]
        await ledger.settled(10.0)
        ledger.assert_one_answer_each()
        # the toy's bound is one second
        assert max(entry.ended_at or 0.0 for entry in running) - stopped_at <= 1.0 + 3.0
        assert all((entry.code, entry.is_retryable) == ("not_ready", True) for entry in running)
        assert all(entry.is_right for entry in waiting)
        assert not is_running(worker)
