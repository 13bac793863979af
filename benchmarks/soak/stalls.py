"""What lives and does not work: a version that never loads (F3), a batch that hangs (F4), a slow replica (F5), items that raise
(F7), a stopped process (F15)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from benchmarks.soak.calls import Call, p99_ms, until
from benchmarks.soak.kills import DEADLINE_MS, judge_calls
from benchmarks.soak.scale import Scale
from benchmarks.soak.site import WATCHDOG_S, site, window
from benchmarks.soak.verdicts import Verdicts


async def crash_loop(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F3: the model alone, and beside a version that ends its process in `load`, over and over."""
    (folder / "alone").mkdir()
    async with (
        site(folder / "alone", verdicts) as ground,
        ground.steady(deadline_ms=DEADLINE_MS) as alone,
    ):
        await asyncio.sleep(scale.window_s)
    (folder / "beside").mkdir()
    async with site(folder / "beside", verdicts, with_broken=True) as ground:
        before = await ground.look()
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
        found = window(before, await ground.look(), "minion")
        status = await asyncio.to_thread(ground.cluster.status)
        [state] = [each["state"] for each in status["models"] if each["model"] == "broken"]
    judge_calls(verdicts, calls.ended)
    starts = found.increase("worker_restarts_total", model="broken") or 0.0
    verdicts.at_most(f"starts of the broken version in {scale.window_s:g} s", 6, starts)
    verdicts.none("states of the broken version but failed", [] if state == "failed" else [state])
    # of a short run p99 is one unlucky call: what is compared takes at least 20 ms
    p99 = p99_ms(calls.ended) / max(20.0, p99_ms(alone.ended))
    verdicts.at_most("p99 of the other model over that without the broken one", 1.2, p99, "x")


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
        judge_calls(verdicts, calls.ended, allowed=None)
        verdicts.at_most(f"found after the watchdog's {WATCHDOG_S:g} s", 3.0, found_s - WATCHDOG_S, " s")
        verdicts.tell("all is ready again after", f"{ready_s:.1f} s")


async def slow(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F5: one of two replicas becomes ten times slower, and its health stays good."""
    async with site(folder, verdicts) as ground:
        # 60 % of two is more than one and a tenth can do: any p99 would then be that of a queue
        verdicts.tell("load", "40 % of the capacity, which the replica that is left can do alone")
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
        judge_calls(verdicts, calls.ended, allowed=None)
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
            set_at = time.monotonic()
            # a batch that was under way has the mood of its start
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await asyncio.sleep(scale.window_s)
            ended = time.monotonic()
            ground.set_mood("")
        culprits = [each for each in calls.between(set_at - 1, ended + 1) if is_poison(each)]
        others = [each for each in calls.between(began, ended) if not is_poison(each)]
        judge_calls(verdicts, [each for each in calls.ended if each not in set(culprits)])
        typed = ("model_failed", "item_rejected", "item_quarantined")
        verdicts.none(
            "culprits without a code of their own",
            [each for each in culprits if began <= each.due < ended - 1 and each.code not in typed],
        )
        verdicts.at_least(
            "share of the others that were answered well",
            0.8,
            sum(each.is_good for each in others) / max(1, len(others)),
        )


def is_poison(call: Call) -> bool:
    """Whether the moody model raises for it."""
    return call.number % 100 == 0


async def stopped(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F15: SIGSTOP of one of two minions for 20 s, then SIGCONT."""
    async with site(folder, verdicts) as ground:
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
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
        judge_calls(verdicts, calls.ended, allowed=None)
        verdicts.at_most("gone from the routing", 3.0, gone_s, " s")
