"""SIGKILL and SIGTERM: every kind of process in turn (KILLS), hosts twenty times (F1), the only replica (F2), the only
preprocessor (F11), a coordinator that is told to stop (F12)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.soak.calls import LOST_AFTER_S, Call, codes, goodput, p99_ms, until
from benchmarks.soak.scale import Scale
from benchmarks.soak.site import Site, site
from benchmarks.soak.verdicts import Verdicts

IN_TURN = (
    ("minion", "worker"),
    ("minion", "host"),
    ("preprocessor", "decoder"),
    ("preprocessor", None),
    ("coordinator", None),
)
BACK_S = {"decoder": 1.0, "coordinator": 2.0}
"""Of the fault table; everything else is back 10 s after its kill."""
DEADLINE_MS = 2000


def judge_calls(verdicts: Verdicts, calls: list[Call], *, allowed: int | None = 0) -> None:
    """What holds whatever happened: no call without an end, none with another's answer; and no errors but those allowed.

    `allowed` None: errors are told, not judged, where the table promises only that nothing is lost. The base load is more
    than one of two replicas can do, so that while one is away some calls are 429, and 503 where both refuse.
    """
    verdicts.tell("calls", f"{len(calls)}: {codes(calls)}")
    lost_after_s = DEADLINE_MS / 1000 + LOST_AFTER_S - 0.1
    verdicts.none(
        "calls that never ended",
        [call for call in calls if call.status is None and call.sent_s >= lost_after_s],
    )
    verdicts.none("answers that are another call's", [call for call in calls if call.code == "crossed"])
    errors = [call for call in calls if call.is_error]
    if allowed is None:
        verdicts.tell("errors (neither 2xx nor 429)", str(len(errors)))
    elif allowed:
        verdicts.at_most("errors", allowed, len(errors))
    else:
        verdicts.none("errors", errors)


async def in_turn(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """KILLS: worker, host, decoder, preprocessor, coordinator, and again; two of each under 60 % load."""
    async with site(folder, verdicts, coordinators=2, preprocessors=2) as ground:
        back_s: dict[str, list[float]] = defaultdict(list)
        killed_coordinators: list[float] = []
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            began = time.monotonic()
            await asyncio.sleep(scale.window_s)
            sizes = await ground.sizes()
            first_kill = time.monotonic()
            for kill in range(scale.kills):
                tier, role = IN_TURN[kill % len(IN_TURN)]
                victims = await ground.pids(tier, role)
                victim = victims[kill // len(IN_TURN) % len(victims)]
                os.kill(victim, signal.SIGKILL)
                if tier == "coordinator":
                    killed_coordinators.append(time.monotonic())
                back_s[role or tier].append(await came_back(ground, victim, len(victims), tier, role))
                await asyncio.sleep(scale.pause_s)
            last_kill = time.monotonic()
            await asyncio.sleep(scale.window_s)
        resets = [
            call
            for call in calls.ended
            if call.status is None
            and any(call.due <= at + 0.2 and call.ended >= at for at in killed_coordinators)
        ]
        others = [call for call in calls.ended if call not in set(resets)]
        verdicts.tell(
            "kills",
            f"{scale.kills} in {last_kill - first_kill:.0f} s, back after at most "
            + ", ".join(f"{name} {max(times):.2f} s" for name, times in back_s.items()),
        )
        verdicts.tell("connections that a killed coordinator reset", str(len(resets)))
        # what a killed decoder had in its hands cannot be answered; there is one at a time
        judge_calls(verdicts, others, allowed=len(back_s["decoder"]))
        for name, times in back_s.items():
            verdicts.at_most(f"a killed {name} is back after", BACK_S.get(name, 10.0), max(times), " s")
        before, after = calls.between(began, first_kill), calls.between(last_kill + 1)
        verdicts.at_most(
            "p99 after all kills over p99 before", 1.5, p99_ms(after) / max(1.0, p99_ms(before)), "x"
        )
        grown, was = (await ground.sizes())["supervisor"], sizes["supervisor"]
        verdicts.at_most("descriptors that the supervisor gained", 4, grown[1] - was[1])
        verdicts.at_most("memory that the supervisor gained", 20, grown[0] - was[0], " MiB")


async def came_back(ground: Site, victim: int, count: int, tier: str, role: str | None) -> float:
    """Until as many run as before, without the victim, and all of the cluster is ready."""

    def is_back() -> bool:
        pids = ground.cluster.pids(tier, role)
        return victim not in pids and len(pids) >= count and ground.cluster.is_all_ready()

    return await until(is_back, f"another {tier} {role or ''}")


async def hosts(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F1: kill -9 of a minion, one of two, again and again."""
    async with site(folder, verdicts) as ground:
        gone_s, back_s, around_ms = [], [], []
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            for kill in range(scale.kills):
                processes = await asyncio.to_thread(ground.cluster.processes, "minion", "host")
                victim = processes[kill % 2]
                address = f"127.0.0.1:{victim['ports']['channel']}"
                os.kill(victim["pid"], signal.SIGKILL)
                killed_at = time.monotonic()
                gone_s.append(
                    await until(lambda a=address: a not in ground.addresses(), "the replica to leave")
                )  # type: ignore[misc]
                await until(lambda: len(ground.addresses()) == 2, "another replica")
                back_s.append(time.monotonic() - killed_at)
                await asyncio.sleep(scale.pause_s)
                around_ms.append(p99_ms(calls.between(killed_at - 2.5, killed_at + 2.5)))
            await asyncio.sleep(scale.window_s)
        judge_calls(verdicts, calls.ended)
        verdicts.at_most(f"gone from the routing, worst of {scale.kills}", 1.0, max(gone_s), " s")
        verdicts.at_most("ready again, with the load of the model", 10.0, max(back_s), " s")
        verdicts.at_most("p99 of the 5 s around a kill, worst", DEADLINE_MS, max(around_ms), " ms")


