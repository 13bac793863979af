"""The channel's frames, as pure functions: bytes in, checked values out. Light ring: stdlib and msgpack only.

    frame = u32 header length | u32 payload length | header (msgpack map) | payload          little-endian

Nothing here reads a socket or allocates by a length it has not checked. `docs/wire.md` is the prose page;
`tests/golden/wire/` holds the bytes of every message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgpack

WIRE_VERSION: Final = 1
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 8
MAX_DIMENSIONS: Final = 8
MAX_ID: Final = 2**64 - 1

PREFIX: Final[struct.Struct] = struct.Struct("<II")

# numpy's names, little-endian, with the bytes of one element
DTYPES: Final[dict[str, int]] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
}


class WireError(Exception):
    """The peer broke framing, a limit or msgpack: the connection must end."""


class VersionMismatch(WireError):
    """The peer speaks another wire version; the text names both."""


class ShapeError(ValueError):
    """A well-formed frame describes tensors that cannot be: answer 400, keep the connection."""


def encode_header(header: Mapping[str, Any], payload_bytes: int = 0) -> bytes:
    """Prefix and header of a frame whose payload of `payload_bytes` follows.

    Raises ValueError when the frame would break a limit (a bug of the sender, never of the peer).
    """
    body: bytes = msgpack.packb(header)
    return frame_head(body, payload_bytes)


def frame_head(packed_header: bytes, payload_bytes: int) -> bytes:
    """Prefix plus an already packed header. Raises ValueError over a limit."""
    if len(packed_header) > MAX_HEADER_BYTES:
        raise ValueError(f"header of {len(packed_header)} bytes is over the limit of {MAX_HEADER_BYTES}")
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {payload_bytes} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
    return PREFIX.pack(len(packed_header), payload_bytes) + packed_header


def decode_prefix(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """Header and payload length of the frame that begins at `offset`. Raises WireError over a limit."""
    header_bytes, payload_bytes = PREFIX.unpack_from(data, offset)
    if header_bytes > MAX_HEADER_BYTES:
        raise WireError(f"header of {header_bytes} bytes is over the limit of {MAX_HEADER_BYTES}")
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise WireError(f"payload of {payload_bytes} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
    return header_bytes, payload_bytes


def decode_header(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The header map, with `v`, `kind` and `id` checked.

    Raises VersionMismatch for another `v`, WireError for anything that is not a header.
    """
    header = unpack_map(data)
    version = header.get("v")
    if type(version) is not int:
        raise WireError("header has no integer `v`")
    if version != WIRE_VERSION:
        raise VersionMismatch(
            f"wire version {version} offered, {WIRE_VERSION} spoken here: run the same release on both sides"
        )
    if type(header.get("kind")) is not str:
        raise WireError("header has no string `kind`")
    frame_id = header.get("id")
    if type(frame_id) is not int or not 0 <= frame_id <= MAX_ID:
        raise WireError("header has no unsigned 64-bit `id`")
    return header


def unpack_map(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """A msgpack map with string keys, no extension types, at most `MAX_DEPTH` deep.

    Raises WireError for everything else; sizes are bounded by the bytes given.
    """
    size = len(data)
    try:
        value = msgpack.unpackb(
            data,
            strict_map_key=True,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=0,
            ext_hook=_refuse_extension,
        )
    # msgpack raises ValueError (FormatError, StackError, ExtraData are its kinds), and UnicodeDecodeError is one too
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not msgpack: {type(error).__name__}") from None
    if type(value) is not dict:
        raise WireError("not a msgpack map")
    check_plain(value)
    return value


def check_plain(value: Any, depth: int = 1) -> None:
    """Raises WireError unless `value` is maps with string keys, arrays and scalars, at most `MAX_DEPTH` deep.

    Only containers are looked into; that a scalar is none of msgpack's extension types, the unpacking has seen to.
    """
    if depth > MAX_DEPTH:
        raise WireError(f"nested deeper than {MAX_DEPTH}")
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                raise WireError("a map key is not a string")
        value = value.values()
    for member in value:
        kind = type(member)
        if kind is dict or kind is list:
            check_plain(member, depth + 1)


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError("extension types are not allowed")


def hello(role: str, token: str | None = None) -> dict[str, Any]:
    """The first frame of either side."""
    header: dict[str, Any] = {"v": WIRE_VERSION, "kind": "hello", "id": 0, "role": role}
    if token is not None:
        header["token"] = token
    return header


def refusal(code: str, message: str) -> dict[str, Any]:
    """The frame that a refusing side sends before it closes."""
    return {"v": WIRE_VERSION, "kind": "error", "id": 0, "error": {"code": code, "message": message}}


def tensor_bytes(shape: Any, dtype: Any) -> int:
    """Bytes of one tensor. Python integers do not overflow, so a huge shape is only ever a large number.

    Raises ShapeError for a dtype off the list or a shape that is not up to 8 non-negative integers.
    """
    width = DTYPES.get(dtype) if type(dtype) is str else None
    if width is None:
        raise ShapeError(f"dtype {str(dtype)[:40]!r} is not one of {', '.join(DTYPES)}")
    if type(shape) is not list and type(shape) is not tuple:
        raise ShapeError("shape is not a list of integers")
    if len(shape) > MAX_DIMENSIONS:
        raise ShapeError(f"shape has {len(shape)} dimensions; the limit is {MAX_DIMENSIONS}")
    size = width
    for extent in shape:
        if type(extent) is not int or extent < 0:
            raise ShapeError("shape is not a list of non-negative integers")
        size *= extent
    return size


def tensors_bytes(items: Iterable[Any]) -> int:
    """Bytes of all tensors of a list of `{shape, dtype, …}` maps. Raises ShapeError as `tensor_bytes`."""
    total = 0
    for item in items:
        if type(item) is not dict:
            raise ShapeError("an item is not a map")
        total += tensor_bytes(item.get("shape"), item.get("dtype"))
    return total
