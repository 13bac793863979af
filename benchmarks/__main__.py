"""`make bench`: every benchmark, one after the other; each prints goal, figure and verdict.

.venv/bin/python -m benchmarks [NAME …]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALL = (
    "codec",
    "page_faults",
    "fanout",
    "merged_call",
    "processes",
    "decode",
    "preprocess",
    "beside_hostile",
    "tags_over_http",
    "minion_cpu",
    "efficiency",
    "cpu_preset",
    "gpu",
    "workers",
    "minion_receive",
    "loop_lag",
    "memory_growth",
    "overload",
    "routing",
    "scatter",
    "fair_shares",
    "autoscaling",
    "scrapes",
    "environments",
    "releases",
    "loadtest_rate",
    "simulation",
)


def main(names: list[str]) -> int:
    """Each in a process of its own, so that none inherits another's memory. → exit status."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or ALL:
        print(f"== {name}", flush=True)
        failed += (
            subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}"], cwd=Path(__file__).parent.parent
            ).returncode
            != 0
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
