"""Bottleneck: whether a load run measured the cluster or its own sender, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadtest.figures import Latencies

# Half of it is the clock of the event loop, which wakes up by the millisecond.
LAG_BOUND_S: Final = 0.010
CPU_BOUND: Final = 0.9
# So many of a hundred seconds at the CPU's bound are more than chance.
_BUSY_SHARE: Final = 0.1


def bottlenecks(
    *,
    lag: Latencies,
    cpu_shares: Sequence[Sequence[float]],
    held: int,
    connections: int,
    codes: dict[str, int],
    processes: int,
    cores: int,
) -> list[str]:
    """One sentence per sign that the generator was the limit, with the next step. `connections` are all senders' together."""
    found = []
    more = (
        f"--processes {min(cores, 2 * processes)}" if processes < cores else "send from a machine of its own"
    )
    lag_s = lag.percentile_s(99)
    if lag_s is not None and lag_s > LAG_BOUND_S:
        found.append(
            f"calls were sent late: p99 {lag_s * 1000:.0f} ms after they were due (bound {LAG_BOUND_S * 1000:.0f} ms). "
            f"The latencies hold that too: the generator was short of CPU. Next: {more}"
        )
    busiest = max(
        (sum(share > CPU_BOUND for share in shares) / len(shares) for shares in cpu_shares if shares),
        default=0.0,
    )
    if busiest >= _BUSY_SHARE:
        found.append(
            f"a sender used more than {CPU_BOUND:.0%} of its core for {busiest:.0%} of the run. Next: {more}"
        )
    offered = lag.count
    if held:
        found.append(
            f"{held} of {offered} calls were due when all {connections} connections were taken, and waited for one. "
            f"Next: --connections {4 * connections}, and `ulimit -n` above it"
        )
    for code, what, step in (
        ("no_descriptors", "found no free file descriptor", "raise `ulimit -n`, or lower --connections"),
        ("no_ports", "found no free port on this machine", "send from more addresses or machines, or lower --connections"),
    ):  # fmt: skip
        if codes.get(code):
            found.append(f"{codes[code]} calls {what}. Next: {step}")
    return found
