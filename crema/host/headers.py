"""Frame headers packed and unpacked in C: what `crema.wire` does, at a third of its cost, for processes of our own.

The light ring has msgpack only, which unpacks first and checks afterwards. Here the checks (string keys, no extension
types, depth) are the decoder's types. What it refuses, `crema.wire` judges: so there is one set of rules and of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from struct import Struct
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

# how a frame with a joined header begins: its prefix, a map of so many members, `v`, and `id` as a u64
_BEGINNING: Final = Struct(wire.PREFIX.format + "B7s")
_ID: Final = Struct(">Q")
_VERSION_AND_ID: Final = b"\xa1v" + bytes([wire.WIRE_VERSION]) + b"\xa2id\xcf"
_BEGINNING_BYTES: Final = _BEGINNING.size + _ID.size - wire.PREFIX.size
_MAP: Final = 0x80
_MOST_MEMBERS: Final = 15


def encode_header(header: Mapping[str, Any], payload_bytes: int = 0) -> bytes:
    """As `wire.encode_header`, to the same bytes."""
    return wire.frame_head(_encode(header), payload_bytes)


def pack_members(members: Mapping[str, Any]) -> bytes:
    """Members of a header, at most 15, packed to stand beside others in one that is joined."""
    packed: bytes = _encode(members)
    if packed[0] > _MAP + _MOST_MEMBERS:
        raise ValueError(f"{len(members)} members of a header; {_MOST_MEMBERS} can be joined")
    return packed[1:]


def join_header(frame_id: int, count: int, members: bytes, payload_bytes: int) -> bytes:
    """The head of a frame whose `count` members besides `v` and `id` (at most 13) are packed already.

    What many frames have in common is thus packed once. Raises ValueError over a limit.
    """
    size = _BEGINNING_BYTES + len(members)
    if size > wire.MAX_HEADER_BYTES or payload_bytes > wire.MAX_PAYLOAD_BYTES:
        raise ValueError(f"a header of {size} bytes or a payload of {payload_bytes} is over the limit")
    beginning = _BEGINNING.pack(size, payload_bytes, _MAP + 2 + count, _VERSION_AND_ID)
    return beginning + _ID.pack(frame_id) + members


def decode_header(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """As `wire.decode_header`, to the same values and errors."""
    try:
        header: dict[str, Any] = _decode(data)
    except (msgspec.DecodeError, ValueError):
        return wire.decode_header(data)
    try:
        version, frame_id = header["v"], header["id"]
        if (
            version == wire.WIRE_VERSION
            and type(version) is int
            and type(frame_id) is int
            and frame_id >= 0
            and type(header["kind"]) is str
        ):
            return header
    except KeyError:
        pass
    return wire.decode_header(data)
