"""Door: `POST /v1/infer`, for people with curl. JSON or msgpack in, answered in kind.

The same admission, batches and outcomes as the channel, in other clothes. It reads bodies strictly and keeps none.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import re
import time
from typing import Any, Final

import msgpack
import msgspec

from crema import wire
from crema.errors import CremaError, retry_after_seconds
from crema.host.channel import Buffer
from crema.host.counted_msgpack import TooManyValues, unpack_counted
from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request as HttpRequest
from minion.answers import error_map, packed_list, timing_of
from minion.body import read_body
from minion.dispatcher import Dispatcher
from minion.meters import Meters
from minion.request import Done, Request, RequestReader, invalid

_MEMBERS: Final = frozenset({"items", "remaining_ms", "lane", "request_id"})
_ITEM_MEMBERS: Final = frozenset({"shape", "dtype", "data", "params"})
# what the body may hold beside the tensors: per item, and in all
_ROOM_PER_ITEM: Final = 4096
_ROOM: Final = 64 * 1024
# Far more than the items of a full gate have. Without it a body of empty maps would cost a gigabyte and seconds of the loop.
MAX_VALUES: Final = 100_000
_MSGPACK: Final = "application/msgpack"
_MSGPACK_MAP: Final = re.compile(rb"(?!\x89PNG\r\n)[\x80-\x8f\xde\xdf]")

_encode_json = msgspec.json.Encoder().encode


class _Visitor:
    """One HTTP request that waits for its outcomes. A `Caller`."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()

    def answer(self, request: Request, done: Done) -> None:
        """Wake the handler."""
        if not self.done.done():
            self.done.set_result(done)

    def flush(self) -> None:
        """It is on its way."""


class Door:
    """The handler of `POST /v1/infer`."""

    def __init__(
        self, dispatcher: Dispatcher, reader: RequestReader, meters: Meters, card: dict[str, Any]
    ) -> None:
        self._dispatcher = dispatcher
        self._reader = reader
        self._meters = meters
        self._named = {"model": card["name"], "version": card["version"]}
        self._max_items: int = card["gate"]["max_pending"]
        tensors = min(wire.MAX_PAYLOAD_BYTES, self._max_items * reader.item_bytes)
        self.max_body_bytes = tensors * 4 // 3 + self._max_items * _ROOM_PER_ITEM + _ROOM

    async def infer(self, http: HttpRequest) -> Answer:
        """Admit, wait, answer."""
        arrived_at = time.monotonic()
        is_msgpack = http.headers.get("Content-Type", "").partition(";")[0].strip().lower() == _MSGPACK
        try:
            # one free place is asked for before the body is read; the request's own places after it was parsed
            error = self._dispatcher.refusal(arrived_at, 1, "interactive", float("inf"), is_probe=True)
            if error is not None:
                raise error
            body = await read_body(http, self.max_body_bytes)
            is_msgpack = begins_as_msgpack(body)
            message = parse(body)
            visitor = _Visitor()
            request, tensors = self._read(message, is_msgpack, visitor, arrived_at)
            error = self._dispatcher.admit(request)
            if error is not None:
                raise error
        except CremaError as refused:
            return self._refused(refused, is_msgpack)
        request.take_tensors(tensors)
        self._dispatcher.submit(request)
        try:
            done = await visitor.done
        except asyncio.CancelledError:
            self._dispatcher.abandon(request)
            raise
        return self._answered(request, done, is_msgpack)

    def _read(
        self, message: dict[str, Any], is_msgpack: bool, visitor: _Visitor, arrived_at: float
    ) -> tuple[Request, list[Buffer]]:
        _refuse_unknown(message, _MEMBERS, "")
        items = message.get("items")
        for index, item in enumerate(items if type(items) is list else ()):
            if type(item) is dict:
                _refuse_unknown(item, _ITEM_MEMBERS, f"items[{index}].")
        request = self._reader.read(message, visitor, 0, arrived_at)
        assert items is not None
        return request, [
            self._tensor(item.get("data"), index, is_msgpack) for index, item in enumerate(items)
        ]

    def _tensor(self, data: Any, index: int, is_msgpack: bool) -> bytes:
        at = f"items[{index}].data"
        if is_msgpack:
            if type(data) is not bytes:
                raise invalid(f"{at} must be bytes (msgpack bin)")
            tensor = data
        else:
            if type(data) is not str:
                raise invalid(f"{at} must be a base64 string")
            try:
                tensor = binascii.a2b_base64(data, strict_mode=True)
            except ValueError as error:
                raise invalid(f"{at} is not base64: {error}") from None
        if len(tensor) != self._reader.item_bytes:
            raise invalid(
                f"{at} has {len(tensor)} bytes; {self._reader.dtype} {self._reader.shape} has {self._reader.item_bytes}"
            )
        return tensor

    def _answered(self, request: Request, done: Done, is_msgpack: bool) -> Answer:
        more = {"timing": timing_of(request, done), "load": done.load}
        if is_msgpack:
            named = {"status": 200, **self._named}
            body = b"".join(
                (
                    b"\x86", msgpack.packb(named)[1:], msgpack.packb("outcomes"), packed_list(request.outcomes),
                    msgpack.packb(more)[1:],
                )
            )  # fmt: skip
            return answer(body, _MSGPACK)
        outcomes = [msgpack.unpackb(outcome) for outcome in request.outcomes]
        return answer(
            _encode_json({"status": 200, **self._named, "outcomes": outcomes, **more}), "application/json"
        )

    def _refused(self, error: CremaError, is_msgpack: bool) -> Answer:
        self._meters.answered(error.status)
        body = {"status": error.status, "error": error_map(error)}
        headers = {}
        if error.retry_after_ms is not None:
            headers["Retry-After"] = str(retry_after_seconds(error.retry_after_ms))
        if is_msgpack:
            return answer(msgpack.packb(body), _MSGPACK, error.status, headers)
        return answer(_encode_json(body), "application/json", error.status, headers)


