"""The whole test suite, in two runs of pytest side by side.

    .venv/bin/python scripts/run_tests.py

The tests of `tests/cluster` mostly wait: for processes to start, for windows of load to pass. Beside them everything else runs with a
lower priority, so that it fills the cores and disturbs no window. The output of the second run follows that of the first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "tests" / "cluster"
# Builds images for a minute or two and looks at no clock.
BUILDS = CLUSTER / "test_kubernetes.py"
NICENESS = 5


def main() -> int:
    """Run both; 0 when nothing failed."""
    others = sorted(
        path
        for path in (ROOT / "tests").iterdir()
        if path != CLUSTER and ((path.is_dir() and path.name != "__pycache__") or path.match("test_*.py"))
    )
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(
            ["nice", "-n", str(NICENESS), *pytest([*others, BUILDS])],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            failed = subprocess.run([*pytest([CLUSTER]), f"--ignore={BUILDS}"], cwd=ROOT).returncode
            failed = beside.wait() or failed
        finally:
            # nothing else ends it when this is interrupted
            beside.terminate()
            beside.wait()
            output.seek(0)
            sys.stdout.write(output.read())
    return failed


def pytest(paths: list[Path]) -> list[str]:
    """The command for the tests below `paths`."""
    return [sys.executable, "-m", "pytest", *(str(path.relative_to(ROOT)) for path in paths)]


if __name__ == "__main__":
    sys.exit(main())
