"""RunFolder: where one minion keeps what it needs while it runs: its workers' scratch folders, the light ring's links.

It is removed at the end, and what a killed minion left behind is removed by the next one that starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "crema-minion-"
# locked for as long as its minion lives: the kernel gives the lock back however that ends
_LOCK_NAME: Final = "alive"


class RunFolder:
    """A fresh folder under `parent` (default: the system's folder for temporary files)."""

    def __init__(self, parent: Path | None = None) -> None:
        root = Path(tempfile.gettempdir()) if parent is None else parent
        # locked under a name that nobody looks for, then renamed: it is never seen unlocked
        fresh = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=root))
        self._lock = os.open(fresh / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = fresh.rename(root / fresh.name[1:])

    def open_up(self) -> Path:
        """Let others pass through it to what they are told of, and read none of its names. A place in it, for whoever asks
        whether they can."""
        self.path.chmod(0o711)
        return self.path / "any"

    def lend(self, file: Path) -> Path:
        """A copy of `file` here that everybody may read."""
        lent = self.path / file.name
        shutil.copyfile(file, lent)
        lent.chmod(0o644)
        return lent

    def remove(self) -> None:
        """Remove it and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_abandoned(parent: Path | None = None) -> None:
    """Remove the run folders of our own user whose minions are gone."""
    root = Path(tempfile.gettempdir()) if parent is None else parent
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it lives
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