def begins_as_msgpack(body: bytes) -> bool:
    """Whether the first byte is that of a msgpack map, and of no PNG: then the answer, too, is msgpack."""
    return _MSGPACK_MAP.match(body) is not None


def parse(body: bytes) -> dict[str, Any]:
    """The map that a body holds. The first byte decides in which format.

    Raises CremaError `invalid_request` for an empty body or bad msgpack, `unsupported_media_type` for neither of the
    two, `invalid_json` for bad JSON.
    """
    if not body:
        raise invalid("the body is empty; send a JSON or msgpack map with items")
    if begins_as_msgpack(body):
        return _parse_msgpack(body)
    text = body[3:] if body.startswith(b"\xef\xbb\xbf") else body
    if text.lstrip(b" \t\r\n")[:1] == b"{":
        return _parse_json(text)
    raise CremaError(
        "unsupported_media_type", "the body is neither a JSON object nor a msgpack map; send one of them"
    )


def _parse_json(text: bytes) -> dict[str, Any]:
    # in the tensors' base64 there are none of these
    if text.count(b",") + text.count(b"{") + text.count(b"[") > MAX_VALUES:
        raise CremaError("invalid_json", f"the body has more than {MAX_VALUES} values; send fewer items")
    try:
        message: dict[str, Any] = json.loads(
            text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise CremaError("invalid_json", "the body is not UTF-8") from None
    except (_NamedTwice, ValueError, RecursionError) as error:
        raise CremaError(
            "invalid_json", f"the body is not valid JSON: {str(error)[:200] or 'nested too deeply'}"
        ) from None
    return message


def _parse_msgpack(body: bytes) -> dict[str, Any]:
    try:
        message = unpack_counted(body, MAX_VALUES, _unique)
        if type(message) is not dict:
            raise wire.WireError("not a map")
        wire.check_plain(message)
    except _NamedTwice as twice:
        raise invalid(str(twice)) from None
    except TooManyValues as too_many:
        raise invalid(f"the body holds {too_many}; send fewer items") from None
    except (
        wire.WireError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        msgpack.UnpackException,
    ) as error:
        what = str(error) if isinstance(error, wire.WireError) else "not msgpack"
        raise invalid(f"the body is not a plain msgpack map: {what}") from None
    return message


class _NamedTwice(Exception):
    """A map names a member twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NamedTwice(f"the member {str(twice)[:80]!r} is named twice")
    return members


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON; numbers are finite")


def _refuse_unknown(members: dict[str, Any], known: frozenset[str], at: str) -> None:
    for name in members:
        if name not in known:
            raise invalid(f"{at}{name[:80]!a} is unknown; known are {', '.join(sorted(known))}")
