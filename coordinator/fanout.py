"""Fan-out: one photo to one preprocessor, then its tensors to every model, all under one deadline.

One future per call and one callback per answer, no task per model; the tensors travel as slices of the one buffer the
preprocessor's answer was received in. Decides nothing about the answer's body: it hands over what each model said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgpack
import structlog

from coordinator.directory import Directory, Peer, Served
from coordinator.merge import DEFAULT_RETRY_AFTER_MS
from coordinator.plan import Plan, PlannedModel
from coordinator.router import Router
from crema import wire
from crema.errors import CremaError
from crema.host.channel import Buffer, ChannelLost

# What a preprocessor may say of a photo or of itself; anything else it refuses is a bug between us.
_PREPROCESS_STATUSES: Final = frozenset({413, 415, 422, 429, 502, 503, 504, 500})

log = structlog.get_logger(__name__)


class Outcome:
    """What one model said: an output with its timing, or an error."""

    __slots__ = ("error", "output", "timing")

    def __init__(self, output: Any, timing: dict[str, float] | None, error: CremaError | None) -> None:
        self.output = output
        self.timing = timing
        self.error = error


class Fanout:
    """One photo's way through the tiers. `start()` once; `done` resolves when everything is answered or given up.

    Afterwards either `failure` (the photo could not be prepared) or every place of `outcomes` is set.
    """

    __slots__ = (
        "_deadline", "_directory", "_in_flight", "_is_over", "_loop", "_missing", "_request_id", "_router",
        "_started", "_timer", "_traceparent", "done", "failure", "image", "outcomes", "plan", "preprocess_ms",
    )  # fmt: skip

    def __init__(
        self,
        directory: Directory,
        router: Router,
        plan: Plan,
        *,
        request_id: str,
        deadline: float,
        traceparent: str | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`deadline` is a time of `loop`'s clock."""
        self.plan = plan
        self.done: asyncio.Future[None] = loop.create_future()
        self.failure: CremaError | None = None
        self.image: dict[str, Any] | None = None
        self.preprocess_ms = 0.0
        self.outcomes: list[Outcome | None] = [None] * len(plan.models)
        self._directory = directory
        self._router = router
        self._request_id = request_id
        self._deadline = deadline
        self._traceparent = traceparent
        self._loop = loop
        self._started = 0.0
        self._missing = len(plan.models)
        # what to cancel: the index of the model (-1: the preprocessor) → its peer and the id on its channel
        self._in_flight: dict[int, tuple[Peer, int]] = {}
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, image: Buffer) -> None:
        """Send the photo off. Everything later happens in callbacks."""
        now = self._started = self._loop.time()
        if now >= self._deadline:
            self._fail(CremaError("deadline_exceeded", "the deadline passed before the image was sent on; allow more with deadline_ms"))
            return
        if not any(self._peers_of(planned.served) for planned in self.plan.models):
            # nobody is there to look at the photo: say so before it is decoded
            for index, planned in enumerate(self.plan.models):
                self._settle(index, Outcome(None, None, _no_replica(planned.served)))
            return
        peers = self._directory.open_preprocessors
        if not peers:
            self._fail(CremaError("not_ready", "no preprocessor is ready; come back in a second", retry_after_ms=DEFAULT_RETRY_AFTER_MS))
            return
        header = self._header("preprocess", now)
        header["specs"] = self.plan.specs
        self._timer = self._loop.call_at(self._deadline, self._expire)
        try:
            self._submit(-1, peers, now, header, (image,), self._preprocessed)
        except ChannelLost:
            self._fail(CremaError("not_ready", "the preprocessor was lost; come back in a second", retry_after_ms=DEFAULT_RETRY_AFTER_MS))

    def cancel(self) -> None:
        """Give up what is not answered yet and tell the tiers. Does nothing once all is over."""
        if not self._is_over:
            self._end()

    # -- the two hops ----------------------------------------------------------------------------------------------

    def _header(self, kind: str, now: float) -> dict[str, Any]:
        plan = self.plan
        header: dict[str, Any] = {
            "kind": kind,
            "request_id": self._request_id,
            "remaining_ms": round((self._deadline - now) * 1000, 1),
            "lane": plan.lane,
        }
        if self._traceparent is not None:
            header["traceparent"] = self._traceparent
        return header

    def _submit(
        self,
        index: int,
        peers: list[Peer],
        now: float,
        header: dict[str, Any],
        payload: tuple[Buffer, ...],
        on_answer: Callable[[Peer, float, dict[str, Any] | None, Buffer, Exception | None], None],
    ) -> None:
        """Send to the replica that the router chooses. Raises ChannelLost, and ValueError over the wire's limits."""
        peer = peers[0] if len(peers) == 1 else peers[self._router.choose([each.replica for each in peers], now)]
        sent_id = peer.client.submit(header, payload, partial(on_answer, peer, now))
        peer.replica.sent()
        self._in_flight[index] = (peer, sent_id)

    def _preprocessed(self, peer: Peer, sent: float, header: dict[str, Any] | None, payload: Buffer, lost: Exception | None) -> None:
        now = self._loop.time()
        del self._in_flight[-1]
        self.preprocess_ms = (now - sent) * 1000
        if header is None:
            peer.replica.given_up()
            self._fail(CremaError("not_ready", "the preprocessor was lost; come back in a second", retry_after_ms=DEFAULT_RETRY_AFTER_MS))
            return
        if header.get("status") != 200:
            error = _error_of(header, _PREPROCESS_STATUSES, "preprocessor")
            _note_refusal(peer, now, header, error)
            self._fail(error)
            return
        peer.replica.answered(now, header.get("load"))
        tensors = self._tensors(header, payload)
        if tensors is None:
            log.error("preprocessor_answer_invalid", peer=peer.client.address, request_id=self._request_id)
            self._fail(CremaError("internal", "the preprocessor's answer does not fit the request; it is logged under this request id"))
            return
        told = header["image"]
        self.image = {name: told.get(name) for name in ("format", "width", "height", "bytes")}
        for index, planned in enumerate(self.plan.models):
            description, data = tensors[planned.spec]
            self._infer(index, planned, description, data, now)

    def _tensors(self, header: dict[str, Any], payload: Buffer) -> list[tuple[dict[str, Any], Buffer]] | None:
        """Each spec's tensor: its description, and its slice of the one payload. None when the answer does not fit."""
        described = header.get("tensors")
        if type(described) is not list or len(described) != len(self.plan.specs) or type(header.get("image")) is not dict:
            return None
        try:
            sizes = [wire.tensor_bytes(each.get("shape"), each.get("dtype")) for each in described]
        except (wire.ShapeError, AttributeError):
            return None
        if sum(sizes) != len(payload):
            return None
        if len(sizes) == 1:
            return [(described[0], payload)]
        view = memoryview(payload)
        tensors: list[tuple[dict[str, Any], Buffer]] = []
        start = 0
        for each, size in zip(described, sizes, strict=True):
            tensors.append((each, view[start : start + size]))
            start += size
        return tensors

    def _infer(self, index: int, planned: PlannedModel, tensor: dict[str, Any], data: Buffer, now: float) -> None:
        peers = self._peers_of(planned.served)
        if not peers:
            self._settle(index, Outcome(None, None, _no_replica(planned.served)))
            return
        header = self._header("infer", now)
        header["items"] = ({"shape": tensor["shape"], "dtype": tensor["dtype"], "params": planned.params},)
        try:
            self._submit(index, peers, now, header, (data,), partial(self._inferred, index))
        except ChannelLost:
            self._settle(index, Outcome(None, None, _no_replica(planned.served)))
        except ValueError:
            log.exception("infer_header_too_large", request_id=self._request_id)
            self._settle(index, Outcome(None, None, CremaError("internal", "this model's params do not fit the channel; send shorter ones")))

    def _inferred(
        self, index: int, peer: Peer, sent: float, header: dict[str, Any] | None, payload: Buffer, lost: Exception | None
    ) -> None:
        now = self._loop.time()
        del self._in_flight[index]
        if header is None:
            peer.replica.given_up()
            error = CremaError("not_ready", "the connection to the minion was lost; try again", retry_after_ms=DEFAULT_RETRY_AFTER_MS)
            self._settle(index, Outcome(None, None, error))
            return
        if header.get("status") != 200:
            error = _error_of(header, None, self.plan.models[index].key)
            _note_refusal(peer, now, header, error)
            self._settle(index, Outcome(None, None, error))
            return
        served = self.plan.models[index].served
        if header.get("version") != served.version_text or header.get("model") != served.model:
            # the port of a minion that is gone may belong to another by now; its answer is not what was asked for
            peer.replica.given_up()
            log.error("wrong_minion", peer=peer.client.address, wanted=f"{served.model}@{served.version_text}")
            self._settle(index, Outcome(None, None, _no_replica(served)))
            return
        timing, item_ms = _timing(header.get("timing"), (now - sent) * 1000)
        peer.replica.answered(now, header.get("load"), item_ms)
        self._settle(index, _outcome(header, payload, timing))

    def _peers_of(self, served: Served) -> list[Peer]:
        """The version's replicas that can be sent to. A routing newer than the plan may have moved them."""
        peers = [peer for peer in served.peers if peer.client.is_open]
        if not peers:
            model = self._directory.models.get(served.model)
            moved = model.versions.get(served.version_text) if model is not None else None
            if moved is not None and moved is not served:
                return moved.open_peers
        return peers

    # -- the end ---------------------------------------------------------------------------------------------------

    def _settle(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self._missing -= 1
        if self._missing == 0:
            self._end()

    def _fail(self, error: CremaError) -> None:
        self.failure = error
        self._end()

    def _expire(self) -> None:
        """The deadline: what is not answered now is late, and its answer is not wanted any more."""
        self._timer = None
        if -1 in self._in_flight:
            self._fail(CremaError("deadline_exceeded", "the deadline passed while the image was prepared; allow more with deadline_ms"))
            return
        for index, outcome in enumerate(self.outcomes):
            if outcome is None:
                error = CremaError("deadline_exceeded", "no answer before the deadline; allow more with deadline_ms")
                self.outcomes[index] = Outcome(None, None, error)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for peer, sent_id in self._in_flight.values():
            peer.replica.given_up()
            with suppress(ChannelLost):
                peer.client.cancel(sent_id)
        self._in_flight.clear()
        if not self.done.done():
            self.done.set_result(None)


def _no_replica(served: Served) -> CremaError:
    row = served.row
    says = "has no replica that can be reached" if row.state == "ready" else f"is {row.state}"
    return CremaError(
        "not_ready",
        f"{served.model}@{served.version_text} {says} (0 of {row.wanted} ready); come back in a second",
        retry_after_ms=DEFAULT_RETRY_AFTER_MS,
    )


def _error_of(header: dict[str, Any], statuses: frozenset[int] | None, who: str) -> CremaError:
    """The error another tier sent. One it may not send means that we sent it nonsense: a bug of ours."""
    error = CremaError.from_wire(header.get("error"))
    if error.code == "internal" or (statuses is not None and error.status not in statuses):
        log.error("refused_by_tier", who=who, status=header.get("status"), error=str(header.get("error"))[:300])
        return CremaError("internal", "another tier refused what this coordinator sent; it is logged under this request id")
    if error.status in (429, 503) and error.retry_after_ms is None:
        return CremaError(error.code, error.message, retry_after_ms=DEFAULT_RETRY_AFTER_MS)
    return error


def _note_refusal(peer: Peer, now: float, header: dict[str, Any], error: CremaError) -> None:
    if error.status in (429, 503):
        peer.replica.refused(now, header.get("load"), error.retry_after_ms)
    else:
        peer.replica.answered(now, header.get("load"))


def _timing(told: Any, total_ms: float) -> tuple[dict[str, float], float | None]:
    """The timing of one model's part, and its time per item; what a minion did not tell properly is left out."""
    timing: dict[str, float] = {}
    item_ms = None
    if type(told) is dict:
        for name in ("queue_ms", "inference_ms"):
            value: Any = told.get(name)
            if type(value) in (int, float) and 0 <= value < 1e9:
                timing[name] = round(value, 1)
        batch_size = told.get("batch_size")
        timing["total_ms"] = round(total_ms, 1)
        if type(batch_size) is int and batch_size > 0:
            timing["batch_size"] = batch_size
            if "inference_ms" in timing:
                item_ms = timing["inference_ms"] / batch_size
        return timing, item_ms
    return {"total_ms": round(total_ms, 1)}, None


def _outcome(header: dict[str, Any], payload: Buffer, timing: dict[str, float]) -> Outcome:
    """The one outcome of an answer, from the header or, when it was too large for that, from the payload."""
    outcomes = header.get("outcomes")
    size = header.get("outcomes_bytes")
    if outcomes is None and type(size) is int and size == len(payload):
        outcomes = _unpack(payload)
    if type(outcomes) is list and len(outcomes) == 1 and type(outcomes[0]) is dict:
        [outcome] = outcomes
        if "error" in outcome:
            return Outcome(None, None, CremaError.from_wire(outcome["error"]))
        if "ok" in outcome:
            return Outcome(outcome["ok"], timing, None)
    return Outcome(None, None, CremaError("model_output_invalid", "the minion's answer holds no outcome for this image"))


def _unpack(payload: Buffer) -> Any:
    size = len(payload)
    try:
        value = msgpack.unpackb(payload, max_str_len=size, max_bin_len=0, max_array_len=size, max_map_len=size, max_ext_len=0)
        wire.check_plain(value)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException, wire.WireError):
        return None
    return value
