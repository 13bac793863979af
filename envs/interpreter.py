"""Interpreter: a Python on this machine that a model's virtualenv can stand on. Looks on PATH; never downloads one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crema.host.python_requirement import PythonRequirement

_ASK: Final = "import sys,sysconfig;print(*sys.version_info[:3],sysconfig.get_config_var('SOABI'))"
_ASK_TIMEOUT_S: Final = 20
_NAME = re.compile(r"python3\.(\d+)\Z")


class NoInterpreter(Exception):
    """No Python here is what a package or a lock needs; `str()` lists those that were found."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`release` is `(3, 11, 4)`; `platform` the tag of its compiled modules, `cpython-311-x86_64-linux-gnu`."""

    path: Path
    release: tuple[int, int, int]
    platform: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.release))} ({self.path})"


def inspect(path: Path) -> Interpreter:
    """Asks the interpreter what it is. Raises NoInterpreter when it does not answer."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_ASK_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        major, minor, micro, platform = done.stdout.split()
        return Interpreter(path, (int(major), int(minor), int(micro)), platform)
    except (OSError, ValueError, subprocess.SubprocessError):
        raise NoInterpreter(f"{path} is not a Python that runs") from None


def choose_interpreter(requirement: PythonRequirement, own: Path | None = None) -> Interpreter:
    """The first that `requirement` allows: our own, else a `python3.N` on PATH (oldest first).

    Raises NoInterpreter with a list of what was found.
    """
    found = []
    for interpreter in _candidates(own or Path(sys.executable)):
        if requirement.allows(interpreter.release):
            return interpreter
        found.append(str(interpreter))
    raise NoInterpreter(
        f"no Python here fits python: {requirement.text}; found {', '.join(found)}\n"
        "  try: install one that fits, so that it is on PATH as python3.N; none is ever downloaded"
    )


def _candidates(own: Path) -> Iterator[Interpreter]:
    yield inspect(own)
    seen: set[str] = set()
    names: dict[int, list[Path]] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        try:
            entries = sorted(Path(folder).iterdir()) if folder else []
        except OSError:
            continue
        for entry in entries:
            if match := _NAME.match(entry.name):
                names.setdefault(int(match[1]), []).append(entry)
    for minor in sorted(names):
        for path in names[minor]:
            real = os.path.realpath(path)
            if real in seen or not os.access(path, os.X_OK):
                continue
            seen.add(real)
            try:
                yield inspect(path)  # a version manager's stub may be there without a Python behind it
            except NoInterpreter:
                continue
