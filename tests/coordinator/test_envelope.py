"""JSON and msgpack bodies are read strictly."""

from __future__ import annotations

import json
import re
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import envelope
from coordinator.envelope import MAX_DEPTH, MAX_VALUES, decode_json, decode_msgpack
from crema.errors import CremaError


def nested(depth: int) -> bytes:
    """An object `depth` deep."""
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_an_object_is_read_with_and_without_a_byte_order_mark() -> None:
    assert decode_json(b' {"a": [1, 2.5, true, null, "\\u00e9"]} ') == {"a": [1, 2.5, True, None, "é"]}
    assert decode_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}x",
        b"{} {}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\n"}',
        b'{"a": 01}',
        b'{"a": 1e}',
        b'{"a": tru}',
        b'{"a": "unfinished',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"{" * 100_000,
        b'{"a":' + b"[" * 19_000,
        nested(MAX_DEPTH + 1),
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"a": [' + b"0," * (MAX_VALUES + 1) + b"0]}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_strict_json_is_invalid_json(body: bytes) -> None:
    with pytest.raises(CremaError) as caught:
        decode_json(body)
    assert (caught.value.code, caught.value.status) == ("invalid_json", 400)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert decode_json(nested(MAX_DEPTH))


def test_a_surrogate_pair_is_one_character() -> None:
    assert decode_json(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_the_message_says_where_the_json_breaks() -> None:
    with pytest.raises(CremaError, match="line 2, column 2"):
        decode_json(b'{"a":\n x}')


@pytest.mark.parametrize(
    "body",
    [
        b"\x81",
        b"\x81\xa1a",
        b"\x81\xc1",
        b"\x81\xa1a\x01\x01",
        msgpack.packb({1: 2}),
        msgpack.packb({b"a": 2}),
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\xa1a\xa1\xff",
        msgpack.packb({"a": msgpack.ExtType(1, b"x")}),
        msgpack.packb({"a": msgpack.ExtType(1, b"")}),
        msgpack.packb({"a": msgpack.Timestamp(1, 0)}),
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x81\xa1a" * 17 + b"\x01",
        b"\x81\xa1a" * 5000 + b"\x01",
        msgpack.packb({"a": [[0] * 150] * 150}),
        msgpack.packb({"a": {str(n): 0 for n in range(MAX_VALUES + 1)}}),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_a_plain_msgpack_map_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(CremaError) as caught:
        decode_msgpack(body)
    assert (caught.value.code, caught.value.status) == ("invalid_request", 400)
    assert caught.value.extra["errors"]


def test_a_msgpack_map_is_read_with_its_bytes() -> None:
    body = {"image": {"bytes": b"\xff\xd8"}, "models": ["tags"], "deadline_ms": 1.5}
    assert decode_msgpack(msgpack.packb(body)) == body


def test_what_stands_in_an_image_s_base64_is_no_value() -> None:
    text = "," * (MAX_VALUES + 1)
    body = json.dumps({"images": [{"base64": text}, {"base64": text}]}).encode()
    assert decode_json(body)["images"][1] == {"base64": text}


words = st.sampled_from(["", "base64", '"base64":"', '","base64":"', "[{,", 'a"', '\\"', '"base64" : "x'])
nested_words = st.recursive(
    words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400)
@given(st.dictionaries(words, nested_words, min_size=1, max_size=3), st.integers(0, 200))
def test_no_value_that_the_decoder_makes_goes_uncounted(members: dict[str, Any], cut: int) -> None:
    whole = json.dumps(members)
    for text in (whole, whole[:cut]):
        outside = re.sub(r'"(?:\\.|[^"\\])*("|\Z)', "", text)
        values = sum(outside.count(mark) for mark in ",[{")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(envelope, "MAX_VALUES", 5)
            try:
                decode_json(text.encode())
            except CremaError as error:
                if "more than 5 values" in error.message:
                    continue
        assert values <= 5


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(), plain, max_size=4))
def test_whatever_json_writes_is_read_back(members: dict[str, Any]) -> None:
    assert decode_json(json.dumps(members).encode()) == members


@given(st.binary(max_size=64))
def test_no_bytes_make_the_decoders_fail_in_another_way(body: bytes) -> None:
    for decode, start in ((decode_json, b"{"), (decode_msgpack, b"\x81")):
        try:
            decode(start + body)
        except CremaError as error:
            assert error.status == 400
