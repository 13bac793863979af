"""crema/wire.py: bytes in, checked values out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crema import wire
from tests.crema.wire_messages import MESSAGES

GOLDEN = Path(__file__).parent.parent / "golden" / "wire"


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_has_the_bytes_it_always_had(name: str) -> None:
    header, payload = MESSAGES[name]
    assert wire.encode_header(header, len(payload)) + payload == (GOLDEN / f"{name}.bin").read_bytes()


@pytest.mark.parametrize("name", MESSAGES)
def test_every_stored_message_decodes_to_what_it_was(name: str) -> None:
    data = (GOLDEN / f"{name}.bin").read_bytes()
    header_bytes, payload_bytes = wire.decode_prefix(data)
    assert wire.decode_header(data[8 : 8 + header_bytes]) == MESSAGES[name][0]
    assert data[8 + header_bytes :] == MESSAGES[name][1]
    assert payload_bytes == len(MESSAGES[name][1])


def test_no_stored_message_lacks_its_description() -> None:
    assert {path.stem for path in GOLDEN.glob("*.bin")} == set(MESSAGES)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
)
plain = st.recursive(
    scalars | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=8), scalars | st.lists(scalars, max_size=4), max_size=6),
    st.integers(0, 2**64 - 1),
)
def test_what_is_encoded_comes_back(fields: dict[str, Any], frame_id: int) -> None:
    header = {**fields, "v": 1, "kind": "infer", "id": frame_id}
    head = wire.encode_header(header, 17)
    header_bytes, payload_bytes = wire.decode_prefix(head)
    assert payload_bytes == 17
    assert wire.decode_header(head[8 : 8 + header_bytes]) == header


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    try:
        header = wire.decode_header(data)
    except wire.WireError:
        return
    assert header["v"] == wire.WIRE_VERSION


@given(plain)
def test_a_header_that_is_no_map_with_v_kind_and_id_is_refused(value: Any) -> None:
    if isinstance(value, dict) and {"v", "kind", "id"} <= set(value):
        return
    with pytest.raises(wire.WireError):
        wire.decode_header(msgpack.packb(value))


@pytest.mark.parametrize("length", [wire.MAX_HEADER_BYTES + 1, 2**32 - 1])
def test_a_header_length_over_the_limit_is_refused_before_any_memory_is_taken(length: int) -> None:
    with pytest.raises(wire.WireError, match="header of"):
        wire.decode_prefix(wire.PREFIX.pack(length, 0))


@pytest.mark.parametrize("length", [wire.MAX_PAYLOAD_BYTES + 1, 2**32 - 1])
def test_a_payload_length_over_the_limit_is_refused_before_any_memory_is_taken(length: int) -> None:
    with pytest.raises(wire.WireError, match="payload of"):
        wire.decode_prefix(wire.PREFIX.pack(10, length))


def test_the_sender_may_not_break_the_limits_either() -> None:
    with pytest.raises(ValueError, match="header"):
        wire.encode_header({"pad": "x" * wire.MAX_HEADER_BYTES})
    with pytest.raises(ValueError, match="payload"):
        wire.encode_header({}, wire.MAX_PAYLOAD_BYTES + 1)


def test_another_version_is_named_beside_ours() -> None:
    with pytest.raises(wire.VersionMismatch, match=r"version 2 .* 1 "):
        wire.decode_header(msgpack.packb({"v": 2, "kind": "hello", "id": 0}))


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "x", "id": 1},
        {"v": True, "kind": "x", "id": 1},
        {"v": 1, "kind": 3, "id": 1},
        {"v": 1, "kind": "x", "id": -1},
        {"v": 1, "kind": "x", "id": True},
        {"v": 1, "kind": "x"},
    ],
)
def test_v_kind_and_id_have_exact_types(header: dict[str, Any]) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_header(msgpack.packb(header))


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_nesting_is_limited() -> None:
    base = {"v": 1, "kind": "x", "id": 1}
    wire.decode_header(msgpack.packb({**base, "m": nested(wire.MAX_DEPTH - 1)}))
    with pytest.raises(wire.WireError, match="deeper"):
        wire.decode_header(msgpack.packb({**base, "m": nested(wire.MAX_DEPTH)}))
    with pytest.raises(wire.WireError):
        wire.decode_header(b"\x91" * 60_000)


@pytest.mark.parametrize(
    "extra", [msgpack.ExtType(4, b""), msgpack.ExtType(4, b"abc"), msgpack.Timestamp(1, 0)]
)
def test_extension_types_are_refused(extra: Any) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_header(msgpack.packb({"v": 1, "kind": "x", "id": 1, "e": extra}))


def test_a_binary_map_key_is_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.decode_header(msgpack.packb({"v": 1, "kind": "x", "id": 1, b"key": 1}))


@pytest.mark.parametrize(
    ("shape", "dtype", "size"),
    [
        ([224, 224, 3], "uint8", 150_528),
        ([], "float64", 8),
        ([0, 5], "int32", 0),
        ([512], "float16", 1024),
        ([2**40, 2**40], "uint64", 2**83),
    ],
)
def test_the_bytes_of_a_tensor_follow_from_shape_and_dtype(shape: list[int], dtype: str, size: int) -> None:
    assert wire.tensor_bytes(shape, dtype) == size


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ([1], "object"),
        ([1], "complex64"),
        ([1], None),
        ([-1], "uint8"),
        ([1.0], "uint8"),
        ([True], "uint8"),
        ("12", "uint8"),
        (None, "uint8"),
        ([1] * 9, "uint8"),
    ],
)
def test_impossible_tensors_are_shape_errors(shape: Any, dtype: Any) -> None:
    with pytest.raises(wire.ShapeError):
        wire.tensor_bytes(shape, dtype)
