"""The worker: loads one model and runs batches, in the Python of the model's own virtualenv. Light ring.

It speaks the channel's frames over one descriptor, blocking, one batch at a time (on a GPU two: crema.overlap):

    load    package, device, warmup?, payload = msgpack map: the card → answer {curve: [[n, seconds], …], overlaps?} or
            {error}; `overlaps`: it runs two batches at once, and answers them in the order in which they came
    params  payload = msgpack list of n maps, for the `run` that follows (left out when all items take the defaults)
    run     n, at?, until?, payload = n tensors → answer {seconds, waited, skipped?, sizes: [bytes of each outcome]},
            payload = packed outcomes, or {seconds, waited, skipped?, error} for the batch as a whole; `waited` is how long
            nothing was there to run. `at` says for each item where its tensor lies in the memory that is shared with the
            host, or nil: the payload holds only the tensors of those. `until` comes with a batch that may have to lie here
            behind another: the moment, on this machine's monotonic clock, from which an item need not run any more, or nil.
            Now and then, and after `load`, an answer brings gpu_memory: {reserved, used, total}, in bytes
    skip    id of such a batch, items = [indexes] whose callers have gone meanwhile; not answered
    close   ends the process

Items of a batch that need not run when its turn comes are left out and named in `skipped`; a batch of which none is left
does not run. The pixels are received straight into the batch array, or copied there from the shared memory. What the
model prints goes to standard error like any output: it can never reach the protocol. Splitting, retrying and answering callers are the host's.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgpack

from crema import wire
from crema.outcomes import error_outcome
from crema.raised import described, free_memory
from crema.session import take_over
from crema.shared_pixels import SharedPixels

if TYPE_CHECKING:
    from crema.batch_array import BatchArray
    from crema.loaded_model import LoadedModel
    from crema.overlap import Answer, Overlap

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
MAX_OPEN_FILES: Final = 4096


class Link:
    """Frames over a blocking stream socket. Raises EOFError when the host is gone.

    What comes is read into a small buffer, most frames whole with one system call; what of a payload is not there yet goes
    straight to where it belongs.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = memoryview(bytearray(8 + wire.MAX_HEADER_BYTES))
        self._start = self._end = 0
        """What of the buffer was received and not yet read."""

    def read_header(self) -> tuple[dict[str, Any], int]:
        """The next frame's header, and how many bytes of payload follow it."""
        self._await(8)
        header_bytes, payload_bytes = wire.decode_prefix(self._buffer, self._start)
        self._await(8 + header_bytes)
        start = self._start + 8
        self._start = end = start + header_bytes
        return wire.decode_header(self._buffer[start:end]), payload_bytes

    def has_more(self) -> bool:
        """Whether anything has come that was not read yet."""
        if self._start < self._end:
            return True
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False

    def read_into(self, view: memoryview) -> None:
        """Fill `view`."""
        here = min(len(view), self._end - self._start)
        if here:
            view[:here] = self._buffer[self._start : self._start + here]
            self._start += here
            view = view[here:]
        while len(view):
            view = view[self._receive(view, socket.MSG_WAITALL) :]

    def _await(self, size: int) -> None:
        """Have at least `size` bytes in the buffer."""
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = 0
        elif start + size > len(self._buffer):
            self._buffer[: end - start] = bytes(self._buffer[start:end])
            self._start, self._end = 0, end - start
        while self._end - self._start < size:
            self._end += self._receive(self._buffer[self._end :])

    def _receive(self, view: memoryview, flags: int = 0) -> int:
        received = self._socket.recv_into(view, 0, flags)
        if not received:
            raise EOFError("the host closed the channel")
        return received

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Write one frame."""
        self._socket.sendall(wire.encode_header(header, len(payload)) + payload)


class Worker:
    """Answers the host's frames until it closes the channel."""

    def __init__(self, link: Link, shared: SharedPixels | None = None) -> None:
        self._link = link
        self._shared = shared
        self._model: LoadedModel | None = None
        self._overlap: Overlap | None = None
        """Where batches run when two may do so at once; None: one after the other, here."""
        self._params: list[dict[str, Any]] | None = None
        self._read_ahead: tuple[dict[str, Any], int] | None = None
        """A frame's header that was met while looking for another kind."""
        self._idle_since = time.monotonic()

    def serve(self) -> int:
        """Greet, then work. Returns the exit status."""
        self._link.send(wire.hello("worker"))
        header, payload_bytes = self._link.read_header()
        if header["kind"] != "hello" or header.get("role") != "minion" or payload_bytes:
            return 2
        while True:
            header, payload_bytes = self._read_ahead or self._link.read_header()
            self._read_ahead = None
            kind = header["kind"]
            if kind == "run":
                self._run(header, payload_bytes)
            elif kind == "params":
                self._params = msgpack.unpackb(self._read(payload_bytes))
            elif kind == "skip":
                pass  # that batch has begun or ended
            elif kind == "load":
                if not self._load(header, msgpack.unpackb(self._read(payload_bytes))):
                    return 1
            elif kind == "close":
                if self._overlap is not None:
                    self._overlap.close()
                if self._model is not None:
                    self._model.close()
                return 0
            else:
                raise wire.WireError(f"a worker does not know {kind!r}")

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        self._link.read_into(memoryview(data))
        return data

    def _load(self, header: dict[str, Any], card: dict[str, Any]) -> bool:
        package_dir = Path(header["package"])
        answer: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"]}
        try:
            # only now: numpy takes a while on a cold machine, and an environment without it is a problem to report
            from crema.loaded_model import LoadedModel, read_examples

            model = LoadedModel(card, package_dir, header["device"])
            examples = read_examples(card, package_dir, header.get("warmup"), model.item_shape)
            curve = model.warm_up(examples)
            self._overlap = overlap_of(model)
        except BaseException as error:
            self._link.send({**answer, "error": described(error)})
            return False
        self._model = model
        gc.collect()
        gc.freeze()  # what the model loaded stays: the collector need not walk through it again
        if self._overlap is not None:
            answer["overlaps"] = True
        self._tell_memory(answer)
        self._link.send({**answer, "curve": [list(point) for point in curve]})
        return True

    def _run(self, header: dict[str, Any], payload_bytes: int) -> None:
        """Receive a batch, and run it or have it run."""
        model, overlap, n, at = self._model, self._overlap, header["n"], header.get("at")
        if (
            model is None
            or type(n) is not int
            or not 0 <= n <= model.max_size
            or payload_bytes != _count_sent(n, at) * model.item_bytes
        ):
            raise wire.WireError("a batch that this model cannot take")
        started = time.monotonic()
        waited = 0.0 if overlap is not None and overlap.is_busy else started - self._idle_since
        array = model.arrays[0] if overlap is None else overlap.take_array()
        if at is None:
            self._link.read_into(array.pixels[:payload_bytes])
        else:
            self._gather(at, array, model.item_bytes)
        params, self._params = self._params, None
        answer: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"]}
        answer["waited"] = waited
        if "until" in header:
            skipped = self._skipped(header["id"], header["until"])
            if skipped:
                answer["skipped"] = sorted(skipped)
                left = [index for index in range(n) if index not in skipped]
                array.keep(left)
                n, params = len(left), params and [params[index] for index in left]
        if overlap is None:
            self._answer(answer, self._outcomes(answer, array, n, params, started))
            return

        def work() -> Answer:
            outcomes = self._outcomes(answer, array, n, params, started)
            return lambda: self._answer(answer, outcomes)

        overlap.put(array, work)

    def _gather(self, at: list[Any], array: BatchArray, item_bytes: int) -> None:
        """Bring tensors together that lie in the shared memory or come with the frame."""
        if self._shared is None:
            raise wire.WireError("this worker shares no memory with the host")
        start = 0
        for offset in at:
            end = start + item_bytes
            if offset is None:
                self._link.read_into(array.pixels[start:end])
            else:
                self._shared.copy(offset, array.pixels[start:end])
            start = end

    def _outcomes(
        self,
        answer: dict[str, Any],
        array: BatchArray,
        n: int,
        params: list[dict[str, Any]] | None,
        started: float,
    ) -> list[bytes]:
        """Run a batch; how that went is written into its answer. May be called in two threads at once."""
        assert self._model is not None
        outcomes: list[bytes] = []
        try:
            outcomes = self._model.run(n, params, array) if n else []
        except BaseException as error:
            answer["error"] = described(error)
        answer["seconds"] = time.monotonic() - started
        if "error" not in answer:
            _keep_within(outcomes, wire.MAX_PAYLOAD_BYTES)
            answer["sizes"] = list(map(len, outcomes))
        elif answer["error"].get("trouble") == "memory":
            # only here: while the exception is handled, its frames hold what the batch held
            free_memory()
        return outcomes

    def _answer(self, answer: dict[str, Any], outcomes: list[bytes]) -> None:
        self._tell_memory(answer)
        self._link.send(answer, b"".join(outcomes))
        self._idle_since = time.monotonic()

    def _tell_memory(self, answer: dict[str, Any]) -> None:
        if self._model is not None and self._model.device is not None:
            memory = self._model.device.memory()
            if memory is not None:
                answer["gpu_memory"] = memory

    def _skipped(self, batch_id: int, until: list[float | None]) -> set[int]:
        """The items of a batch that lay here that need not run any more."""
        skipped: set[int] = set()
        while self._read_ahead is None and self._link.has_more():
            header, payload_bytes = self._link.read_header()
            if header["kind"] != "skip":
                self._read_ahead = header, payload_bytes
            elif header["id"] == batch_id:
                skipped.update(header["items"])
        now = time.monotonic()
        skipped.update(index for index, end in enumerate(until) if end is not None and end <= now)
        return skipped


