"""RoutingFile: what the coordinators route by, written whole or not at all, with its history kept.

It writes what it is given and counts revisions; a label stays where it is until its new version is ready (`labels`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.labels import with_settled_labels

FORMAT: Final = 1
KEEP: Final = 50


class RoutingFile:
    """The routing file at `path`; the last `keep` revisions lie in `history` as NNNNNNNN.json."""

    def __init__(self, path: Path, history: Path, keep: int = KEEP) -> None:
        self.path = path
        self._history = history
        self._keep = keep
        self._body: dict[str, Any] | None = None
        self._before = read_body(path)
        """What lay there when this began: labels stay where they were across a restart."""
        self.revision = self._last_revision()
        """Of the file that lies there now; 0 when there is none. It never goes back, also across restarts."""

    def publish(self, body: Mapping[str, Any]) -> bool:
        """Make `body` (without `format` and `revision`) what is routed by. False when it already is.

        When this returns, the file is on the disk; a reader sees the old file or the new one, never a part.
        """
        body = with_settled_labels(body, self._body or self._before)
        if body == self._body:
            return False
        revision = self.revision + 1
        text = json.dumps({"format": FORMAT, "revision": revision, **body}, indent=1)
        self._history.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        with new.open("w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        kept = self._history / f"{revision:08d}.json"
        kept.unlink(missing_ok=True)
        kept.hardlink_to(new)
        new.replace(self.path)
        _sync_folder(self.path.parent)
        self.revision = revision
        # a copy: the caller's maps may change
        self._body = json.loads(json.dumps(dict(body)))
        self._forget_old()
        return True

    def _forget_old(self) -> None:
        for path in self._revisions()[: -self._keep]:
            path.unlink(missing_ok=True)

    def _revisions(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted(
                path for path in self._history.iterdir() if path.suffix == ".json" and path.stem.isdigit()
            )
        return []

    def _last_revision(self) -> int:
        newest = max((int(path.stem) for path in self._revisions()), default=0)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            newest = max(newest, int(json.loads(self.path.read_bytes())["revision"]))
        return newest


def read_body(path: Path) -> dict[str, Any] | None:
    """What a routing file says; None when there is none, or it is not one."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) and isinstance(found.get("models"), dict) else None
    return None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
