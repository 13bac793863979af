"""RunningCluster: finding a supervisor that runs on this machine, and asking it. Standard library only, so that the
verbs that ask are quick; it never starts or signals anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

STATE_FOLDER: Final = ".crema"
SUPERVISOR_FILE: Final = "supervisor.json"
ASK_TIMEOUT_S: Final = 5.0
# The supervisor says something every two seconds while a verb runs.
SILENT_S: Final = 30.0


class NotRunning(Exception):
    """No supervisor answers for this folder or file; the text says how to start one."""


class Silent(NotRunning):
    """A supervisor is there and does not answer in time: stopped, or starved."""


class Refused(Exception):
    """A release verb was not done; the text says why and what to do, `detail` is what stands under it."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(problem)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A supervisor that answered. `public_url` is None while its coordinator has not listened yet."""

    state_folder: Path
    pid: int
    control: Path
    public_url: str | None

    def status(self) -> dict[str, Any]:
        """The status document (design: 6.3). Raises NotRunning when the supervisor is gone meanwhile."""
        return _ask(self.control, "/status")

    def run(self, verb: str, asked: Mapping[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
        """Run a release verb and return what it did, once that is in force. Raises Refused or NotRunning."""
        connection = _UnixConnection(self.control, SILENT_S)
        try:
            connection.request(
                "POST", f"/{verb}", json.dumps(dict(asked)), {"Content-Type": "application/json"}
            )
            for line in connection.getresponse():
                said = json.loads(line) if line.strip() else {}
                if "done" in said:
                    done: dict[str, Any] = said["done"]
                    return done
                if "refused" in said:
                    raise Refused(said["refused"], said.get("detail", ""))
                if "progress" in said:
                    progress(said["progress"])
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotRunning(f"the supervisor does not answer on {self.control}: {error}") from None
        finally:
            connection.close()
        raise NotRunning("the supervisor ended before this was done\n  see: crema status")


def find_cluster(cluster_file: Path | None = None, folder: Path | None = None) -> RunningCluster:
    """The cluster of `cluster_file`, else the one whose file lies in `folder` (default: here), else the one that was
    started from there. Raises NotRunning with the next step."""
    if cluster_file is not None:
        return _open(state_folder_of(cluster_file), f"crema up {cluster_file}")
    folder = (folder or Path.cwd()).absolute()
    here = NotRunning("")
    try:
        return _open(folder / STATE_FOLDER, "crema up")
    except NotRunning as error:
        here = error
    for state_folder in _started_from(folder):
        with contextlib.suppress(NotRunning):
            return _open(state_folder, "")
    raise here


def state_folder_of(cluster_file: Path) -> Path:
    """Where the supervisor of a cluster file keeps its state: beside the file."""
    return cluster_file.absolute().parent / STATE_FOLDER


def _open(state_folder: Path, start: str) -> RunningCluster:
    not_running = NotRunning(
        f"no cluster is running for {state_folder.parent}\n  start one: {start}\n  or name its file: --cluster FILE"
    )
    try:
        found = json.loads((state_folder / SUPERVISOR_FILE).read_bytes())
        pid, control = int(found["pid"]), Path(found["control"])
    except (OSError, ValueError, KeyError, TypeError):
        raise not_running from None
    try:
        _ask(control, "/livez")
    except Silent as error:
        raise Silent(f"{error}\n  look at its process: ps -o stat,wchan,args -p {pid}") from None
    except NotRunning:
        raise not_running from None
    return RunningCluster(state_folder, pid, control, found.get("public"))


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float = ASK_TIMEOUT_S) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ask(control: Path, path: str) -> dict[str, Any]:
    connection = _UnixConnection(control)
    try:
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
    except TimeoutError:
        raise Silent(f"the supervisor runs and does not answer within {ASK_TIMEOUT_S:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotRunning(f"the supervisor does not answer on {control}: {error}") from None
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise NotRunning(f"what answers on {control} is not a supervisor")
    return answer


# -- clusters started from a folder that is not their own ----------------------------------------------------------


def runtime_folder() -> Path:
    """A folder of this user alone, for sockets and for what finds them. Raises PermissionError (see `private_folder`)."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return private_folder(Path(base)) if base and Path(base).is_dir() else private_folder()


def private_folder(base: Path | None = None) -> Path:
    """A folder of this user alone in `base` (default: the one for temporary files), made when it is not there.

    Raises PermissionError when somebody else prepared it.
    """
    folder = (base or Path(tempfile.gettempdir())) / f"crema-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{folder} is not a folder of this user alone; remove it, or set TMPDIR to a private folder"
        )
    return folder


def pointer_file(state_folder: Path) -> Path:
    """Where it is written down from which folder the cluster of `state_folder` was started."""
    return runtime_folder() / f"{state_key(state_folder)}.json"


def state_key(state_folder: Path) -> str:
    """A short name for a state folder."""
    return hashlib.sha256(os.fsencode(state_folder.absolute())).hexdigest()[:16]


def _started_from(folder: Path) -> list[Path]:
    """State folders of clusters started from `folder`, the newest first."""
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for pointer in runtime_folder().glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                written = json.loads(pointer.read_bytes())
                if Path(written["started_from"]) == folder:
                    found.append((pointer.stat().st_mtime, Path(written["state_folder"])))
    return [state_folder for _, state_folder in sorted(found, reverse=True)]