def _count_sent(n: int, at: Any) -> int:
    """How many of the tensors come with the frame; -1, which no frame has, when `at` is not about `n` items."""
    if at is None:
        return n
    return at.count(None) if type(at) is list and len(at) == n else -1


def overlap_of(model: LoadedModel) -> Overlap | None:
    """Threads for two batches at once, warmed up, for a model that has two batch arrays; None where one is all it can run:
    the largest batches must find memory together before anybody is told that they may come."""
    if model.device is None or len(model.arrays) < 2:
        return None
    from crema.overlap import Overlap

    overlap = Overlap(model.arrays, model.device)
    for _ in range(2):  # the first run on a stream pays for what is set up lazily
        raised = overlap.try_at_once(lambda array: model.run(model.max_size, None, array))
        if raised is not None and described(raised).get("trouble") == "memory":
            overlap.close()
            free_memory()
            logging.getLogger("model").warning(
                "two batches of %d at once find no memory (%s): one runs after the other; lower batching.max_size",
                model.max_size,
                raised,
            )
            return None
    return overlap


def _keep_within(outcomes: list[bytes], limit: int) -> None:
    """Replace the last outcomes by errors where all of them together would not fit into one frame."""
    total = sum(map(len, outcomes))
    if total <= limit:
        return
    too_large = error_outcome("model_output_invalid", "the outputs of the batch are too large together")
    for index in range(len(outcomes) - 1, -1, -1):
        if total <= limit:
            return
        total += len(too_large) - len(outcomes[index])
        outcomes[index] = too_large


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL for this process when the host dies, however it dies; as urgent as that is."""
    take_over(parent_pid)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


def limit_itself() -> None:
    """Descriptors for a model and not for a server; and whatever the model starts gets no more rights than it has."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def main() -> None:
    """`python -m crema.worker --fd N --parent-pid P [--pixels-fd M]`: started by the host only."""
    parser = argparse.ArgumentParser(
        prog="python -m crema.worker", description="Runs one model for a crema minion."
    )
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the channel to the host")
    parser.add_argument("--parent-pid", type=int, required=True, help="end when this process dies")
    parser.add_argument(
        "--pixels-fd", type=int, help="descriptor of the memory that the host receives pixels into"
    )
    args = parser.parse_args()
    die_with_parent(args.parent_pid)
    limit_itself()
    faulthandler.enable()
    # asked by the host before it kills a worker that hangs: where every thread is
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    connection = socket.socket(fileno=args.fd)
    # what the model starts must not hold the channel open
    connection.set_inheritable(False)
    status = 1
    try:
        shared = None if args.pixels_fd is None else SharedPixels(args.pixels_fd)
        status = Worker(Link(connection), shared).serve()
    except EOFError:
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # threads that the model left running must not keep the process
        os._exit(status)


if __name__ == "__main__":
    main()