async def only_replica(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F2: kill -9 of the only replica."""
    async with site(folder, verdicts, replicas=1) as ground:
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            [victim] = await ground.pids("minion", "host")
            os.kill(victim, signal.SIGKILL)
            killed_at = time.monotonic()
            await until(lambda: ground.cluster.pids("minion", "host") not in ([], [victim]), "another minion")
            await until(lambda: ground.addresses(), "another replica")
            ready_at = time.monotonic()
            await asyncio.sleep(max(scale.window_s, 7.0))
            end = time.monotonic()
        caught = [call for call in calls.ended if call.due < killed_at <= call.ended]
        during = calls.between(killed_at, ready_at)
        verdicts.tell(
            "down", f"{ready_at - killed_at:.2f} s; caught {len(caught)}; while down {codes(during)}"
        )
        verdicts.at_most(
            "calls caught by the kill end after it within",
            1.0,
            max((call.ended - killed_at for call in caught), default=0.0),
            " s",
        )
        verdicts.at_most(
            "calls while it is down end within", 1.0, max((call.sent_s for call in during), default=0.0), " s"
        )
        allowed = {"ok", "not_ready", "overloaded"}
        verdicts.none(
            "calls that end otherwise than 200, 429, 503",
            [call for call in calls.ended if call.code not in allowed],
        )
        verdicts.at_least(
            "goodput from 5 s after it is ready, of what is offered",
            0.97,
            goodput(calls.ended, ready_at + 5, end) / calls.per_s,
        )


async def preprocessors(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F11: kill -9 of the only preprocessor."""
    async with site(folder, verdicts) as ground:
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            [victim] = await ground.pids("preprocessor")
            os.kill(victim, signal.SIGKILL)
            killed_at = time.monotonic()
            back_s = await came_back(ground, victim, 1, "preprocessor", None)
            back_at = time.monotonic()
            await asyncio.sleep(scale.window_s)
        down = [call for call in calls.between(killed_at, back_at) if call.status == 503]
        verdicts.tell("down", f"{back_s:.2f} s; {codes(calls.between(killed_at, back_at))}")
        slowest = sorted(call.sent_s * 1000 for call in down)
        verdicts.at_most(
            "503s come within (99 %)", 100, slowest[int(0.99 * len(slowest))] if slowest else 0.0, " ms"
        )
        verdicts.none("calls that never ended", [call for call in calls.ended if call.status is None])
        verdicts.none(
            "errors from 1 s after it is back", [call for call in calls.between(back_at + 1) if call.is_error]
        )


async def told_to_stop(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F12: SIGTERM to one of two coordinators under load."""
    async with site(folder, verdicts, coordinators=2) as ground:
        async with ground.steady(deadline_ms=DEADLINE_MS) as calls:
            await asyncio.sleep(scale.window_s)
            victim = (await ground.pids("coordinator"))[0]
            os.kill(victim, signal.SIGTERM)
            took_s = await until(lambda: victim not in ground.cluster.pids("coordinator"), "its end")
            await ground.until_all_ready()
            await asyncio.sleep(scale.window_s)
        judge_calls(verdicts, calls.ended)
        verdicts.at_most("it has ended after", 30, took_s, " s")
