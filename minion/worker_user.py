"""WorkerUser: whom a worker runs as. Where root starts the minion, a user of the version's own, who owns nothing and can
read neither keys nor tokens nor what belongs to another version's worker; else whoever started the minion.
"""

from __future__ import annotations

import os
import stat
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

FIRST_ID: Final = 64_920
IDS: Final = 512

log = structlog.get_logger(__name__)


def worker_user(name: str, version: str, needed: Iterable[Path]) -> int | None:
    """The id of the user, or None to change none. It is taken from the version's name; two of many may come to the same.

    `needed` is what the worker reads. Where only root may read that, it stays root's, and the log names the place.
    """
    if os.geteuid() != 0:
        return None
    user = FIRST_ID + zlib.crc32(f"{name}@{version}".encode()) % IDS
    closed = next((place for path in needed if (place := closed_place(path)) is not None), None)
    if closed is not None:
        because = f"others than root may not read {closed}; allow it, or start crema as a user of its own"
    elif not _can_become(user):
        because = "this process may not change its user"
    else:
        return user
    log.warning("worker_stays_root", because=because)
    return None


def closed_place(path: Path) -> Path | None:
    """The first place on the way to `path`, links followed, that is not open to everybody; a folder's contents are not
    looked at. None when everybody may read it, or when it is not there."""
    real = path.resolve()
    for place in (*reversed(path.absolute().parents), *reversed(real.parents), real):
        try:
            mode = place.stat().st_mode
        except OSError:
            return None
        wanted = stat.S_IXOTH if place != real else stat.S_IROTH
        if stat.S_ISDIR(mode):
            wanted |= stat.S_IXOTH
        if mode & wanted != wanted:
            return place
    return None


def _can_become(user: int) -> bool:
    try:
        done = subprocess.run(["/bin/true"], user=user, group=user, extra_groups=[], cwd="/", check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
