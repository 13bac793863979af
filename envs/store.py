"""The built virtualenvs on disk: one folder per fingerprint, complete from the moment it is there.

A folder gets its final name by one rename, after a marker was written into it last; what lies under any other name is
left over from a build that was stopped, and is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from crema.host.packages import Packages
from envs.lock_file import LockFile, LockRefused, found_locks
from envs.uv import Progress

MARKER_NAME: Final = "crema-environment.json"
BUILDING: Final = ".building-"
_REMOVING: Final = ".removing-"
_LOCKS: Final = ".locks"
_FINGERPRINT_DIGITS: Final = 24


@dataclass(frozen=True, slots=True)
class Marker:
    """What a build wrote down last. `records` is the digest of all RECORD files, `bytes` the size without bytecode."""

    fingerprint: str
    profile: str
    platform: str
    python: str
    requirements: list[str]
    records: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Built:
    """A complete virtualenv on disk."""

    path: Path
    marker: Marker

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"


def default_root() -> Path:
    """Where virtualenvs are built: `CREMA_ENVS`, or `envs/built` beside this code."""
    return Path(os.environ.get("CREMA_ENVS") or Path(__file__).with_name("built")).absolute()


def fingerprint(lock_content: str, platform: str) -> str:
    """The name of an environment: equal exactly for equal locked requirements on an equal kind of Python."""
    digest = hashlib.sha256(f"{platform}\n{lock_content}".encode()).hexdigest()
    return digest[:_FINGERPRINT_DIGITS]


def find_built(root: Path, name: str) -> Built | None:
    """The complete environment of a fingerprint; None when there is none, or its base interpreter went away."""
    path = root / name
    try:
        marker = Marker(**json.loads((path / MARKER_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    built = Built(path, marker)
    return built if os.access(built.python, os.X_OK) else None


def all_built(root: Path) -> list[Built]:
    """Every complete environment, by fingerprint."""
    names = (
        sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
        if root.is_dir()
        else []
    )
    return [built for name in names if (built := find_built(root, name)) is not None]


def write_marker(folder: Path, marker: Marker) -> None:
    """Writes the marker and makes sure that it is on the disk before the folder gets its name."""
    with (folder / MARKER_NAME).open("w", encoding="utf-8") as stream:
        json.dump(asdict(marker), stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())


def put_in_place(root: Path, folder: Path, name: str) -> None:
    """Gives a finished folder its final name; whatever lay there before (a broken environment) goes."""
    if (root / name).exists():
        remove(root, name)
    folder.rename(root / name)


def remove(root: Path, name: str) -> None:
    """Takes an environment away so that nobody ever sees half of it: renamed first, then deleted."""
    aside = root / f"{_REMOVING}{name}-{os.getpid()}"
    (root / name).rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def only_builder(root: Path, name: str, progress: Progress | None = None) -> Iterator[bool]:
    """Holds the lock of one fingerprint: the one process that may build, replace or remove it. Ends with the process.

    With `progress`, waits for another holder and says so; without, yields False at once when there is one.
    """
    folder = root / _LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress is None:
                yield False
                return
            progress("another process is building the same environment; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield True


def remove_leftovers(root: Path, name: str) -> None:
    """Removes what stopped builds of one fingerprint left. Only for the holder of its lock."""
    for prefix in (BUILDING, _REMOVING):
        for left in root.glob(f"{prefix}{name}-*"):
            shutil.rmtree(left, ignore_errors=True)


def users(built: Built, packages: Packages) -> list[str]:
    """The packages with a lock that this environment serves: `tags@3.1 (cpu)`."""
    using = []
    for folder in packages.all:
        for profile, path in found_locks(folder.path).items():
            try:
                content = LockFile.read(path).content
            except LockRefused:
                continue  # `crema lock` and the build say so; it names no environment
            if fingerprint(content, built.marker.platform) == built.marker.fingerprint:
                using.append(f"{folder.label} ({profile})")
    return using


def running_in(path: Path) -> list[int]:
    """The pids of processes that run this environment's Python."""
    prefix = os.fsencode(path) + b"/"
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().startswith(prefix):
                pids.append(int(entry.name))
        except OSError:
            continue
    return sorted(pids)


def prune(root: Path, packages: Packages, *, dry_run: bool = False) -> tuple[list[Built], list[Built]]:
    """Removes the environments that no package's lock names, and what stopped builds left: (removed, kept in use)."""
    removed, in_use = [], []
    for built in all_built(root):
        if users(built, packages):
            continue
        if running_in(built.path):
            in_use.append(built)
            continue
        removed.append(built)
        if not dry_run:
            with only_builder(root, built.path.name) as is_ours:
                if is_ours:
                    remove(root, built.path.name)
    if not dry_run and root.is_dir():
        for name in {
            left.name.split("-")[1] for left in root.iterdir() if left.name.startswith((BUILDING, _REMOVING))
        }:
            with only_builder(root, name) as is_ours:
                if is_ours:
                    remove_leftovers(root, name)
    return removed, in_use
