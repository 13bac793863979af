"""Answers: the frames that a minion sends, with outcomes spliced in as the worker packed them.

The constant parts are packed once. Nothing here unpacks an outcome.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgpack
import msgspec

from crema import wire
from crema.errors import CremaError
from minion.request import Done, Request

_DOUBLE: Final = struct.Struct(">d").pack
_encode: Final = msgspec.msgpack.Encoder().encode
# what surrounds the outcomes leaves this much of a header to them
_OUTCOME_ROOM: Final = wire.MAX_HEADER_BYTES - 1024


def outcome_of(error: CremaError) -> bytes:
    """The packed outcome of an item that failed in the host."""
    packed: bytes = msgpack.packb({"error": error_map(error)})
    return packed


def error_map(error: CremaError) -> dict[str, Any]:
    """The error as it is sent; its message may quote what a caller sent, so what is no valid text is replaced."""
    return {**error.as_wire(), "message": error.message.encode("utf-8", "replace").decode()}


def packed_list(outcomes: list[bytes]) -> bytes:
    """The msgpack array of packed outcomes."""
    n = len(outcomes)
    if n == 1:
        return b"\x91" + outcomes[0]
    if n < 16:
        head = bytes((0x90 | n,))
    else:
        head = struct.pack(">BH", 0xDC, n) if n < 65536 else struct.pack(">BI", 0xDD, n)
    return head + b"".join(outcomes)


class AnswerPacker:
    """Packs the answers of one model version."""

    def __init__(self, model: str, version: str) -> None:
        self._named = {"model": model, "version": version}
        constant = {"v": wire.WIRE_VERSION, "kind": "answer", "status": 200, **self._named}
        # a map of nine members: the constant five, id, outcomes, timing, load
        self._head = b"\x89" + msgpack.packb(constant)[1:] + msgpack.packb("id")
        self._outcomes = msgpack.packb("outcomes")
        self._outcomes_bytes = msgpack.packb("outcomes_bytes")
        self._timing = msgpack.packb("timing") + b"\x83" + msgpack.packb("queue_ms") + b"\xcb"

    def answered(self, request: Request, done: Done) -> tuple[bytes, bytes]:
        """The frame of an admitted request, and its payload (empty unless the outcomes do not fit into a header)."""
        outcomes = packed_list(request.outcomes)
        if len(outcomes) > wire.MAX_PAYLOAD_BYTES:
            too_large = CremaError(
                "model_output_invalid", "the outputs are larger than a frame; send fewer items at once"
            )
            return self.refused(request.key, too_large, done.load), b""
        tail = done.tail
        if tail is None:
            # the last two members of `timing`, and `load` after it
            last = {"inference_ms": done.seconds * 1000, "batch_size": done.size, "load": done.load}
            tail = done.tail = _encode(last)[1:]
        queue_ms = _DOUBLE((request.started_at - request.arrived_at) * 1000)
        key, size = _encode(request.key), len(outcomes)
        if size <= _OUTCOME_ROOM:
            header = b"".join((self._head, key, self._outcomes, outcomes, self._timing, queue_ms, tail))
            return wire.PREFIX.pack(len(header), 0) + header, b""
        header = b"".join(
            (self._head, key, self._outcomes_bytes, _encode(size), self._timing, queue_ms, tail)
        )
        return wire.frame_head(header, size), outcomes

    def refused(self, key: int, error: CremaError, load: dict[str, Any]) -> bytes:
        """The frame of a request that was not admitted."""
        header = {
            "v": wire.WIRE_VERSION,
            "kind": "answer",
            "id": key,
            "status": error.status,
            **self._named,
            "error": error_map(error),
            "load": load,
        }
        return wire.encode_header(header)


def timing_of(request: Request, done: Done) -> dict[str, Any]:
    """The `timing` of an answer, as a map."""
    return {
        "queue_ms": (request.started_at - request.arrived_at) * 1000,
        "inference_ms": done.seconds * 1000,
        "batch_size": done.size,
    }
