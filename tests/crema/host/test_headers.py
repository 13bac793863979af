"""The fast header codec says exactly what the light ring's says: values, errors and bytes."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crema import wire
from crema.host.headers import decode_header, encode_header, join_header, pack_members

BASE: dict[str, Any] = {"v": 1, "kind": "answer", "id": 7}

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
)
values = st.recursive(
    scalars | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def verdict(decode: Any, data: bytes) -> Any:
    try:
        return decode(data)
    except wire.WireError as error:
        return type(error), str(error)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_both_codecs_agree_on_any_header(members: dict[str, Any]) -> None:
    header = {**BASE, **members}
    packed = msgpack.packb(header)
    assert verdict(decode_header, packed) == verdict(wire.decode_header, packed)
    assert encode_header(header, 5) == wire.encode_header(header, 5)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4), st.data())
def test_both_codecs_agree_on_any_damage(members: dict[str, Any], data: st.DataObject) -> None:
    packed = bytearray(msgpack.packb({**BASE, **members}))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    del packed[data.draw(st.integers(0, len(packed))) :]
    ours, theirs = verdict(decode_header, bytes(packed)), verdict(wire.decode_header, bytes(packed))
    # repr, because a damaged number may be NaN
    assert repr(ours) == repr(theirs)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "member",
    [
        nested(wire.MAX_DEPTH - 1),
        nested(wire.MAX_DEPTH),
        {1: 2},
        {b"k": 1},
        msgpack.Timestamp(1, 0),
        b"bytes",
    ],
)
def test_limits_are_the_light_rings(member: Any) -> None:
    packed = msgpack.packb({**BASE, "member": member})
    assert verdict(decode_header, packed) == verdict(wire.decode_header, packed)


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "x", "id": 1},
        {"v": True, "kind": "x", "id": 1},
        {"v": 1.0, "kind": "x", "id": 1},
        {"v": 2, "kind": "x", "id": 1},
        {"v": 1, "kind": 3, "id": 1},
        {"v": 1, "kind": "x", "id": -1},
        {"v": 1, "kind": "x", "id": True},
        {"v": 1, "kind": "x"},
    ],
)
def test_a_bad_opening_member_is_the_same_error(header: dict[str, Any]) -> None:
    packed = msgpack.packb(header)
    assert isinstance(verdict(decode_header, packed), tuple)
    assert verdict(decode_header, packed) == verdict(wire.decode_header, packed)


def test_joined_members_are_one_header() -> None:
    common, own = {"kind": "infer", "lane": "bulk"}, {"items": [{"shape": [2], "dtype": "uint8"}]}
    head = join_header(2**63, 3, pack_members(common) + pack_members(own), 2)
    assert wire.decode_prefix(head) == (len(head) - wire.PREFIX.size, 2)
    assert decode_header(head[wire.PREFIX.size :]) == {"v": 1, "id": 2**63, **common, **own}


def test_a_joined_header_over_the_limit_is_refused() -> None:
    members = pack_members({"kind": "x" * wire.MAX_HEADER_BYTES})
    with pytest.raises(ValueError, match="limit"):
        join_header(1, 1, members, 0)


def test_more_members_than_can_be_joined_are_refused() -> None:
    with pytest.raises(ValueError, match="16 members"):
        pack_members({str(n): n for n in range(16)})
