"""StateFolder: `.crema/` beside a `cluster.yaml`. Held by one supervisor at a time; what a killed one left behind is
noticed by the lock that the kernel released, not by guessing about pids.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from crema.host.left_behind import end_left_behind
from deploy.log_file import LogFile
from deploy.running_cluster import SUPERVISOR_FILE, pointer_file, private_folder, runtime_folder, state_key

# The address of a Unix socket has 108 bytes, the last of them zero.
_MAX_SOCKET_PATH_BYTES: Final = 107
_LEFTOVERS_TIMEOUT_S: Final = 5.0


class AlreadyRunning(Exception):
    """Another supervisor holds this folder; `pid` is its, where it is known."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = f"pid {pid}" if pid else "its pid is not known"
        super().__init__(
            f"a cluster is already running for {folder.parent} ({who})\n  see it: crema status\n  stop it: kill {pid or 'PID'}"
        )
        self.pid = pid


class StateFolder:
    """The paths in a state folder, and who holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.routing = path / "routing.json"
        self.routing_history = path / "routing-history"
        self.warmup = path / "warmup"
        self.curves = path / "curves"
        """What `crema bench` measured; read here, written by that verb."""
        self.scratch = _scratch_folder(state_key(path))
        """For the temporary files of the cluster's processes: not beside the cluster file, whose disk may be slow."""
        self._supervisor = path / SUPERVISOR_FILE
        self._lock: int | None = None
        self._left_by_killed: dict[str, Any] = {}

    def hold(self) -> None:
        """Take the folder for this process. Raises AlreadyRunning."""
        for folder in (self.path, self.logs, self.routing_history, self.warmup):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        left = self._read()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            pid = left.get("pid")
            raise AlreadyRunning(self.path, pid if isinstance(pid, int) else None) from None
        self._lock = lock
        self._left_by_killed = left
        self._empty_scratch()
        self.scratch.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)

    def release(self) -> None:
        """Give the folder back, with nothing in it that says a cluster runs."""
        self._supervisor.unlink(missing_ok=True)
        self.control_socket().unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            pointer_file(self.path).unlink(missing_ok=True)
        self._empty_scratch()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, found: dict[str, Any]) -> None:
        """Write `supervisor.json`: the pid, where to ask, the URLs, and the children's pids."""
        new = self._supervisor.with_name(SUPERVISOR_FILE + ".new")
        new.write_text(json.dumps(found, indent=1) + "\n")
        new.replace(self._supervisor)

    def point_from(self, folder: Path) -> None:
        """Let the verbs find this cluster in the folder it was started from. Does without where that cannot be written."""
        with contextlib.suppress(OSError):
            pointer_file(self.path).write_text(
                json.dumps(
                    {"started_from": str(folder.absolute()), "state_folder": str(self.path.absolute())}
                )
            )

    def control_socket(self) -> Path:
        """Where the control socket lies: here, or in a private folder when this path is too long for a socket."""
        path = self.path.absolute() / "control.sock"
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
            return path
        return runtime_folder() / f"{state_key(self.path)}.sock"

    def log_file(self, name: str) -> LogFile:
        """The log of the process called `name`."""
        return LogFile(self.logs / f"{name}.log")

    def end_leftovers(self) -> list[int]:
        """Kill what a killed supervisor's cluster left, and return the pids. Its processes end by themselves when their
        parent dies; this is for one that could not (stopped, or stuck in a call of a driver)."""
        children = self._left_by_killed.get("children")
        ours = [entry for entry in children if isinstance(entry, dict)] if isinstance(children, list) else []
        alive = [entry["pid"] for entry in ours if _is_same_process(entry)]
        deadline = time.monotonic() + _LEFTOVERS_TIMEOUT_S
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = [entry["pid"] for entry in ours if _is_same_process(entry)]
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        return alive

    def _empty_scratch(self) -> None:
        end_left_behind(self.scratch)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._supervisor.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _scratch_folder(key: str) -> Path:
    """Root's workers are other users (see `minion.worker_user`), who pass through to what they are told of and can list
    nothing; other people's lies where only they come."""
    if os.geteuid() == 0:
        return Path(tempfile.gettempdir()) / f"crema-{key}.tmp"
    return private_folder() / f"{key}.tmp"


def children_written(pids: Iterable[int]) -> list[dict[str, int]]:
    """Pids with the kernel's start time of each, so that a pid that was given anew is not taken for the old process."""
    return [{"pid": pid, "started": started} for pid in pids if (started := _started(pid)) is not None]


def _is_same_process(entry: dict[str, Any]) -> bool:
    pid, started = entry.get("pid"), entry.get("started")
    return type(pid) is int and pid > 1 and started is not None and _started(pid) == started


def _started(pid: int) -> int | None:
    """The start time of a living process in clock ticks since boot; None when there is none or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
