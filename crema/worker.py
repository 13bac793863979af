"""The worker: loads one model and runs batches, in the Python of the model's own virtualenv. Light ring.

It speaks the channel's frames over one descriptor, blocking, one batch at a time:

    load    package, device, warmup?, payload = msgpack map: the card → answer {curve: [[n, seconds], …]} or {error}
    params  payload = msgpack list of n maps, for the `run` that follows (left out when all items take the defaults)
    run     n, payload = n tensors → answer {seconds, sizes: [bytes of each outcome]}, payload = packed outcomes,
            or {error} for the batch as a whole
    close   ends the process

The pixels are received straight into the batch array. What the model prints goes to standard error like any output:
it can never reach the protocol. Splitting, retrying and deadlines are the host's.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from crema import wire
from crema.outcomes import OutcomePacker, error_outcome, model_failed_message

MAX_TRACEBACK_CHARS: Final = 8000
_PR_SET_PDEATHSIG: Final = 1


class BatchInvalid(Exception):
    """`predict` did not return one output per item."""


class Link:
    """Frames over a blocking stream socket. Raises EOFError when the host is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read_header(self) -> tuple[dict[str, Any], int]:
        """The next frame's header, and how many bytes of payload follow it."""
        prefix = bytearray(8)
        self.read_into(memoryview(prefix))
        header_bytes, payload_bytes = wire.decode_prefix(prefix)
        header = bytearray(header_bytes)
        self.read_into(memoryview(header))
        return wire.decode_header(header), payload_bytes

    def read_into(self, view: memoryview) -> None:
        """Fill `view`."""
        while len(view):
            received = self._socket.recv_into(view, 0, socket.MSG_WAITALL)
            if not received:
                raise EOFError("the host closed the channel")
            view = view[received:]

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Write one frame."""
        self._socket.sendall(wire.encode_header(header, len(payload)) + payload)


class Context:
    """What a model's `load` is given: where its files are, which device to use, and a logger."""

    def __init__(self, package_dir: Path, device: str) -> None:
        self.device = device
        """`"cpu"` or `"cuda:0"`."""
        self.log = logging.getLogger("model")
        self._root = package_dir.resolve()

    def path(self, written: str) -> Path:
        """A file or folder of the package, by its relative path. Raises ValueError for one outside the package and
        FileNotFoundError for one that is not there."""
        found = (self._root / written).resolve()
        if not found.is_relative_to(self._root):
            raise ValueError(f"{written} is outside the package; a model reads only its own files")
        if not found.exists():
            raise FileNotFoundError(f"{written} is not in the package")
        return self._root / written


class Model:
    """A loaded model and its batch array ([max_size, *shape], reused by every batch)."""

    def __init__(self, card: dict[str, Any], package_dir: Path, device: str) -> None:
        spec = card["input"]
        if spec["kind"] == "image":
            width, height = spec["size"]
            shape, dtype = [height, width, 3], "uint8"
        else:
            shape, dtype = list(spec["shape"]), spec["dtype"]
        self.max_size: int = card["batching"]["max_size"]
        self.batch = np.zeros([self.max_size, *shape], np.dtype(dtype).newbyteorder("<"))
        self.item_bytes = wire.tensor_bytes(shape, dtype)
        self.pixels: memoryview = self.batch.reshape(-1).view(np.uint8).data
        self._packer = OutcomePacker(card["output"])
        self._defaults = {name: param["default"] for name, param in card["params"].items()}
        self._instance = _create(card["entrypoint"], package_dir)
        self._instance.load(Context(package_dir, device))
        self._predict = self._instance.predict
        self._postprocess = getattr(self._instance, "postprocess", None)

    def run(self, n: int, params: list[dict[str, Any]] | None) -> list[bytes]:
        """One packed outcome for each of the first `n` items of the batch array.

        Raises BatchInvalid, or whatever the model raised for the batch as a whole.
        """
        # an empty map stands for the defaults: the host completes all others
        params = [sent or dict(self._defaults) for sent in params or [{}] * n]
        if self.batch.dtype == np.bool_:  # any byte may come; numpy knows only 0 and 1
            np.not_equal(self.batch.view(np.uint8)[:n], 0, out=self.batch[:n])
        outputs = self._predict(self.batch[:n], params)
        if self._postprocess is None:
            if type(outputs) is not list:
                raise BatchInvalid(
                    f"predict must return a list of {n} outputs (got {type(outputs).__name__})"
                )
        elif not hasattr(outputs, "__len__"):
            raise BatchInvalid(
                f"predict must return {n} outputs for postprocess (got {type(outputs).__name__})"
            )
        if len(outputs) != n:
            raise BatchInvalid(
                f"predict must return {n} outputs, one per item, in order (got {len(outputs)})"
            )
        if self._postprocess is not None:
            return [self._finish(outputs[index], params[index]) for index in range(n)]
        return list(map(self._packer.pack, outputs))

    def warm_up(self, examples: Iterable[np.ndarray[Any, Any]]) -> list[tuple[int, float]]:
        """Run the examples and zeros, and time batches of 1 and of max_size: [(n, seconds)].

        Errors of items do not matter here. Raises what the model raised when it raised for every batch.
        """
        failure: BaseException | None = None
        times: dict[int, float] = {}

        def try_batch(n: int) -> None:
            nonlocal failure
            started = time.monotonic()
            try:
                self.run(n, None)
            except BatchInvalid:
                pass
            except BaseException as error:
                failure = error
                return
            times[n] = time.monotonic() - started

        for example in examples:
            self.batch[0] = example
            try_batch(1)
        self.batch[:] = 0
        # twice: the first run of a size pays for what is set up lazily
        for n in (1, 1, self.max_size, self.max_size):
            try_batch(n)
        if failure is not None and not times:
            raise failure
        return sorted(times.items())

    def close(self) -> None:
        """The model's own farewell, if it has one."""
        close = getattr(self._instance, "close", None)
        if close is not None:
            close()

    def _finish(self, output: Any, params: dict[str, Any]) -> bytes:
        """The outcome of an item that goes through `postprocess`; what that raises fails this item only."""
        if isinstance(output, BaseException):
            return self._packer.pack(output)
        assert self._postprocess is not None
        try:
            output = self._postprocess(output, params)
        except Exception as error:
            traceback.print_exc()
            return error_outcome("model_failed", model_failed_message(type(error).__name__))
        return self._packer.pack(output)


