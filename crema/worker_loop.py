"""Worker: answers what its host asks, one batch at a time (on a GPU two: crema.overlap). Light ring.

Frames, of which the first is a hello:

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
does not run. The pixels are received straight into the batch array, or copied there from the shared memory, or run where they lie
in it (crema.lender). Splitting, retrying and answering callers are the host's.
"""

from __future__ import annotations

import gc
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from crema import wire
from crema.link import Link
from crema.outcomes import error_outcome
from crema.raised import described, free_memory
from crema.shared_pixels import SharedPixels

if TYPE_CHECKING:
    import numpy as np

    from crema.batch_array import BatchArray
    from crema.lender import Lender
    from crema.loaded_model import LoadedModel
    from crema.overlap import Answer, Overlap


class Worker:
    """Answers the host's frames until it closes the channel."""

    def __init__(self, link: Link, shared: SharedPixels | None = None) -> None:
        self._link = link
        self._shared = shared
        self._model: LoadedModel | None = None
        self._lender: Lender | None = None
        """Of the shared memory, where batches run one after the other."""
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
            self._lender = self._lender_for(model)
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

    def _lender_for(self, model: LoadedModel) -> Lender | None:
        """None where batches have an array that they must be in: a GPU's is page-locked."""
        if self._shared is None or model.device is not None:
            return None
        from crema.lender import Lender

        return Lender(self._shared, model.item_shape, model.dtype, model.item_bytes)

    def _run(self, header: dict[str, Any], payload_bytes: int) -> None:
        """Receive a batch, and run it or have it run."""
        at: Any = header.get("at")
        model, overlap, n = self._model, self._overlap, header["n"]
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
        lent = self._lender.lend(at) if at and not payload_bytes and self._lender is not None else None
        if lent is None:
            self._receive(at, array, n * model.item_bytes)
        params, self._params = self._params, None
        answer: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"]}
        answer["waited"] = waited
        skipped = self._skipped(header["id"], header["until"]) if "until" in header else None
        if skipped:
            answer["skipped"] = sorted(skipped)
            left = [index for index in range(n) if index not in skipped]
            n, params = len(left), params and [params[index] for index in left]
            if lent is None:
                array.keep(left)
            else:
                lent = None
                self._receive([at[index] for index in left], array, n * model.item_bytes)
        if overlap is None:
            outcomes = self._outcomes(answer, array.first(n) if lent is None else lent, params, started)
            if at is not None and self._lender is not None and not skipped and "error" not in answer:
                self._lender.watch(at, array.pixels)
            self._answer(answer, outcomes)
            return

        def work() -> Answer:
            outcomes = self._outcomes(answer, array.first(n), params, started)
            return lambda: self._answer(answer, outcomes)

        overlap.put(array, work)

    def _receive(self, at: list[Any] | None, array: BatchArray, size: int) -> None:
        """Bring `size` bytes of tensors together that come with the frame or, where `at` says so, lie in the shared memory."""
        if at is None:
            self._link.read_into(array.pixels[:size])
            return
        if self._shared is None:
            raise wire.WireError("this worker shares no memory with the host")
        start, item_bytes = 0, size // max(1, len(at))
        for offset in at:
            end = start + item_bytes
            if offset is None:
                self._link.read_into(array.pixels[start:end])
            else:
                array.pixels[start:end] = self._shared.at(offset, item_bytes)
            start = end

    def _outcomes(
        self,
        answer: dict[str, Any],
        batch: np.ndarray[Any, Any],
        params: list[dict[str, Any]] | None,
        started: float,
    ) -> list[bytes]:
        """Run a batch; how that went is written into its answer. May be called in two threads at once."""
        assert self._model is not None
        outcomes: list[bytes] = []
        try:
            outcomes = self._run_model(self._model, batch, params) if len(batch) else []
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

    def _run_model(
        self, model: LoadedModel, batch: np.ndarray[Any, Any], params: list[dict[str, Any]] | None
    ) -> list[bytes]:
        """As `LoadedModel.run`. A model that wants to write into what it was lent gets a copy, and is lent nothing more."""
        try:
            return model.run(batch, params)
        except (ValueError, TypeError) as error:
            # numpy's "assignment destination is read-only", and what others say of such a buffer
            said = str(error).replace("readonly", "read-only")
            if self._lender is None or batch.flags.writeable or "read-only" not in said:
                raise
        self._lender.has_written()
        return model.run(batch.copy(), params)

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
        raised = overlap.try_at_once(lambda array: model.run(array.first(model.max_size), None))
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
