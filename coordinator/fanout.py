"""Fan-out: one photo to one preprocessor, then its tensors to every model, all under one deadline.

One future per call and one callback per answer, no task per model; the tensors travel as slices of the one buffer the
preprocessor's answer was received in. Each hop may be tried once more on another replica (`second_try`); the first
answer wins. Decides nothing about the answer's body: it hands over what each model said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

import structlog

from coordinator import hop_errors
from coordinator.answers import NO_OUTCOME, image_of, is_refusal, outcome_of, queue_ms_of, timing_of
from coordinator.attempt import Attempt
from coordinator.image_url import ImageUrl
from coordinator.merge import Part
from coordinator.peer import Peer
from coordinator.plan import Plan
from coordinator.router import NONE
from coordinator.second_try import ONE_DEATH, can_be_tried_elsewhere, hold_s, more_telling
from coordinator.served import Served
from coordinator.ways import Ways
from crema.errors import CremaError
from crema.host.channel import Buffer
from crema.host.channel_lost import ChannelLost
from crema.host.headers import pack_members

# What the other tiers take; the id of a batch's item may be longer.
MAX_REQUEST_ID: Final = 128
# In place of a model's index: the hop to the preprocessor.
PREPROCESS: Final = -1

UNANSWERED: Final = Part("", "", "", False)

Photo = Buffer | tuple[bytes, ...] | ImageUrl
"""A photo's bytes, perhaps in pieces, or its address."""

log = structlog.get_logger(__name__)


