"""Frame headers packed and unpacked in C: what `crema.wire` does, at a third of its cost, for processes of our own.

The light ring has msgpack only, which unpacks first and checks afterwards. Here the checks (string keys, no extension
types, depth) are the decoder's types. What it refuses, `crema.wire` judges: so there is one set of rules and of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, Final

import msgspec

from crema import wire

_Scalar: Any = None | bool | int | float | str


def _nested(inner: Any, _: int) -> Any:
    return _Scalar | list[inner] | dict[str, inner]


# the header itself is the first level, and the innermost holds scalars only
_Value: Any = reduce(_nested, range(wire.MAX_DEPTH - 1), _Scalar)

_decode: Final = msgspec.msgpack.Decoder(dict[str, _Value]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def encode_header(header: Mapping[str, Any], payload_bytes: int = 0) -> bytes:
    """As `wire.encode_header`, to the same bytes."""
    return wire.frame_head(_encode(header), payload_bytes)


def decode_header(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """As `wire.decode_header`, to the same values and errors."""
    try:
        header: dict[str, Any] = _decode(data)
    except (msgspec.DecodeError, ValueError):
        return wire.decode_header(data)
    frame_id = header.get("id")
    if (
        header.get("v") == wire.WIRE_VERSION
        and type(header["v"]) is int
        and type(header.get("kind")) is str
        and type(frame_id) is int
        and frame_id >= 0
    ):
        return header
    return wire.decode_header(data)
