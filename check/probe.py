"""Probe: one probe worker from its start to its end, blocking, with a time limit on everything.

It says what happened in plain words (WorkerLost, BatchRaised); what follows from it is the steps' business.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from check.surroundings import own_root, probe_environment
from crema import wire

_START_S: Final = 30.0
_END_S: Final = 3.0
_DUMP_S: Final = 0.3
_SENT_S: Final = 30.0
_LOOK_AGAIN_S: Final = 0.01
_TAIL_LINES: Final = 30
_TAIL_CHARS: Final = 500

Outcome = dict[str, Any]
"""`{"ok": output}` or `{"error": {code, message, retryable}}`."""


class WorkerLost(Exception):
    """The worker did not load, died or hung. The text is one line; `detail` what it said last, or a traceback."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem)
        self.detail = detail


class BatchRaised(Exception):
    """A batch as a whole had no outcomes: the model raised, or did not return one output per item."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message")))
        self.code = str(error.get("code"))
        self.kind = str(error.get("kind") or "")
        self.trouble = error.get("trouble")
        self.detail = str(error.get("traceback") or "")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a probe worker is started with. `work` holds its scratch folder, `visible` is CUDA_VISIBLE_DEVICES."""

    python: Path
    package_dir: Path
    card: dict[str, Any]
    light_ring: Path
    work: Path
    device: str = "cpu"
    visible: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What the guard saw: `kind` is guard, network, write or cwd."""

    kind: str
    what: str


class Probe:
    """One worker. Start it, load, run batches, close. A lost worker is of no further use."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None
        self._notes_fd = -1
        self._unread = b""
        self._kept: list[Note] = []
        self._batches = 0
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def load(self, limit_s: float, warmup: Path | None) -> float:
        """Starts the worker and loads the model; returns the seconds from start to the end of the warm-up.

        Raises WorkerLost when it does not load within `limit_s`.
        """
        started = time.monotonic()
        self._start()
        deadline = started + max(limit_s, _START_S)
        try:
            header, _ = self._receive(deadline)
        except TimeoutError:
            raise self._hung(f"the worker said nothing within {_START_S:g} s") from None
        if header.get("kind") != "hello":
            raise self._lost("the worker did not greet")
        self._send(wire.hello("minion"))
        load = {
            "v": wire.WIRE_VERSION,
            "kind": "load",
            "id": 0,
            "package": str(self._plan.package_dir),
            "device": self._plan.device,
        }
        if warmup is not None:
            load["warmup"] = str(warmup)
        self._send(load, msgpack.packb(self._plan.card))
        try:
            header, _ = self._receive(time.monotonic() + limit_s)
        except TimeoutError:
            raise self._hung(
                f"it did not load within {limit_s:g} s (load_s); make it quicker, or raise load_s"
            ) from None
        if (error := header.get("error")) is not None:
            self._end()
            raise WorkerLost(str(error.get("message")), str(error.get("traceback") or ""))
        return time.monotonic() - started

    def run(
        self, items: Sequence[bytes], params: list[dict[str, Any]] | None, limit_s: float
    ) -> tuple[list[Outcome], float]:
        """One batch: its outcomes in order, and the seconds from hand-over to outcomes.

        Raises BatchRaised, or WorkerLost when the worker dies or takes longer than `limit_s`.
        """
        self._batches += 1
        started = time.monotonic()
        if params is not None:
            header = {"v": wire.WIRE_VERSION, "kind": "params", "id": self._batches}
            self._send(header, msgpack.packb(params))
        header = {"v": wire.WIRE_VERSION, "kind": "run", "id": self._batches, "n": len(items)}
        self._send(header, b"".join(items))
        answer: dict[str, Any]
        try:
            answer, payload = self._receive(started + limit_s)
        except TimeoutError:
            raise self._hung(f"a batch of {len(items)} was not answered within {limit_s:g} s") from None
        seconds = time.monotonic() - started
        if (error := answer.get("error")) is not None:
            raise BatchRaised(error)
        outcomes, at = [], 0
        for size in answer["sizes"]:
            outcomes.append(msgpack.unpackb(payload[at : at + size]))
            at += size
        return outcomes, seconds

    def notes(self) -> list[Note]:
        """What the guard noted since the last call."""
        while self._notes_fd >= 0:
            try:
                data = os.read(self._notes_fd, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        kept, self._kept = self._kept, []
        return [*kept, *(Note(str(note["kind"]), str(note["what"])) for note in map(json.loads, lines))]

    @property
    def printed(self) -> list[str]:
        """The last lines that it wrote to standard output and error."""
        return list(self._tail)

    @property
    def working_folder(self) -> Path | None:
        """Where the worker works now; None when it is gone."""
        try:
            return Path(f"/proc/{self._pid}/cwd").readlink()
        except OSError:
            return None

    @property
    def scratch(self) -> Path:
        """The empty folder that it was started in."""
        assert self._scratch is not None
        return self._scratch

    def memory_bytes(self, peak: bool = False) -> int:
        """Resident memory now, or the most there ever was; 0 when the worker is gone."""
        wanted = "VmHWM:" if peak else "VmRSS:"
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
                if line.startswith(wanted):
                    return int(line.split()[1]) * 1024
        return 0

    def close(self) -> None:
        """Lets the worker close its model, ends it and removes its folder."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(WorkerLost, OSError):
                self._send({"v": wire.WIRE_VERSION, "kind": "close", "id": 0})
                self._exits_within(_END_S)
        self._end()

    # -- the process -------------------------------------------------------------------------------------------------

    @property
    def _pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def _start(self) -> None:
        plan = self._plan
        self._scratch = Path(tempfile.mkdtemp(prefix="probe-", dir=plan.work))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._notes_fd, notes = os.pipe()
        os.set_blocking(self._notes_fd, False)
        self._socket = ours
        try:
            self._process = subprocess.Popen(
                [
                    str(plan.python), "-P", str(own_root() / "check" / "probe_worker.py"),
                    "--fd", str(theirs.fileno()), "--parent-pid", str(os.getpid()), "--notes-fd", str(notes),
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(), notes), cwd=self._scratch, start_new_session=True,
                env=probe_environment(os.environ, plan.light_ring, self._scratch, plan.visible),
            )  # fmt: skip
        except OSError as error:
            self._end()
            raise WorkerLost(f"{plan.python} cannot be run: {error}") from None
        finally:
            theirs.close()
            os.close(notes)
        self._reader = threading.Thread(target=self._drain, daemon=True, name="probe-output")
        self._reader.start()

    def _drain(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(64 * 1024):
                if text := line.decode("utf-8", "replace").rstrip()[:_TAIL_CHARS]:
                    self._tail.append(text)

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self._socket.settimeout(_SENT_S)
        try:
            self._socket.sendall(wire.encode_header(header, len(payload)))
            if payload:  # after `close` the worker may be gone already
                self._socket.sendall(payload)
        except TimeoutError:
            raise self._hung("the worker does not take what it is sent") from None
        except OSError:
            raise self._lost("the worker died") from None

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        try:
            header_bytes, payload_bytes = wire.decode_prefix(self._read(8, deadline))
            header = wire.decode_header(self._read(header_bytes, deadline))
            return header, self._read(payload_bytes, deadline)
        except (EOFError, ConnectionError):
            raise self._lost("the worker died") from None
        except wire.WireError as error:
            raise self._hung(f"the worker broke its protocol: {error}") from None

    def _read(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(min(size - len(parts), 1 << 20))
            if not data:
                raise EOFError
            parts += data
        return bytes(parts)

    def _hung(self, problem: str) -> WorkerLost:
        """Have the worker write down where it is, then end it."""
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGUSR1)
        time.sleep(_DUMP_S)
        self._end()
        return WorkerLost(problem, "\n".join(self._tail))

    def _lost(self, problem: str) -> WorkerLost:
        has_exited = self._exits_within(_END_S)
        self._end()
        assert self._process is not None
        status = self._process.returncode
        if not has_exited:
            ended = "it closed its channel"
        elif status < 0:
            ended = f"killed by {_signal_name(-status)}"
        else:
            ended = f"exit status {status}"
        return WorkerLost(f"{problem} ({ended})", "\n".join(self._tail))

    def _exits_within(self, seconds: float) -> bool:
        """Waits for the exit and leaves the dead process unreaped, so that its number still names its group."""
        deadline = time.monotonic() + seconds
        while os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True

    def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            # with what the package started and left behind
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._reader.join(_END_S)
        with contextlib.suppress(OSError):
            self._socket.close()
        if self._notes_fd >= 0:
            self._kept = self.notes()
            os.close(self._notes_fd)
            self._notes_fd = -1
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
