"""Fan-out: one photo to one preprocessor, then its tensors to every model, all under one deadline.

One future per call and one callback per answer, no task per model; the tensors travel as slices of the one buffer the
preprocessor's answer was received in. Decides nothing about the answer's body: it hands over what each model said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog

from coordinator.answers import (
    PREPROCESS_STATUSES,
    Tensor,
    error_of,
    image_of,
    outcome_of,
    tensors_of,
    timing_of,
)
from coordinator.directory import Directory, Peer, Served
from coordinator.image_url import ImageUrl
from coordinator.merge import DEFAULT_RETRY_AFTER_MS, Part
from coordinator.plan import Plan, PlannedModel
from coordinator.router import Router
from crema.errors import CremaError
from crema.host.channel import Buffer, ChannelLost

# What the other tiers take; the id of a batch's item may be longer.
MAX_REQUEST_ID: Final = 128

log = structlog.get_logger(__name__)

OnAnswer = Callable[[Peer, float, dict[str, Any] | None, Buffer, Exception | None], None]
"""(peer, when it was sent, then as the channel's `OnAnswer`)"""

_NO_PREPROCESSOR = "no preprocessor can be reached; come back in a second"


class Fanout:
    """One photo's way through the tiers. `start()` once; `done` resolves when everything is answered or given up.

    Afterwards either `failure` (the photo could not be prepared) or every place of `parts` is set.
    """

    __slots__ = (
        "_deadline", "_directory", "_in_flight", "_is_over", "_loop", "_missing", "_request_id", "_router",
        "_timer", "_traceparent", "done", "failure", "image", "parts", "plan", "preprocess_ms",
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
        """`deadline` is a time of `monotonic`: the loop's own clock may stand still for a whole turn of it."""
        self.plan = plan
        self.done: asyncio.Future[None] = loop.create_future()
        self.failure: CremaError | None = None
        self.image: dict[str, Any] | None = None
        self.preprocess_ms = 0.0
        self.parts: list[Part | None] = [None] * len(plan.models)
        self._directory = directory
        self._router = router
        # its end tells the images of a batch apart
        self._request_id = request_id[-MAX_REQUEST_ID:]
        self._deadline = deadline
        self._traceparent = traceparent
        self._loop = loop
        self._missing = len(plan.models)
        # what to cancel: the index of the model (-1: the preprocessor) → its peer and the id on its channel
        self._in_flight: dict[int, tuple[Peer, int]] = {}
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, image: Buffer | ImageUrl) -> None:
        """Send the photo off, or its address. Everything later happens in callbacks."""
        now = monotonic()
        if now >= self._deadline:
            self._fail(
                CremaError(
                    "deadline_exceeded",
                    "the deadline passed before the image was sent on; allow more with deadline_ms",
                )
            )
            return
        if not any(self._peers_of(planned.served) for planned in self.plan.models):
            # nobody is there to look at the photo: say so before it is decoded
            for index, planned in enumerate(self.plan.models):
                self._failed(index, _no_replica(planned.served))
            return
        peers = self._directory.open_preprocessors
        if not peers:
            self._fail(CremaError("not_ready", _NO_PREPROCESSOR, retry_after_ms=DEFAULT_RETRY_AFTER_MS))
            return
        self._timer = self._loop.call_later(self._deadline - now, self._expire)
        header = self._header("preprocess", now)
        header["specs"] = self.plan.specs
        if isinstance(image, ImageUrl):
            header["url"], image = image.url, b""
        try:
            self._submit(-1, peers, now, header, image, self._preprocessed)
        except ChannelLost:
            self._fail(CremaError("not_ready", _NO_PREPROCESSOR, retry_after_ms=DEFAULT_RETRY_AFTER_MS))

    def cancel(self) -> None:
        """Give up what is not answered yet and tell the tiers. Does nothing once all is over."""
        if not self._is_over:
            self._end()

    # -- the two hops ----------------------------------------------------------------------------------------------

    def _header(self, kind: str, now: float) -> dict[str, Any]:
        header: dict[str, Any] = {
            "kind": kind,
            "request_id": self._request_id,
            "remaining_ms": (self._deadline - now) * 1000,
            "lane": self.plan.lane,
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
        payload: Buffer,
        on_answer: OnAnswer,
    ) -> None:
        """Send to the replica that the router chooses. Raises ChannelLost, and ValueError over the wire's limits."""
        peer = (
            peers[0] if len(peers) == 1 else peers[self._router.choose([each.replica for each in peers], now)]
        )
        sent_id = peer.client.submit(header, (payload,), partial(on_answer, peer, now))
        peer.replica.sent()
        self._in_flight[index] = (peer, sent_id)

    def _preprocessed(
        self, peer: Peer, sent: float, header: dict[str, Any] | None, payload: Buffer, lost: Exception | None
    ) -> None:
        now = monotonic()
        del self._in_flight[-1]
        self.preprocess_ms = (now - sent) * 1000
        if header is None:
            peer.replica.given_up()
            self._fail(
                CremaError(
                    "not_ready",
                    "the preprocessor was lost; come back in a second",
                    retry_after_ms=DEFAULT_RETRY_AFTER_MS,
                )
            )
            return
        if header.get("status") != 200:
            error = error_of(header, "preprocessor", PREPROCESS_STATUSES)
            _note_refusal(peer, now, header, error)
            self._fail(error)
            return
        peer.replica.answered(now, header.get("load"))
        self.image = image_of(header)
        tensors = tensors_of(header, payload, len(self.plan.specs))
        if self.image is None or tensors is None:
            log.error("preprocessor_answer_invalid", peer=peer.client.address, request_id=self._request_id)
            self._fail(
                CremaError(
                    "internal",
                    "the preprocessor's answer does not fit the request; it is logged under this request id",
                )
            )
            return
        for index, planned in enumerate(self.plan.models):
            self._infer(index, planned, tensors[planned.spec], now)

    def _infer(self, index: int, planned: PlannedModel, tensor: Tensor, now: float) -> None:
        peers = self._peers_of(planned.served)
        if not peers:
            self._failed(index, _no_replica(planned.served))
            return
        described, data = tensor
        header = self._header("infer", now)
        header["items"] = (
            {"shape": described["shape"], "dtype": described["dtype"], "params": planned.params},
        )
        try:
            self._submit(index, peers, now, header, data, partial(self._inferred, index))
        except ChannelLost:
            self._failed(index, _no_replica(planned.served))
        except ValueError:
            log.exception("infer_header_too_large", request_id=self._request_id)
            self._failed(
                index, CremaError("internal", "this model's params do not fit the channel; send shorter ones")
            )

    def _inferred(
        self,
        index: int,
        peer: Peer,
        sent: float,
        header: dict[str, Any] | None,
        payload: Buffer,
        lost: Exception | None,
    ) -> None:
        now = monotonic()
        del self._in_flight[index]
        planned = self.plan.models[index]
        served = planned.served
        if header is None:
            peer.replica.given_up()
            error = CremaError(
                "not_ready",
                "the connection to the minion was lost; try again",
                retry_after_ms=DEFAULT_RETRY_AFTER_MS,
            )
            self._failed(index, error)
            return
        if header.get("status") != 200:
            error = error_of(header, f"{served.model}@{served.version_text}")
            _note_refusal(peer, now, header, error)
            self._failed(index, error)
            return
        if header.get("version") != served.version_text or header.get("model") != served.model:
            # the port of a minion that is gone may belong to another by now; its answer is not what was asked for
            peer.replica.given_up()
            log.error(
                "wrong_minion", peer=peer.client.address, wanted=f"{served.model}@{served.version_text}"
            )
            self._failed(index, _no_replica(served))
            return
        timing, item_ms = timing_of(header.get("timing"), (now - sent) * 1000)
        peer.replica.answered(now, header.get("load"), item_ms)
        output, failure = outcome_of(header, payload)
        self._settle(
            index,
            Part(
                planned.key, served.model, served.version_text, planned.is_required, output, timing, failure
            ),
        )

    def _peers_of(self, served: Served) -> list[Peer]:
        """The version's replicas that can be sent to. A routing newer than the plan may have moved them."""
        peers = served.open_peers
        if not peers:
            model = self._directory.models.get(served.model)
            moved = model.versions.get(served.version_text) if model is not None else None
            if moved is not None and moved is not served:
                return moved.open_peers
        return peers

    # -- the end ---------------------------------------------------------------------------------------------------

    def _failed(self, index: int, error: CremaError) -> None:
        planned = self.plan.models[index]
        served = planned.served
        self._settle(
            index, Part(planned.key, served.model, served.version_text, planned.is_required, error=error)
        )

    def _settle(self, index: int, part: Part) -> None:
        self.parts[index] = part
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
            self._fail(
                CremaError(
                    "deadline_exceeded",
                    "the deadline passed while the image was prepared; allow more with deadline_ms",
                )
            )
            return
        for index in [index for index, part in enumerate(self.parts) if part is None]:
            self._failed(
                index,
                CremaError("deadline_exceeded", "no answer before the deadline; allow more with deadline_ms"),
            )

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
    says = "cannot be reached" if row.state == "ready" else f"is {row.state}"
    return CremaError(
        "not_ready",
        f"{served.model}@{served.version_text} {says}: 0 of {row.wanted} replicas ready; GET /v1/models shows the state of all",
        retry_after_ms=DEFAULT_RETRY_AFTER_MS,
    )


def _note_refusal(peer: Peer, now: float, header: dict[str, Any], error: CremaError) -> None:
    if error.status in (429, 503):
        peer.replica.refused(now, header.get("load"), error.retry_after_ms)
    else:
        peer.replica.answered(now, header.get("load"))
