"""The probe worker: crema's worker behind a guard. Runs in the package's own virtualenv, standard library only.

    python -P probe_worker.py --fd N --parent-pid P --notes-fd M

Before anything of the package runs it leaves the network (a network namespace of its own, where the kernel allows
one) and puts a hook under Python's sockets and files. The hook refuses connections, and writes what it saw to the
notes, one JSON object a line: {"kind": "guard" | "network" | "write" | "cwd", "what": …}. The hook sees what goes
through Python; the namespace also holds what compiled code does on its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any, Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_MOST_NOTES: Final = 40
_NOTE_CHARS: Final = 300
# what else changes files: which arguments of Python's audit events name them
_CHANGES: Final = {
    "os.chmod": (0,), "os.link": (1,), "os.mkdir": (0,), "os.remove": (0,), "os.rename": (0, 1), "os.rmdir": (0,),
    "os.symlink": (1,), "os.truncate": (0,), "sqlite3.connect": (0,),
}  # fmt: skip
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Refuses the network and takes notes. `scratch` is the one folder that may be written and worked in."""

    def __init__(self, notes_fd: int, scratch: str) -> None:
        self._notes_fd = notes_fd
        self._scratch = os.path.realpath(scratch)
        self._seen: set[tuple[str, str]] = set()

    def note(self, kind: str, what: str) -> None:
        """Write one note, each once and not too many: nobody reads them while the package runs."""
        entry = (kind, what[:_NOTE_CHARS])
        if entry not in self._seen and len(self._seen) < _MOST_NOTES:
            self._seen.add(entry)
            os.write(self._notes_fd, json.dumps({"kind": kind, "what": entry[1]}).encode() + b"\n")

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """Python's audit hook. Raises PermissionError for what would reach the network."""
        if event == "open":
            self._opened(*args)
        elif event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"):
            address = args[1]
            if isinstance(address, tuple):
                self._refuse(event.removeprefix("socket."), ":".join(map(str, address[:2])))
        elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
            self._refuse("look up", str(args[0]))
        elif event == "os.chdir":
            self._moved(args[0])
        elif event in _CHANGES:
            for place in _CHANGES[event]:
                self._changed(args[place])

    def _refuse(self, action: str, address: str) -> None:
        self.note("network", f"{action} {address}")
        raise PermissionError(f"a model works without network ({action} {address})")

    def _moved(self, target: Any) -> None:
        if isinstance(target, (str, bytes, os.PathLike)) and not self._is_inside(os.fsdecode(target)):
            self.note("cwd", os.fsdecode(target))

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(flags, int) and flags & _WRITES:
            self._changed(path)

    def _changed(self, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        # devices and shared memory, the kernel's own files, and the bytecode that an import leaves
        if name.startswith(("/dev/", "/proc/", "/sys/")) or "__pycache__" in name or self._is_inside(name):
            return
        self.note("write", name)

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._scratch or real.startswith(self._scratch + os.sep)


def leave_network() -> bool:
    """A network namespace with nothing in it, in a user namespace where that is needed. False where neither is allowed."""
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if unshare is None:
        return False
    uid, gid = os.getuid(), os.getgid()
    if unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return bool(unshare(_CLONE_NEWNET) == 0)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - before the package, nothing is imported in vain
                file.write(text)
        except OSError:
            continue  # files are still reached by the real ids; only their names look odd
    return True


def main() -> None:
    """Put up the guard, then be the worker."""
    arguments = sys.argv[1:]
    at = arguments.index("--notes-fd")
    notes_fd = int(arguments[at + 1])
    os.set_inheritable(notes_fd, False)
    guard = Guard(notes_fd, os.getcwd())  # noqa: PTH109 - pathlib is slow to import, and nothing else needs it here
    is_apart = leave_network()
    # msgpack and the ring are ours: what they open is no news
    from crema import worker

    guard.note("guard", "namespace" if is_apart else "sockets")
    sys.addaudithook(guard.hook)
    sys.argv[1:] = arguments[:at] + arguments[at + 2 :]
    worker.main()


if __name__ == "__main__":
    main()
