"""What lives and does not work: a version that never loads (F3), a batch that hangs (F4), a slow replica (F5), items that raise
(F7), a stopped process (F15)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from benchmarks.soak.calls import Call, goodput, p99_ms, until
from benchmarks.soak.kills import DEADLINE_MS, judge_calls
from benchmarks.soak.scale import Scale
from benchmarks.soak.site import WATCHDOG_S, site, window
from benchmarks.soak.verdicts import Verdicts


async def crash_loop(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F3: beside the model one that ends its process in `load`, and one call in ten that waits for nothing."""
    async with site(folder, verdicts, with_broken=True) as ground:
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
        status = await asyncio.to_thread(ground.cluster.status)
        [broken] = [each for each in status["models"] if each["model"] == "broken"]
        log = await asyncio.to_thread(ground.cluster.log, "broken@1.0-0")
        starts = log.count('"worker_started"')
        judge_calls(verdicts, calls.ended)
        verdicts.tell("starts of the broken version's worker, in all", str(starts))
        verdicts.at_most("p99 of the other model", DEADLINE_MS / 10, p99_ms(calls.ended), " ms")
        verdicts.none(
            "state of the broken version, unless failed",
            [] if broken["state"] == "failed" else [broken["state"]],
        )


async def hang(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F4: one replica's batch never ends."""
    async with site(folder, verdicts) as ground:
        async with ground.steady(deadline_ms=25_000) as calls:
            await asyncio.sleep(scale.window_s)
            victim = (await ground.pids("minion", "worker"))[0]
            ground.set_mood("hang", victim)
            hung_at = time.monotonic()
            found_s = await until(
                lambda: victim not in ground.cluster.pids("minion", "worker"), "the watchdog", 30
            )
            ground.set_mood("", victim)
            await ground.until_all_ready()
            ready_s = time.monotonic() - hung_at
            await asyncio.sleep(scale.window_s)
        judge_calls(verdicts, calls.ended)
        verdicts.at_most(f"found after the watchdog's {WATCHDOG_S:g} s", 3.0, found_s - WATCHDOG_S, " s")
        verdicts.tell("all is ready again after", f"{ready_s:.1f} s")


async def slow(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F5: one of two replicas becomes ten times slower, and its health stays good."""
    async with site(folder, verdicts) as ground:
        # one replica alone can do all of this load
        async with ground.steady(0.4, deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            healthy = calls.between(0)
            victim = (await ground.pids("minion", "worker"))[0]
            ground.set_mood("slow", victim)
            await asyncio.sleep(5.0)
            settled_at, before = time.monotonic(), await ground.look()
            await asyncio.sleep(scale.window_s)
            until_, after = time.monotonic(), await ground.look()
            ground.set_mood("", victim)
            sick = calls.between(settled_at, until_)
            await asyncio.sleep(scale.window_s)
        judge_calls(verdicts, calls.ended)
        shares = [
            window({target: before[target]}, {target: after[target]}, "minion").increase("requests_total")
            or 0.0
            for target in after
            if target.tier == "minion" and target in before
        ]
        seconds = window(before, after, "coordinator")
        tries = sum(
            seconds.increase("retries_total", outcome=outcome) or 0.0
            for outcome in ("ok", "failed", "discarded")
        )
        verdicts.at_most(
            "p99 from 5 s on over healthy p99", 2.0, p99_ms(sick) / max(1.0, p99_ms(healthy)), "x"
        )
        verdicts.at_most("share of the slow replica", 0.15, min(shares) / max(1.0, sum(shares)))
        verdicts.at_most("second tries per call", 0.05, tries / max(1, len(sick)))


async def poison(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F7: one call in a hundred makes its whole batch raise."""
    async with site(folder, verdicts) as ground:
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            ground.set_mood("poison")
            # a batch that was under way has the mood of its start
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await asyncio.sleep(scale.window_s)
            ended = time.monotonic()
            ground.set_mood("")
        ill = calls.between(began, ended - 1)
        culprits, others = (
            [each for each in ill if is_poison(each)],
            [each for each in ill if not is_poison(each)],
        )
        judge_calls(verdicts, [each for each in calls.ended if each not in set(culprits)])
        verdicts.none(
            "culprits without a code of their own",
            [
                each
                for each in culprits
                if each.code not in ("model_failed", "item_rejected", "item_quarantined")
            ],
        )
        verdicts.at_least(
            "goodput of the others, of what is offered",
            0.8,
            goodput(others, began, ended) / (0.99 * calls.per_s),
        )


def is_poison(call: Call) -> bool:
    """Whether the moody model raises for it."""
    return call.number % 100 == 0


async def stopped(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F15: SIGSTOP of one of two minions for 20 s, then SIGCONT."""
    async with site(folder, verdicts) as ground:
        async with ground.steady(0.4, deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            victim = (await asyncio.to_thread(ground.cluster.processes, "minion", "host"))[0]
            address = f"127.0.0.1:{victim['ports']['channel']}"
            os.kill(victim["pid"], signal.SIGSTOP)
            try:
                stopped_at = time.monotonic()
                gone_s = await until(lambda: address not in ground.addresses(), "the replica to leave", 20)
                await asyncio.sleep(max(0.0, stopped_at + scale.lasting(20, 6) - time.monotonic()))
            finally:
                os.kill(victim["pid"], signal.SIGCONT)
            await until(lambda: address in ground.addresses(), "the replica to come back")
            await asyncio.sleep(scale.window_s)
        judge_calls(verdicts, calls.ended)
        verdicts.at_most("gone from the routing", 3.0, gone_s, " s")
