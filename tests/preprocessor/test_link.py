"""The messages between the host and its decode processes."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from preprocessor.decoder_answer import read_answers
from preprocessor.link import pack_request, unpack_request

GOOD = {
    "status": 200,
    "image": {"format": "jpeg", "width": 8, "height": 4, "bytes": 700},
    "timing": {"decode_ms": 1.5, "resize_ms": 2},
}


@pytest.mark.parametrize("is_heavy", [False, True])
def test_a_request_arrives_as_it_was_sent(is_heavy: bool) -> None:
    for images in ([(0, 20 << 20, b"specs")], [(0, 100, b"one"), (128, 0, b""), (4096, 7, b"three")]):
        assert unpack_request(pack_request(is_heavy, images)) == (is_heavy, images)


def test_answers_are_read() -> None:
    refused = {"status": 422, "error": {"code": "undecodable_image", "message": "no"}}
    for said in ([GOOD], [refused], [GOOD, refused, GOOD]):
        assert read_answers(msgpack.packb(said), len(said)) == said
        assert read_answers(msgpack.packb(said), len(said) + 1) is None


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"status": "200"},
        {"status": 200},
        {"status": 422},
        GOOD | {"image": {"format": "jpeg", "width": 8, "height": 4}},
        GOOD | {"image": {**GOOD["image"], "width": "8"}},  # type: ignore[dict-item]
        GOOD | {"timing": {"decode_ms": None, "resize_ms": 1}},
        {"status": 422, "error": "no"},
        [200],
        "ready",
    ],
)
def test_what_a_decoder_that_was_taken_over_might_say_is_no_answer(said: Any) -> None:
    for all_said in (said, [said], [GOOD, said]):
        assert read_answers(msgpack.packb(all_said), 2 if len(all_said) == 2 else 1) is None


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x91", b"ready", msgpack.packb([GOOD])[:-1]])
def test_what_is_not_msgpack_is_no_answer(message: bytes) -> None:
    assert read_answers(message, 1) is None
