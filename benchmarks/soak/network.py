"""A bad network between the coordinator and one of two minions (F16): cut, half-open, black hole, slow, late."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.soak.calls import Calls
from benchmarks.soak.kills import judge_calls
from benchmarks.soak.scale import Scale
from benchmarks.soak.small import CAPACITY, pair, route
from benchmarks.soak.verdicts import Verdicts
from tests.cluster.process_figures import descriptors
from tests.cluster.tcp_proxy import TcpProxy, tcp_proxy

MODES = ("reset", "half open", "drop", "slow", "delay")
BROKEN_S, WHOLE_S = 0.2, 0.3
# A black hole is noticed when nothing was acknowledged for 5 s; what it held is let go of then.
SETTLES_S = 12.0


async def bad_network(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F16: a hundred cycles over all modes."""
    async with pair(folder) as (cluster, minions), tcp_proxy(minions[0].ports["channel"]) as proxy:
        await route(cluster, [f"127.0.0.1:{proxy.port}", minions[1].address])
        pids = {
            "preprocessor": cluster._started[0].process.pid,
            "coordinator": cluster._started[1].process.pid,
            "minion behind the proxy": minions[0].process.pid,
            "other minion": minions[1].process.pid,
        }
        async with Calls(cluster.url, per_s=0.3 * 2 * CAPACITY, deadline_ms=2000) as calls:
            await asyncio.sleep(scale.window_s)
            before = {name: descriptors(pid) for name, pid in pids.items()}
            for cycle in range(scale.cycles):
                break_it(proxy, MODES[cycle % len(MODES)])
                await asyncio.sleep(BROKEN_S)
                proxy.switch("pass")
                await asyncio.sleep(WHOLE_S)
            # what is half open is open on the minion's side: the proxy lets go of it
            proxy.reset()
            await asyncio.sleep(max(scale.window_s, SETTLES_S))
            after = {name: descriptors(pid) for name, pid in pids.items()}
        judge_calls(verdicts, calls.ended)
        # the load beside it comes and goes on connections of its own
        for name in pids:
            slack = 8 if name == "coordinator" else 0
            verdicts.at_most(
                f"descriptors gained after {scale.cycles} cycles, {name}", slack, after[name] - before[name]
            )


def break_it(proxy: TcpProxy, mode: str) -> None:
    """Begin a mode."""
    if mode == "reset":
        proxy.reset()
    elif mode == "half open":
        proxy.half_open()
    elif mode == "drop":
        proxy.switch("drop")
    elif mode == "slow":
        proxy.switch("slow")
    else:
        proxy.switch("delay")
