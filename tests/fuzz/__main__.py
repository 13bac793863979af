"""`python -m tests.fuzz SECONDS [TARGET …]`: search for bytes that break a promise of `targets`, guided by coverage.

Each target gets its share of the seconds, in a process of its own. What was learnt is kept in `.crema/fuzz/TARGET`, so
that the next run goes on from there; what broke a promise lies in `.crema/fuzz/found`, and belongs into the tests.
"""

from __future__ import annotations

import subprocess
import sys

from tests.fuzz import corpus

FOLDER = corpus.ROOT / ".crema" / "fuzz"
SEEDS = {"image": corpus.images, "frame": corpus.frames, "body": corpus.bodies}
# The search for images is worth most of the time: native readers stand behind it.
SHARE = {"image": 0.7, "frame": 0.1, "body": 0.2}
MEMORY_MB = 2048
ONE_INPUT_S = 10


def main(seconds: int, names: list[str]) -> int:
    """Runs the targets one after the other; the exit status is 1 when something was found."""
    (FOLDER / "found").mkdir(parents=True, exist_ok=True)
    whole = sum(SHARE[name] for name in names)
    worst = 0
    for name in names:
        corpus.write(FOLDER / name, SEEDS[name]())
        share_s = max(1, round(seconds * SHARE[name] / whole))
        print(f"fuzz {name}: {share_s} s", flush=True)
        found = subprocess.run(
            [
                sys.executable, "-m", "tests.fuzz.search", name, str(FOLDER / name), f"-max_total_time={share_s}",
                f"-max_len={corpus.MOST_BYTES}", f"-timeout={ONE_INPUT_S}", f"-rss_limit_mb={MEMORY_MB}",
                f"-artifact_prefix={FOLDER / 'found'}/{name}-", "-print_final_stats=1", "-verbosity=1",
            ],
            cwd=corpus.ROOT,
        )  # fmt: skip
        if found.returncode:
            print(
                f"fuzz {name}: a promise of tests/fuzz/targets.py is broken by the file named above; "
                "mend it and add the bytes to the tables of tests/preprocessor or tests/fuzz",
                file=sys.stderr,
            )
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60, sys.argv[2:] or list(SEEDS)))
