"""Request: one admitted `infer` call and its items; and reading one from what a peer sent, strictly.

It knows this model's input and parameters. It admits nothing and queues nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

from crema import wire
from crema.errors import CremaError
from crema.host.channel import Buffer
from crema.names import CHANNELS, LANES, Lane
from minion.arena import offset_of
from minion.batcher import Waiting
from minion.params import ParamSet


class Item(Waiting):
    """One item of a request: its pixels and its complete params (None: all defaults).

    `at` is where the pixels lie in the minion's arena (None: they do not); whoever holds `pixels` keeps them there.
    `fingerprint` stands for pixels and params once somebody has asked for it.
    """

    __slots__ = ("at", "fingerprint", "index", "params", "pixels", "request")

    def __init__(
        self,
        request: Request,
        index: int,
        pixels: Buffer,
        params: dict[str, Any] | None,
        at: int | None = None,
    ) -> None:
        super().__init__(None, request.lane, request.deadline, request.arrived_at)
        self.request = request
        self.index = index
        self.pixels = pixels
        self.params = params
        self.at = at
        self.fingerprint: bytes | None = None


class Caller(Protocol):
    """Who asked, and how to answer."""

    def answer(self, request: Request, done: Done) -> None:
        """Every item has its outcome. Called once, on the loop, after the places were given back; must not raise."""

    def flush(self) -> None:
        """For now there are no more answers: what was collected of them can go out. Must not raise."""


class Request:
    """One call: `n` items in one lane, due at `deadline` (monotonic seconds, infinite without one).

    `key` is the caller's own name for it. `outcomes` are packed bytes, in the order of the items.
    """

    __slots__ = (
        "arrived_at", "caller", "deadline", "deaths", "is_abandoned", "items", "key", "lane", "left", "n", "outcomes", "params",
        "request_id", "started_at", "traceparent",
    )  # fmt: skip

    def __init__(
        self,
        caller: Caller,
        key: int,
        arrived_at: float,
        remaining_s: float,
        lane: Lane,
        params: list[dict[str, Any] | None],
        request_id: str | None,
        traceparent: str | None,
    ) -> None:
        self.caller = caller
        self.key = key
        self.arrived_at = arrived_at
        self.deadline = arrived_at + remaining_s
        self.lane: Lane = lane
        self.params = params
        self.n = self.left = len(params)
        self.request_id = request_id
        self.traceparent = traceparent
        self.outcomes: list[bytes] = [b""] * self.n
        self.items: list[Item] = []
        self.started_at = arrived_at
        self.is_abandoned = False
        self.deaths = 0
        """Workers that died elsewhere while they ran it."""

    def take_pixels(self, payload: Buffer) -> None:
        """The items' tensors, back to back."""
        n, at = self.n, offset_of(payload)
        if n == 1:
            self.items = [Item(self, 0, payload, self.params[0], at)]
            return
        view, size = memoryview(payload), len(payload) // n
        self.items = [
            Item(
                self,
                i,
                view[i * size : (i + 1) * size],
                self.params[i],
                None if at is None else at + i * size,
            )
            for i in range(n)
        ]

    def take_tensors(self, tensors: Sequence[Buffer]) -> None:
        """The items' tensors, one buffer each."""
        self.items = [Item(self, i, tensor, self.params[i]) for i, tensor in enumerate(tensors)]


class Done:
    """The batch that gave a request its last outcome: `seconds` from hand-over to outcomes, `size` items (0: none ran)."""

    __slots__ = ("load", "seconds", "size", "tail")

    def __init__(self, seconds: float, size: int, load: dict[str, Any]) -> None:
        self.seconds = seconds
        self.size = size
        self.load = load
        self.tail: bytes | None = None
        """Room for the packed end of the answers, which is the same for the whole batch."""


class RequestReader:
    """Checks what the header (or the HTTP door's map) says against the model's card."""

    def __init__(self, card: dict[str, Any]) -> None:
        spec = card["input"]
        if spec["kind"] == "image":
            width, height = spec["size"]
            self.shape, self.dtype = [height, width, CHANNELS[spec.get("colour", "rgb")]], "uint8"
        else:
            self.shape, self.dtype = list(spec["shape"]), str(spec["dtype"])
        self.item_bytes = wire.tensor_bytes(self.shape, self.dtype)
        # what nearly every request says, and is compared with in one step
        self._usual = [{"shape": self.shape, "dtype": self.dtype, "params": {}}]
        self._places: int = card["gate"]["max_pending"]
        self._params = ParamSet(card["params"])

    def read(self, message: dict[str, Any], caller: Caller, key: int, now: float) -> Request:
        """A request from a header. Raises CremaError `invalid_request` or, without time left, `deadline_exceeded`."""
        items = message.get("items")
        if type(items) is not list or not items:
            raise invalid("items must be a list of at least one item")
        if len(items) > self._places:
            raise invalid(
                f"items: {len(items)} are more than this model's {self._places} places; send them in parts"
            )
        params: list[dict[str, Any] | None]
        if items == self._usual:
            params = [None]
        else:
            params = [self._read_item(item, index) for index, item in enumerate(items)]
        remaining_ms = message.get("remaining_ms")
        if remaining_ms is None:
            remaining_s = math.inf
        elif type(remaining_ms) in _NUMBER and 0 <= remaining_ms < math.inf:
            remaining_s = min(remaining_ms, _ENDLESS_MS) / 1000
            if remaining_s <= 0:
                raise CremaError("deadline_exceeded", "no time was left when the request arrived; allow more")
        else:
            raise invalid(
                "remaining_ms must be a finite number of milliseconds, 0 or more; leave it out for no deadline"
            )
        lane = message.get("lane", "interactive")
        if lane not in LANES:
            raise invalid(f"lane must be {' or '.join(LANES)}")
        request_id = message.get("request_id")
        if request_id is not None and (type(request_id) is not str or len(request_id) > 128):
            raise invalid("request_id must be a string of at most 128 characters")
        trace = message.get("traceparent")
        traceparent = trace if type(trace) is str and len(trace) <= 128 else None
        request = Request(caller, key, now, remaining_s, lane, params, request_id, traceparent)
        deaths = message.get("deaths")
        if deaths is not None:
            if type(deaths) is not int or not 0 <= deaths <= _MOST_DEATHS:
                raise invalid(f"deaths must be a whole number from 0 to {_MOST_DEATHS}")
            request.deaths = deaths
        return request

    def _read_item(self, item: Any, index: int) -> dict[str, Any] | None:
        if type(item) is not dict:
            raise invalid(f"items[{index}] must be a map of shape, dtype and params")
        if item.get("shape") != self.shape or item.get("dtype") != self.dtype:
            raise invalid(
                f"items[{index}]: this model takes {self.dtype} {self.shape} "
                f"(got {str(item.get('dtype'))[:40]} {str(item.get('shape'))[:100]})"
            )
        params = item.get("params")
        if params is None or params == {}:
            return None
        return self._params.complete(params, f"items[{index}].params")


def invalid(message: str) -> CremaError:
    """400 `invalid_request`."""
    return CremaError("invalid_request", message)


_MOST_DEATHS: Final = 100
_NUMBER: Final = (int, float)
# thousands of years: nothing later is worth telling apart, and a whole number may be larger than a float holds
_ENDLESS_MS: Final = 1e15
