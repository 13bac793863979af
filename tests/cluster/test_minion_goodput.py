"""Real minions under load that somebody spoils: bulk that floods (F29), poison (F7), a neighbour in a crash loop (F3).

Clients send when it is due, whatever became of the calls before. Windows are of a few seconds; nothing is asserted of time.
"""

from __future__ import annotations

import asyncio
import heapq
import shutil
from collections.abc import Iterable
from pathlib import Path

from loadtest.arrivals import constant, poisson
from tests.cluster.answer_ledger import AnswerLedger, Entry
from tests.cluster.running_minion import TOYS, RunningMinion, eventually, running_minion

SECONDS = 3.0
SLEEPY_CAPACITY = 400.0
RAISE = 255


async def send(
    minion: RunningMinion, due: Iterable[tuple[float, str, int]], ledger: AnswerLedger
) -> list[tuple[str, Entry]]:
    """Ask when each is due: (moment, lane, sentinel). Returns (lane, entry), all of them ended."""
    loop, peer = asyncio.get_running_loop(), await ledger.connect(minion.ports["channel"])
    began, asked = loop.time(), []
    for at, lane, sentinel in due:
        ahead = began + at - loop.time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        asked.append((lane, peer.ask(sentinel, lane=lane)))
    await ledger.settled()
    await peer.leave()
    return asked


# -- F29 ---------------------------------------------------------------------------------------------------------------


async def test_a_flood_of_bulk_costs_interactive_no_refusal() -> None:
    async def window(bulk: float) -> list[tuple[str, Entry]]:
        interactive = ((at, "interactive", 0) for at in poisson(0.6 * SLEEPY_CAPACITY, SECONDS))
        flood = ((at, "bulk", 0) for at in constant(bulk, SECONDS))
        return await send(minion, heapq.merge(interactive, flood), AnswerLedger())

    # Best of five windows: when a busy machine stops the minion for longer than its free places last, interactive is
    # refused too, flood or not. What it costs in time is tests/loadtest/test_bulk_flood.py's to say, and the soak's.
    async with running_minion("sleepy") as minion:
        refused = []
        for _ in range(5):
            beside = await window(10 * SLEEPY_CAPACITY)
            bulk = [entry.code for lane, entry in beside if lane == "bulk"]
            assert bulk.count(None) >= 0.01 * SLEEPY_CAPACITY * SECONDS
            assert set(bulk) == {None, "overloaded"}
            refused.append(sum(entry.code is not None for lane, entry in beside if lane == "interactive"))
            if not refused[-1]:
                return
        raise AssertionError(f"interactive refused, by window: {refused}")


# -- F7 ----------------------------------------------------------------------------------------------------------------


async def test_one_poisoned_item_in_a_hundred_costs_less_than_a_fifth_of_the_goodput() -> None:
    """Each poison is another content, so that none of them is known before it has raised."""

    async def goodput(poison_every: int) -> float:
        ledger = AnswerLedger()
        peer = await ledger.connect(minion.ports["channel"])
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def caller(index: int) -> None:
            while loop.time() < began + SECONDS:
                number = len(ledger.entries) + 1
                entry = peer.ask(RAISE if poison_every and number % poison_every == 0 else 0)
                while entry.ended_at is None:
                    await asyncio.sleep(0.002)

        await asyncio.gather(*map(caller, range(32)))
        ledger.assert_one_answer_each()
        await peer.leave()
        entries = list(ledger.entries.values())
        poisoned = [entry for entry in entries if poison_every and entry.number % poison_every == 0]
        assert {entry.code for entry in poisoned} <= {"model_failed"}
        assert all(entry.is_right for entry in entries if entry not in poisoned)
        return (len(entries) - len(poisoned)) / (loop.time() - began)

    async with running_minion("brisk", "--log-level", "error") as minion:
        shares = []
        for _ in range(3):
            clean, poisoned = await goodput(0), await goodput(100)
            shares.append(poisoned / clean)
            if shares[-1] >= 0.8:
                return
        raise AssertionError(f"goodput with poison over goodput without: {shares}")


# -- F3 ----------------------------------------------------------------------------------------------------------------

EXITS = """
import os

class Toy:
    def load(self, ctx):
        print("the weights are from another planet")
        os._exit(7)

    def predict(self, batch, params):
        return []
"""


def write_exiting(folder: Path) -> str:
    """A package whose model ends its process while it loads."""
    package = folder / "exiting" / "1.0"
    shutil.copytree(TOYS / "echo" / "1.0", package)
    (package / "model.py").write_text(EXITS)
    manifest = (package / "model.yaml").read_text()
    manifest = manifest.replace("name: echo", "name: exiting").replace("model:Echo", "model:Toy")
    (package / "model.yaml").write_text(manifest)
    return str(package.parent)


async def test_a_model_that_dies_in_load_is_tried_ever_more_rarely_and_disturbs_no_other(
    tmp_path: Path,
) -> None:
    async with running_minion("sleepy") as other:
        due = [(at, "interactive", 0) for at in poisson(0.5 * SLEEPY_CAPACITY, SECONDS)]
        async with running_minion(write_exiting(tmp_path), state="failed") as minion:
            await eventually(lambda: has_failed(minion, 3))
            pauses = [event["again_in_s"] for event in minion.log if event["event"] == "worker_lost"][:3]
            # 1, 2, 4 … 60 s, each up to a quarter longer: at most six starts in a minute
            assert all(wait <= pause <= 1.25 * wait for pause, wait in zip(pauses, (1, 2, 4), strict=True))
            status, body = await minion.readiness()
            assert (status, body["state"]) == (503, "failed")
            assert body["problem"].startswith(
                "the worker ended while it loaded the model: it exited with status 7"
            )
            assert "the weights are from another planet" in body["problem"]
            header, _ = await minion.infer(1)
            assert (header["status"], header["error"]["code"], header["error"]["retryable"]) == (
                503,
                "not_ready",
                True,
            )
            assert 1 <= header["error"]["retry_after_ms"] <= 60_000
            # what that costs the neighbour in time is measured by the soak
            beside = [entry for _, entry in await send(other, due, AnswerLedger())]
            assert all(entry.is_right or entry.code == "overloaded" for entry in beside)
            assert sum(entry.is_right for entry in beside) >= 0.9 * len(beside)
            assert not any(event["event"] == "worker_lost" for event in other.log)


async def has_failed(minion: RunningMinion, times: int) -> bool:
    return sum(event["event"] == "worker_lost" for event in minion.log) >= times
