"""The minion's answers, byte by byte: what is spliced must be what msgpack would have written."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from crema import wire
from crema.errors import CremaError
from crema.outcomes import OutcomePacker, error_outcome
from minion.answers import AnswerPacker, packed_list
from minion.request import Done, Request, RequestReader
from tests.minion.cards import tensor_card

PACKER = AnswerPacker("toy", "1.0")
LOAD = {"pending": 3, "places": 64, "expected_wait_ms": 41.5}
NUMBER = OutcomePacker({"type": "json", "schema": True})


class Nobody:
    def answer(self, request: Request, done: Done) -> None:
        raise AssertionError

    def flush(self) -> None:
        pass


def request(n: int, key: int = 8) -> Request:
    reader = RequestReader(tensor_card(gate={"max_pending": 2000}))
    made = reader.read({"items": [{"shape": [4], "dtype": "uint8"}] * n}, Nobody(), key, 100.0)
    made.started_at = 100.00390625
    return made


def opened(head: bytes) -> tuple[dict[str, Any], int]:
    header_bytes, payload_bytes = wire.decode_prefix(head)
    assert len(head) == 8 + header_bytes
    return wire.decode_header(head[8:]), payload_bytes


def test_outcomes_are_spliced_into_the_answer() -> None:
    asked = request(2)
    asked.outcomes = [NUMBER.pack({"points": [1, 2.5]}), error_outcome("item_rejected", "too dark")]
    head, payload = PACKER.answered(asked, Done(0.03125, 8, LOAD))
    assert payload == b""
    assert opened(head) == (
        {
            "v": 1,
            "kind": "answer",
            "id": 8,
            "status": 200,
            "model": "toy",
            "version": "1.0",
            "outcomes": [
                {"ok": {"points": [1, 2.5]}},
                {"error": {"code": "item_rejected", "message": "too dark", "retryable": False}},
            ],
            "timing": {"queue_ms": 3.90625, "inference_ms": 31.25, "batch_size": 8},
            "load": LOAD,
        },
        0,
    )


@pytest.mark.parametrize("key", [0, 127, 128, 2**32, wire.MAX_ID])
def test_every_id_comes_back(key: int) -> None:
    asked = request(1, key)
    asked.outcomes = [NUMBER.pack(1)]
    header, _ = opened(PACKER.answered(asked, Done(0.0, 1, LOAD))[0])
    assert header["id"] == key


@pytest.mark.parametrize("n", [1, 15, 16, 1000])
def test_lists_of_every_length_are_msgpack(n: int) -> None:
    assert msgpack.unpackb(packed_list([NUMBER.pack(i) for i in range(n)])) == [{"ok": i} for i in range(n)]


def test_a_list_too_long_for_sixteen_bits_is_msgpack() -> None:
    assert packed_list([b"\x01"] * 70_000) == msgpack.packb([1] * 70_000)


def test_outcomes_that_do_not_fit_into_a_header_travel_as_payload() -> None:
    asked = request(20)
    asked.outcomes = [NUMBER.pack("x" * 5000)] * 20
    head, payload = PACKER.answered(asked, Done(0.03125, 8, LOAD))
    header, payload_bytes = opened(head)
    assert "outcomes" not in header
    assert header["outcomes_bytes"] == payload_bytes == len(payload)
    assert msgpack.unpackb(payload) == [{"ok": "x" * 5000}] * 20
    assert header["timing"] == {"queue_ms": 3.90625, "inference_ms": 31.25, "batch_size": 8}
    assert header["load"] == LOAD


def test_outcomes_just_below_the_limit_of_a_header_stay_in_it() -> None:
    asked = request(1)
    asked.outcomes = [NUMBER.pack("x" * 64_000)]
    head, payload = PACKER.answered(asked, Done(0.0, 1, LOAD))
    assert payload == b""
    assert len(head) - 8 <= wire.MAX_HEADER_BYTES


def test_outcomes_larger_than_a_frame_are_an_error_of_the_model() -> None:
    asked = request(70)
    asked.outcomes = [NUMBER.pack("x" * 1_000_000)] * 70
    head, payload = PACKER.answered(asked, Done(0.0, 1, LOAD))
    header, _ = opened(head)
    assert payload == b""
    assert header["status"] == 502
    assert header["error"]["code"] == "model_output_invalid"


def test_a_refusal_names_the_model_and_the_load() -> None:
    error = CremaError("overloaded", "64 of 64 places taken", retry_after_ms=799.2)
    header, payload_bytes = opened(PACKER.refused(8, error, LOAD))
    assert payload_bytes == 0
    assert header == {
        "v": 1,
        "kind": "answer",
        "id": 8,
        "status": 429,
        "model": "toy",
        "version": "1.0",
        "error": {
            "code": "overloaded",
            "message": "64 of 64 places taken",
            "retryable": True,
            "retry_after_ms": 800,
        },
        "load": LOAD,
    }


def test_a_message_that_is_no_valid_text_can_be_answered() -> None:
    header, _ = opened(PACKER.refused(8, CremaError("invalid_request", "no \ud800 here"), LOAD))
    assert header["error"]["message"] == "no ? here"


@pytest.mark.parametrize("key", [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
def test_an_answer_repeats_any_id(key: int) -> None:
    asked = request(1, key)
    asked.outcomes = [NUMBER.pack(1)]
    header, _ = opened(PACKER.answered(asked, Done(0.03125, 8, LOAD))[0])
    assert header["id"] == key