class Fanout:
    """One photo's way through the tiers. `start()` once; `done` resolves when everything is answered or given up.

    Afterwards either `failure` is set (the photo could not be prepared), or no place of `parts` is `UNANSWERED`.
    """

    __slots__ = (
        "_asked_count", "_deadline", "_died", "_errors", "_in_flight", "_is_over", "_items", "_loop", "_missing", "_photo",
        "_photo_bytes", "_request_id", "_tensors", "_timer", "_traceparent", "_ways", "done", "failure", "image",
        "parts", "plan", "preprocess_ms",
    )  # fmt: skip

    def __init__(
        self,
        ways: Ways,
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
        self.parts: list[Part] = [UNANSWERED] * len(plan.models)
        self._ways = ways
        # its end tells the images of a batch apart
        self._request_id = request_id[-MAX_REQUEST_ID:]
        self._deadline = deadline
        self._traceparent = traceparent
        self._loop = loop
        self._missing = len(plan.models)
        self._photo: tuple[Buffer, ...] | ImageUrl = ()
        self._photo_bytes = 0
        self._asked_count = 4 if traceparent is None else 5
        self._items: Sequence[bytes] = ()
        self._tensors: Sequence[Buffer] = ()
        self._in_flight: set[Attempt] = set()
        # the hops that were tried twice, with the error of the try that has failed, if one has
        self._errors: dict[int, CremaError | None] = {}
        # the hops whose first try was in flight when its replica's worker died
        self._died: tuple[int, ...] = ()
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, image: Photo) -> None:
        """Send the photo off, or its address. Everything later happens in callbacks."""
        now = monotonic()
        if now >= self._deadline:
            self._fail(hop_errors.late("before the image was sent on"))
            return
        directory = self._ways.directory
        for planned in self.plan.models:
            if directory.peers_of(planned.served).group.is_open:
                break
        else:
            # nobody is there to look at the photo: say so before it is decoded
            for index, planned in enumerate(self.plan.models):
                self._failed(index, hop_errors.no_replica(planned.served))
            return
        # of an image by URL nothing is known that its preparation's time could be measured against
        if isinstance(image, ImageUrl):
            self._photo = image
        else:
            self._photo = image if isinstance(image, tuple) else (image,)
            self._photo_bytes = sum(map(len, self._photo))
        self._timer = self._loop.call_later(self._deadline - now, self._expire)
        self._prepare(now)

    def cancel(self) -> None:
        """Give up what is not answered yet and tell the tiers. Does nothing once all is over."""
        if not self._is_over:
            self._end()

    # -- the two hops ----------------------------------------------------------------------------------------------

    def _prepare(self, now: float) -> None:
        """The first hop: the photo to a preprocessor."""
        if self._try(PREPROCESS, now, self._asked("preprocess", now)):
            self._ways.tries.budget.sent(1)

    def _infer(self, now: float) -> None:
        """The second hop: each model's tensor to one of its replicas."""
        asked = self._asked("infer", now)
        sent = 0
        for index in range(len(self.plan.models)):
            sent += self._try(index, now, asked)
        self._ways.tries.budget.sent(sent)

    def _asked(self, kind: str, now: float) -> bytes:
        """What all requests of a hop say, packed: `_asked_count` members."""
        members: dict[str, Any] = {
            "kind": kind,
            "request_id": self._request_id,
            "remaining_ms": (self._deadline - now) * 1000,
            "lane": self.plan.lane,
        }
        if self._traceparent is not None:
            members["traceparent"] = self._traceparent
        return pack_members(members)

    def _try(self, index: int, now: float, asked: bytes, besides: Peer | None = None) -> bool:
        """Send a hop's request to the replica that the router chooses, the second time to another than `besides`.

        Returns whether it was sent; a first try that could not be has failed then.
        """
        ways = self._ways
        served = None if index == PREPROCESS else self.plan.models[index].served
        peers = ways.directory.preprocessors if served is None else ways.directory.peers_of(served)
        group = peers.group
        if besides is None:
            chosen = ways.router.choose(group, now)
            if chosen == NONE:
                self._gone(index, hop_errors.nobody(served))
                return False
        else:
            chosen = ways.router.choose_another(group, now, besides.replica)
            if chosen == NONE or not ways.tries.take(now):
                return False
        peer = peers.all[chosen]
        attempt = Attempt(self, index, peers, peer, now, besides is not None)
        try:
            if index == PREPROCESS:
                self._send_photo(attempt, asked)
            else:
                items, count = self._items[index], self._asked_count + 1
                if index in self._died:
                    items, count = items + ONE_DEATH, count + 1
                tensor = self._tensors[self.plan.models[index].spec]
                attempt.sent_id = peer.client.submit_packed(asked + items, count, (tensor,), attempt.answered)
        except ChannelLost:
            if besides is not None:
                return False
            if self._try(index, now, asked, peer):
                return True
            self._gone(index, hop_errors.nobody(served))
            return False
        except ValueError:
            log.exception("header_too_large", request_id=self._request_id)
            self._gone(index, hop_errors.too_long())
            return False
        replica = peer.replica
        if group.is_many:
            due = now + replica.patience_s(now, group.expected_ms)
            if due < self._deadline:
                ways.patience.add(due, attempt)
        replica.sent(now)
        self._in_flight.add(attempt)
        return True

    def _send_photo(self, attempt: Attempt, asked: bytes) -> None:
        photo, count = self._photo, self._asked_count + 1
        asked += self.plan.layouts.specs(self.plan.specs)
        if isinstance(photo, ImageUrl):
            asked, count, photo = asked + pack_members({"url": photo.url}), count + 1, ()
        attempt.sent_id = attempt.peer.client.submit_packed(asked, count, photo, attempt.answered)

    def answered(self, attempt: Attempt, now: float, header: dict[str, Any] | None, payload: Buffer) -> None:
        """A request was answered; without a header its connection was lost."""
        self._in_flight.discard(attempt)
        if attempt.index == PREPROCESS:
            self._prepared(attempt, now, header, payload)
        else:
            self._inferred(attempt, now, header, payload)

    def _prepared(self, attempt: Attempt, now: float, header: dict[str, Any] | None, payload: Buffer) -> None:
        total_ms = (now - attempt.sent_at) * 1000
        self.preprocess_ms += total_ms
        if header is None or header.get("status") != 200:
            self._not_answered(attempt, now, header)
            return
        plan = self.plan
        image = image_of(header)
        layout = plan.layouts.of(header.get("tensors"), len(plan.specs), plan.models)
        tensors = None if layout is None else layout.slices(payload)
        if image is None or layout is None or tensors is None:
            log.error(
                "preprocessor_answer_invalid", peer=attempt.peer.client.address, request_id=self._request_id
            )
            attempt.failed(now)
            self._try_again(attempt, now, hop_errors.unfitting())
            return
        service_ms = max(0.0, total_ms - queue_ms_of(header.get("timing")))
        attempt.succeeded(now, header, service_ms, None, self._photo_bytes)
        if self._errors:
            self._won(attempt)
        self.image = image
        self._items = layout.items
        self._tensors = tensors
        self._photo = ()
        self._infer(now)

    def _inferred(self, attempt: Attempt, now: float, header: dict[str, Any] | None, payload: Buffer) -> None:
        index = attempt.index
        planned = self.plan.models[index]
        served = planned.served
        if header is None or header.get("status") != 200:
            self._not_answered(attempt, now, header)
            return
        if header.get("version") != served.version_text or header.get("model") != served.model:
            # the port of a minion that is gone may belong to another by now; its answer is not what was asked for
            attempt.failed(now)
            log.error("wrong_minion", peer=attempt.peer.client.address, wanted=served.full_name)
            self._try_again(attempt, now, hop_errors.no_replica(served))
            return
        output, failure = outcome_of(header, payload)
        if failure is NO_OUTCOME:
            attempt.failed(now)
            self._try_again(attempt, now, NO_OUTCOME)
            return
        timing, service_ms, item_ms, size = timing_of(header.get("timing"), (now - attempt.sent_at) * 1000)
        if failure is None:
            attempt.succeeded(now, header, service_ms, item_ms, size)
        else:
            attempt.refused(now, header, failure)
            if can_be_tried_elsewhere(failure):
                # a worker that died with its batch (of so many items), or will not be there in time for what waits
                if size and failure.code == "not_ready":
                    self._died += (index,)
                self._try_again(attempt, now, failure)
                return
        if self._errors:
            self._won(attempt)
        self.parts[index] = Part(
            planned.key, served.model, served.version_text, planned.is_required, output, timing, failure
        )
        self._missing -= 1
        if not self._missing:
            self._end()

    def _not_answered(self, attempt: Attempt, now: float, header: dict[str, Any] | None) -> None:
        """A hop's request was refused, or its replica was lost."""
        error = hop_errors.not_answered(header, self._served(attempt.index))
        if header is None or not is_refusal(header):
            attempt.failed(now)
            self._try_again(attempt, now, error)
            return
        attempt.refused(now, header, error)
        if can_be_tried_elsewhere(error):
            self._try_again(attempt, now, error)
        else:
            self._gone(attempt.index, error)

    # -- second tries ----------------------------------------------------------------------------------------------

    def _try_again(self, attempt: Attempt, now: float, error: CremaError) -> None:
        """A try has failed in a way that another replica might not: try there, unless that has been done."""
        index, errors = attempt.index, self._errors
        if index in errors:
            if any(each.index == index for each in self._in_flight):
                errors[index] = error
                return
            self._ways.tries.ended["failed"] += 1
            self._gone(index, more_telling(errors[index], error))
            return
        wait_s = 0.0
        if index in self._died:
            left_s = self._deadline - now
            wait_s = hold_s(attempt.peers.group.replicas, now, left_s, error.retry_after_ms)
        if wait_s:
            self._loop.call_later(wait_s, self._second_try, attempt, error)
        else:
            self._second_try(attempt, error)

    def _second_try(self, attempt: Attempt, error: CremaError) -> None:
        """Try elsewhere, unless it is too late for that."""
        now = monotonic()
        if self._is_over:
            return
        if now < self._deadline and self._try_another(attempt, now):
            self._errors[attempt.index] = error
        else:
            self._gone(attempt.index, error)

    def is_late(self, attempt: Attempt, now: float) -> None:
        """No answer for longer than the replica may be silent: try another one beside it, once."""
        if attempt.index == PREPROCESS and isinstance(self._photo, ImageUrl):
            return  # somebody else's server is slow, not this replica
        group, replica = attempt.peers.group, attempt.peer.replica
        is_silent = replica.heard_at < attempt.sent_at
        if group.ejection.silent(group.replicas, replica, now, attempt.sent_at):
            attempt.peer.client.reset()
        # bulk may well wait behind others at a replica that works
        can_help = attempt.index not in self._errors and (is_silent or self.plan.lane == "interactive")
        if can_help and self._try_another(attempt, now):
            self._errors[attempt.index] = None

    def _try_another(self, attempt: Attempt, now: float) -> bool:
        """Ask another replica than `attempt` did, if there is one and the budget allows it."""
        asked = self._asked("preprocess" if attempt.index == PREPROCESS else "infer", now)
        return self._try(attempt.index, now, asked, attempt.peer)

    def _won(self, attempt: Attempt) -> None:
        """The hop is answered: the other try of it, if it is still under way, is not wanted any more."""
        index = attempt.index
        if index not in self._errors:
            return
        self._ways.tries.ended["ok" if attempt.is_second else "discarded"] += 1
        for other in [each for each in self._in_flight if each.index == index]:
            self._in_flight.discard(other)
            other.give_up()

    # -- the end ---------------------------------------------------------------------------------------------------

    def _served(self, index: int) -> Served | None:
        """What a hop goes to; None: to the preprocessor."""
        return None if index == PREPROCESS else self.plan.models[index].served

    def _gone(self, index: int, error: CremaError) -> None:
        """A hop has failed for good."""
        if index == PREPROCESS:
            self._fail(error)
        else:
            self._failed(index, error)

    def _failed(self, index: int, error: CremaError) -> None:
        """A model has no outcome, for good."""
        planned = self.plan.models[index]
        served = planned.served
        self.parts[index] = Part(
            planned.key, served.model, served.version_text, planned.is_required, error=error
        )
        self._missing -= 1
        if not self._missing:
            self._end()

    def _fail(self, error: CremaError) -> None:
        self.failure = error
        self._end()

    def _expire(self) -> None:
        """The deadline: what is not answered now is late, and its answer is not wanted any more."""
        self._timer = None
        if self.image is None:
            self._fail(hop_errors.late("while the image was prepared"))
            return
        for index in [index for index, part in enumerate(self.parts) if part is UNANSWERED]:
            self._failed(index, hop_errors.silent())

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in self._in_flight:
            if attempt.is_second:
                self._ways.tries.ended["discarded"] += 1
            attempt.give_up()
        self._in_flight.clear()
        self._tensors, self._photo = (), ()
        if not self.done.done():
            self.done.set_result(None)