def _create(entrypoint: str, package_dir: Path) -> Any:
    module_name, _, class_name = entrypoint.partition(":")
    sys.path.insert(0, str(package_dir))
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if found is None:
        raise AttributeError(f"entrypoint {entrypoint}: the module {module_name} has no {class_name}")
    return found()


def read_examples(
    card: dict[str, Any], package_dir: Path, warmup: str | None, shape: tuple[int, ...]
) -> list[Any]:
    """The tensors to warm up with: those of the .npz file `warmup` (any names; each one item, or several stacked), else
    a tensor model's own examples."""
    if warmup is not None:
        with np.load(warmup, allow_pickle=False) as archive:
            arrays = [archive[name] for name in archive.files]
    else:
        names = [example.get("tensor") for example in card["examples"]]
        arrays = [np.load(package_dir / name, allow_pickle=False) for name in names if name is not None]
    examples = []
    for array in arrays:
        if array.shape == shape:
            examples.append(array)
        elif array.shape[1:] == shape:
            examples.extend(array)
        else:
            raise ValueError(
                f"a warm-up tensor has the shape {list(array.shape)}; the model's input is {list(shape)}"
            )
    return examples


class Worker:
    """Answers the host's frames until it closes the channel."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._model: Model | None = None
        self._params: list[dict[str, Any]] | None = None

    def serve(self) -> int:
        """Greet, then work. Returns the exit status."""
        self._link.send(wire.hello("worker"))
        header, payload_bytes = self._link.read_header()
        if header["kind"] != "hello" or header.get("role") != "minion" or payload_bytes:
            return 2
        while True:
            header, payload_bytes = self._link.read_header()
            kind = header["kind"]
            if kind == "run":
                self._run(header, payload_bytes)
            elif kind == "params":
                self._params = msgpack.unpackb(self._read(payload_bytes))
            elif kind == "load":
                if not self._load(header, msgpack.unpackb(self._read(payload_bytes))):
                    return 1
            elif kind == "close":
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
            model = Model(card, package_dir, header["device"])
            examples = read_examples(card, package_dir, header.get("warmup"), model.batch.shape[1:])
            curve = model.warm_up(examples)
        except BaseException as error:
            self._link.send({**answer, "error": _described(error)})
            return False
        self._model = model
        gc.collect()
        gc.freeze()  # what the model loaded stays: the collector need not walk through it again
        self._link.send({**answer, "curve": [list(point) for point in curve]})
        return True

    def _run(self, header: dict[str, Any], payload_bytes: int) -> None:
        model, n = self._model, header["n"]
        if model is None or type(n) is not int or payload_bytes != n * model.item_bytes or n > model.max_size:
            raise wire.WireError("a batch that this model cannot take")
        self._link.read_into(model.pixels[:payload_bytes])
        params, self._params = self._params, None
        answer: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"]}
        started = time.monotonic()
        try:
            outcomes = model.run(n, params)
        except BatchInvalid as error:
            self._link.send({**answer, "error": {"code": "model_output_invalid", "message": str(error)}})
            return
        except BaseException as error:
            self._link.send({**answer, "error": _described(error)})
            return
        answer["seconds"] = time.monotonic() - started
        _keep_within(outcomes, wire.MAX_PAYLOAD_BYTES)
        answer["sizes"] = list(map(len, outcomes))
        self._link.send(answer, b"".join(outcomes))


def _keep_within(outcomes: list[bytes], limit: int) -> None:
    """Replace the last outcomes by errors where all of them together would not fit into one frame."""
    too_large = error_outcome("model_output_invalid", "the outputs of the batch are too large together")
    total = sum(map(len, outcomes))
    for index in range(len(outcomes) - 1, -1, -1):
        if total <= limit:
            return
        total += len(too_large) - len(outcomes[index])
        outcomes[index] = too_large


def _described(error: BaseException) -> dict[str, Any]:
    """What the host keeps of an exception: one line, and the model's traceback without this module's own frames."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    line = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
    return {
        "code": "model_failed",
        "kind": type(error).__name__,
        "message": line.encode("utf-8", "replace").decode(),
        "traceback": text[-MAX_TRACEBACK_CHARS:].encode("utf-8", "replace").decode(),
    }


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL for this process when the host dies, however it dies."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


def main() -> None:
    """`python -m crema.worker --fd N --parent-pid P`: started by the host only."""
    parser = argparse.ArgumentParser(
        prog="python -m crema.worker", description="Runs one model for a crema minion."
    )
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the channel to the host")
    parser.add_argument("--parent-pid", type=int, required=True, help="end when this process dies")
    args = parser.parse_args()
    die_with_parent(args.parent_pid)
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    connection = socket.socket(fileno=args.fd)
    # what the model starts must not hold the channel open
    connection.set_inheritable(False)
    status = 1
    try:
        status = Worker(Link(connection)).serve()
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
