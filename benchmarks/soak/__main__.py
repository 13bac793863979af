"""`make soak`: every fault with its long windows, one after the other; a line per goal, and a Markdown table in the end.

    .venv/bin/python -m benchmarks.soak [--faults F26,F28] [--seconds 60] [--markdown FILE]

The whole takes about 50 minutes and wants a quiet machine. `--seconds` is the steady load before and after each
fault; with less than 60 the number of kills, calls and cycles shrinks alike. Exit status 0: every goal was met.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from benchmarks.measuring import machine
from benchmarks.soak import growth, kills, network, outages, overload, stalls
from benchmarks.soak.scale import WHOLE_S, Scale
from benchmarks.soak.verdicts import Verdicts, markdown

FAULTS: Final[dict[str, tuple[str, Callable[[Verdicts, Path, Scale], Awaitable[None]]]]] = {
    "KILLS": ("20 kills: worker, host, decoder, preprocessor, coordinator in turn", kills.in_turn),
    "F1": ("kill -9 of a minion, one of two, 20 times", kills.hosts),
    "F2": ("kill -9 of the only replica", kills.only_replica),
    "F3": ("a version that never loads beside one that serves", stalls.crash_loop),
    "F4": ("a batch that never ends", stalls.hang),
    "F5": ("one of two replicas ten times slower", stalls.slow),
    "F7": ("one call in a hundred makes its batch raise", stalls.poison),
    "F11": ("kill -9 of the only preprocessor", kills.preprocessors),
    "F12": ("SIGTERM to one of two coordinators", kills.told_to_stop),
    "F15": ("SIGSTOP of one of two minions for 20 s", stalls.stopped),
    "F16": ("cut, half-open, black hole, slow, late: 100 cycles", network.bad_network),
    "F25": ("100,000 calls: growth of memory and descriptors", growth.memory),
    "F26": ("all replicas gone for 20 s at 80 % load", outages.herd),
    "F28": ("all replicas refuse for 60 s, callers try again", outages.storm),
    "F29": ("bulk at 10x beside interactive at 60 %", overload.bulk),
    "F36": ("metrics under 3x overload (and F27)", overload.metrics),
}


def run(names: list[str], scale: Scale) -> Verdicts:
    """The faults named, each in a folder of its own. One that cannot be finished is missed, and the next one runs."""
    verdicts = Verdicts()
    with tempfile.TemporaryDirectory(prefix="crema-soak-") as folder:
        # its clusters are found by their own files only
        os.environ["XDG_RUNTIME_DIR"] = folder
        for name in names:
            title, fault = FAULTS[name]
            began = time.monotonic()
            print(f"== {name}: {title}", flush=True)
            verdicts.fault = name
            own = Path(folder) / name
            own.mkdir()
            try:
                asyncio.run(fault(verdicts, own, scale))  # type: ignore[arg-type]
            except Exception as error:
                verdicts.ended_early(error)
            print(f"      {name} took {time.monotonic() - began:.0f} s", flush=True)
    return verdicts


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, write. → exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description="Faults with long windows."
    )
    parser.add_argument("--faults", default=",".join(FAULTS), help="which, with commas between; default: all")
    parser.add_argument("--seconds", type=float, default=WHOLE_S, help="steady load before and after each")
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    parser.add_argument("--list", action="store_true", help="say what there is, and end")
    args = parser.parse_args(arguments)
    if args.list:
        print("\n".join(f"{name:<6} {title}" for name, (title, _) in FAULTS.items()))
        return 0
    names = [name.strip().upper() for name in args.faults.split(",") if name.strip()]
    if unknown := [name for name in names if name not in FAULTS]:
        print(f"there is no fault {', '.join(unknown)}; there are: {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    if args.seconds < 1:
        print("--seconds must be at least 1", file=sys.stderr)
        return 2
    scale = Scale(args.seconds)
    words = (
        f"{time.strftime('%Y-%m-%d')}; {machine()}. {scale.window_s:g} s of steady load before and after each fault,"
        f" {scale.kills} kills, {scale.requests} calls, {scale.cycles} broken connections."
    )
    print(words)
    verdicts = run(names, scale)
    missed = sum(each.met is False for each in verdicts.found)
    print(f"{sum(each.met is True for each in verdicts.found)} goals met, {missed} missed")
    if args.markdown:
        command = f"python -m benchmarks.soak --faults {','.join(names)} --seconds {scale.window_s:g}"
        args.markdown.write_text(markdown(verdicts.found, f"Soak (`{command}`)", words))
    return 0 if verdicts.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
