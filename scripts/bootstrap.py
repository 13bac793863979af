"""Make `.venv` with uv in it, from a bare Python: standard library only, nothing installed outside the folder.

    python3 scripts/bootstrap.py [--choose] .venv

uv comes from the PATH, or from this Python's pip or ensurepip (Debian's Python has none). `--choose`: `.venv` stands on
another Python of the same version where one is here that is much quicker. Says what to install when something is missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

UV = "uv>=0.8"
# What a Python must be quicker by to be taken instead of the one that was named. A build with profile-guided optimisation
# (Debian's, Docker's) takes half the time per step of one without (pyenv's, unless told); two of one kind differ by less.
MUCH = 1.4
# The modules that a distribution's smallest Python leaves out; then the time of some thousand steps of everyday Python.
PROBE = """
import asyncio, bz2, ctypes, lzma, multiprocessing, ssl, sysconfig, time, zlib
class Step:
    def __init__(self, size): self.size = size
    def add(self, other): return self.size + other
def steps():
    table = {}
    for number in range(20000): table[number & 63] = [Step(number).add(1), {"n": number}]
def seconds():
    began = time.perf_counter()
    steps()
    return time.perf_counter() - began
print(sysconfig.get_config_var("SOABI"), min(seconds() for _ in range(7)))
"""
PROBE_TIMEOUT_S = 20
PROBES = 3


def run(*command: str) -> None:
    subprocess.run(
        command,
        check=True,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "PIP_ROOT_USER_ACTION": "ignore"},
    )


def candidates() -> Iterator[str]:
    """Every Python of this version on the PATH and where distributions put theirs, each once."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    seen = {os.path.realpath(sys.executable)}
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"):
        path = os.path.join(folder, name)  # noqa: PTH118 - an empty folder on the PATH is the present one
        real = os.path.realpath(path)
        if real not in seen and os.access(path, os.X_OK):
            seen.add(real)
            yield path


def step_seconds(python: str) -> float | None:
    """What the probe takes there; None where it does not run, or not as a Python that takes the same compiled packages."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", PROBE],
            capture_output=True,
            text=True,
            check=True,
            timeout=PROBE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        platform, seconds = done.stdout.split()
        return float(seconds) if platform == sysconfig.get_config_var("SOABI") else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def choose(named: str, others: Iterator[str]) -> str:
    """The quickest of `others`, if it is much quicker than the Python that was named; says so."""
    pythons = [named, *others]
    times: dict[str, list[float]] = {python: [] for python in pythons}
    for _ in range(PROBES):  # in turn: a moment in which the machine is slow meets all of them
        for python in pythons:
            if (seconds := step_seconds(python)) is not None:
                times[python].append(seconds)
    timed = [(min(seconds), other) for other, seconds in times.items() if seconds and other != named]
    if not times[named] or not timed or min(times[named]) / min(timed)[0] < MUCH:
        return named
    own = min(times[named])
    seconds, quickest = min(timed)
    print(
        f"using {quickest}: {own / seconds:.1f} times as quick as {named}, which is built without optimisations\n"
        f"  (to have that one: make PYTHON={named})"
    )
    return quickest


def fetch_uv(aside: str) -> str | None:
    """uv in a folder of ours, by this Python's pip or, failing that, ensurepip; None where it has neither."""
    quiet = ("--quiet", "--disable-pip-version-check")
    if importlib.util.find_spec("pip") is not None:
        run(sys.executable, "-m", "pip", "install", *quiet, "--target", aside, UV)
    elif importlib.util.find_spec("ensurepip") is not None:
        run(sys.executable, "-m", "venv", "--clear", aside)
        run(str(Path(aside, "bin", "python")), "-m", "pip", "install", *quiet, UV)
    else:
        return None
    return str(Path(aside, "bin", "uv"))


def main(folder: str, may_choose: bool) -> int:
    if sys.version_info < (3, 11):
        print(
            f"crema needs Python 3.11 or newer; this is {sys.version.split()[0]}. Say which to use: make PYTHON=python3.11",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="crema-uv-") as aside:
        uv = shutil.which("uv") or fetch_uv(aside)
        if uv is None:
            print(
                "this Python has neither ensurepip nor pip, and there is no uv on the PATH.\n"
                "  try: install one of them (Debian, Ubuntu: apt install python3-venv), then run make again",
                file=sys.stderr,
            )
            return 1
        python = choose(sys.executable, candidates()) if may_choose else sys.executable
        run(uv, "venv", "--quiet", "--clear", "--python", python, folder)
        # pip is for people: they look for it in a virtualenv
        run(uv, "pip", "install", "--quiet", "--python", str(Path(folder, "bin", "python")), UV, "pip")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[-1], "--choose" in sys.argv[1:-1]))
    except subprocess.CalledProcessError as error:
        print(
            f"failed: {' '.join(map(str, error.cmd))}\n  try: run it by hand; its own message stands above",
            file=sys.stderr,
        )
        sys.exit(1)
