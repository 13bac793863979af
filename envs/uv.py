"""Uv: the installer as a process, told where packages come from.

uv does not read pip's configuration, so what pip is told here (find-links folders, index, certificates) is handed
over. It never lets uv download an interpreter.
"""

from __future__ import annotations

import configparser
import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Progress = Callable[[str], None]
"""Takes one line of text for a person who waits."""

# The profile that is resolved from the package index alone; all others may use find-links folders.
PLAIN_PROFILE: Final = "pypi"


_SHOWN_LINES: Final = 12
_MILESTONES: Final = (
    "Resolved",
    "Downloading",
    "Downloaded",
    "Prepared",
    "Installed",
    "Collecting",
    "Successfully",
)


class CommandFailed(Exception):
    """An installer ended with an error; `output` is all that it said."""

    def __init__(self, output: str, status: int) -> None:
        super().__init__(output)
        self.output = output
        self.status = status


@dataclass(frozen=True, slots=True)
class Sources:
    """Where packages come from for one profile: find-links folders or pages, and the environment of the installer."""

    find_links: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def arguments(self) -> list[str]:
        """The find-links as uv's and pip's command line takes them."""
        return [argument for place in self.find_links for argument in ("--find-links", place)]


def find_uv() -> Path | None:
    """The uv beside our own interpreter, else the one on PATH, else None."""
    beside = Path(sys.executable).parent / "uv"
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("uv")
    return Path(found) if found else None


def sources(profile: str, environ: Mapping[str, str] | None = None) -> Sources:
    """The sources of a profile: UV_FIND_LINKS, or else PIP_FIND_LINKS, or else pip's configuration; `pypi` has none.

    An index and certificates that only pip was told about are handed over, too.
    """
    environment = dict(os.environ if environ is None else environ)
    told = pip_settings(environment)
    written = (
        environment.pop("UV_FIND_LINKS", "").replace(",", " ")
        or environment.get("PIP_FIND_LINKS")
        or told.get("find-links", "")
    )
    if not any(key in environment for key in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        index = environment.get("PIP_INDEX_URL") or told.get("index-url")
        if index:
            environment["UV_DEFAULT_INDEX"] = index
    certificates = environment.get("PIP_CERT") or told.get("cert")
    if certificates:
        environment.setdefault("SSL_CERT_FILE", certificates)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    # Which interpreter to use is always said on the command line.
    for key in ("VIRTUAL_ENV", "UV_PYTHON", "PYTHONPATH", "PYTHONHOME"):
        environment.pop(key, None)
    if profile == PLAIN_PROFILE:
        environment.pop("PIP_FIND_LINKS", None)
        return Sources((), environment)
    # uv runs in a folder of its own, where a relative folder would be another one.
    places = (str(Path(place).absolute()) if Path(place).exists() else place for place in written.split())
    return Sources(tuple(places), environment)


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip's configuration files say for every command: `{"find-links": "/a /b", "index-url": …}`.

    Read here and not asked of pip, which may be missing and takes a third of a second to answer.
    """
    told = environ.get("PIP_CONFIG_FILE")
    if told == os.devnull:
        return {}
    home = Path(environ.get("HOME") or "/")
    places = [
        Path(folder, "pip/pip.conf") for folder in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    ]
    places += [Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    places.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf")
    places += [
        Path(sys.base_prefix, "pip.conf"),
        Path(sys.prefix, "pip.conf"),
        *([Path(told)] if told else []),
    ]
    parser = configparser.RawConfigParser(strict=False)
    for place in places:
        try:
            parser.read(place, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself complains about it; it is no reason to stop here
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update(
                {name.replace("_", "-"): " ".join(value.split()) for name, value in parser.items(section)}
            )
    return found


def run(
    command: Sequence[str | Path], environment: Mapping[str, str], progress: Progress, cwd: Path | None = None
) -> str:
    """Runs an installer to its end, hands its lines to `progress`, and returns them. It dies with this process.

    Raises CommandFailed with everything it said when it ends with an error.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(environment),
        cwd=cwd,
        # An installer that outlives a killed `crema up` would go on downloading into a folder nobody waits for.
        preexec_fn=functools.partial(_die_with, os.getpid()),
    )
    try:
        output = "".join(_told(process, progress))
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if status:
        raise CommandFailed(output, status)
    return output


# Looked up here, because between fork and exec the dynamic loader may be locked by a thread that is not there any more.
_prctl = getattr(ctypes.CDLL(None), "prctl", None)
_PR_SET_PDEATHSIG: Final = 1


def _die_with(parent_pid: int) -> None:
    """In the child: be killed when the thread that waits for it ends, and at once if that has happened already."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def _told(process: subprocess.Popen[str], progress: Progress) -> Iterator[str]:
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            if line.strip():
                progress(line.strip())
            yield line


def milestones(progress: Progress) -> Progress:
    """Passes on the lines of an installer that tell how far it is."""
    return lambda line: progress(line) if line.startswith(_MILESTONES) else None


def shortened(output: str) -> str:
    """What uv said, without its drawing: the reasons, indented, at most a dozen lines."""
    lines = [re.sub(r"^[\s×╰─▶│├]+", "", line).strip() for line in output.splitlines()]
    reasons = [
        line
        for line in lines
        if line and not line.startswith(("Resolved", "warning:", "Using ", "hint: Pre-releases"))
    ]
    reasons = [line for line in reasons if line != "No solution found when resolving dependencies:"]
    more = len(reasons) - _SHOWN_LINES
    return "\n".join(f"    {line}" for line in reasons[:_SHOWN_LINES]) + (
        f"\n    … {more} more lines" if more > 0 else ""
    )
