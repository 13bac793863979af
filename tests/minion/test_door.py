"""What the door takes for a body, before any admission."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crema.errors import CremaError
from minion.door import begins_as_msgpack, parse

# begins with the byte of a msgpack map of nine
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def refused(body: bytes) -> CremaError:
    with pytest.raises(CremaError) as caught:
        parse(body)
    return caught.value


def test_the_first_byte_decides_between_json_and_msgpack() -> None:
    message: dict[str, Any] = {"items": []}
    for body, is_msgpack in ((json.dumps(message).encode(), False), (msgpack.packb(message), True)):
        assert (begins_as_msgpack(body), parse(body)) == (is_msgpack, message)


def test_json_may_begin_with_a_byte_order_mark_and_space() -> None:
    assert parse(b"\xef\xbb\xbf \r\n\t{}") == {}


def test_a_large_msgpack_map_is_a_map() -> None:
    message = {str(i): i for i in range(20)}
    assert begins_as_msgpack(msgpack.packb(message))
    assert parse(msgpack.packb(message)) == message


@pytest.mark.parametrize("value", [b"{}", b"[]", b"0"])
def test_a_body_of_millions_of_values_is_refused_before_they_are_made(value: bytes) -> None:
    error = refused(b'{"items":[' + (value + b",") * 200_000 + value + b"]}")
    assert error.code == "invalid_json"
    assert "100000 values" in error.message


@pytest.mark.parametrize("value", [{}, [], 0, [{}]])
def test_so_is_one_in_msgpack(value: Any) -> None:
    assert refused(msgpack.packb({"items": [value] * 200_000})).code == "invalid_request"
    assert refused(msgpack.packb({"items": [[value] * 1000] * 101})).code == "invalid_request"


def test_many_items_and_large_tensors_are_no_such_body() -> None:
    item = {"shape": [224, 224, 3], "dtype": "uint8", "data": "A" * 1000, "params": {"a": 1, "b": "x"}}
    message = {"items": [item] * 1024}
    assert parse(json.dumps(message).encode()) == message
    assert parse(msgpack.packb(message)) == message


def test_an_empty_body_is_an_invalid_request() -> None:
    assert refused(b"").code == "invalid_request"


@pytest.mark.parametrize("body", [b"[]", b"hello", b"\x93\x01\x02\x03", b"\xff\xd8\xff", b"  ", b'"x"', PNG])
def test_what_is_neither_is_an_unsupported_media_type(body: bytes) -> None:
    assert refused(body).code == "unsupported_media_type"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\xff"}',
        b'{"a": 1} x',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
)
def test_json_is_read_strictly(body: bytes) -> None:
    assert refused(body).code == "invalid_json"


def test_a_member_that_is_named_twice_is_named_in_the_error() -> None:
    assert "'items' is named twice" in refused(b'{"items": [], "items": []}').message


@pytest.mark.parametrize(
    "body",
    [
        b"\x81",
        b"\x81\xa1a",
        msgpack.packb({"a": 1}) + b"x",
        b"\x81\x01\x01",
        msgpack.packb({"a": msgpack.Timestamp(1)}),
        b"\x82\xa1a\x01\xa1a\x02",
    ],
)
def test_msgpack_is_read_strictly(body: bytes) -> None:
    assert refused(body).code == "invalid_request"


@given(st.binary(max_size=60).flatmap(lambda tail: st.sampled_from([tail, b"{" + tail, b"\x82\xa1a" + tail])))
def test_no_body_is_anything_but_a_map_or_a_typed_error(body: bytes) -> None:
    try:
        message = parse(body)
    except CremaError:
        return
    assert type(message) is dict
    assert all(type(name) is str for name in message)
