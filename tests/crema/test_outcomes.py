"""What a model returns for one item, and what becomes of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from crema import wire
from crema.outcomes import MAX_OUTPUT_DEPTH, OutcomePacker

GOLDEN = Path(__file__).parent.parent / "golden" / "outcomes.json"
ANY = {"type": "json", "schema": True}


def outcome(kind: str | dict[str, Any], value: Any) -> Any:
    output = {"type": kind} if isinstance(kind, str) else kind
    return msgpack.unpackb(OutcomePacker(output).pack(value))


def invalid(kind: str | dict[str, Any], value: Any) -> str:
    """The message of the error that `value` becomes."""
    error = outcome(kind, value)["error"]
    assert error["code"] == "model_output_invalid"
    assert error["retryable"] is False
    return str(error["message"])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("row", json.loads(GOLDEN.read_text()), ids=lambda row: row["name"])
def test_the_bytes_of_an_outcome_do_not_change(row: dict[str, Any]) -> None:
    assert OutcomePacker(row["output"]).pack(row["value"]).hex() == row["packed"]
    assert msgpack.unpackb(bytes.fromhex(row["packed"])) == {"ok": row["value"]}


def test_an_exception_in_an_item_s_place_is_the_model_s_own_word() -> None:
    assert outcome("score", ValueError("too dark")) == {
        "error": {"code": "item_rejected", "message": "too dark", "retryable": False}
    }


def test_an_exception_without_words_is_called_by_its_name() -> None:
    assert outcome("score", KeyError())["error"]["message"] == "KeyError"


def test_a_long_message_is_cut() -> None:
    assert len(outcome("score", ValueError("x" * 10_000))["error"]["message"]) == 500


def test_tags_are_put_in_order() -> None:
    tags = [{"name": "b", "confidence": 0.1}, {"name": "a", "confidence": 0.9}]
    assert [tag["name"] for tag in outcome("tags", {"tags": tags})["ok"]["tags"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("score", {"score": math.nan}, "score must be a finite number from 0 to 1"),
        ("score", {"score": math.inf}, "score must be a finite number from 0 to 1"),
        ("score", {"score": 1.01}, "score must be a finite number from 0 to 1"),
        ("score", {"score": -0.01}, "score must be a finite number from 0 to 1"),
        ("score", {"score": np.float32(0.5)}, "score must be a plain float (got float32)"),
        ("score", {"score": np.float64(0.5)}, "score must be a plain float (got float64)"),
        ("score", {"score": True}, "score must be a plain float (got bool)"),
        ("score", {"score": "0.5"}, "score must be a plain float (got str)"),
        ("score", 0.5, "the output must be a dict (got float)"),
        ("score", None, "the output must be a dict (got NoneType)"),
        ("score", {}, "the output lacks score"),
        ("score", {"score": 0.5, "extra": 1}, "the output has the unknown extra"),
        ("tags", {"tags": ({"name": "a", "confidence": 0.5},)}, "tags must be a list (got tuple)"),
        ("tags", {"tags": [{"name": "a"}]}, "tags[0] lacks confidence"),
        ("tags", {"tags": [{"name": 5, "confidence": 0.5}]}, "tags[0].name must be a str (got int)"),
        ("tags", {"tags": [{"name": "a", "confidence": 2}]}, "tags[0].confidence must be a finite number"),
        (
            "caption",
            {"caption": {"text": "a", "confidence": math.nan}},
            "caption.confidence must be a finite",
        ),
        ("caption", {"caption": {"text": b"a", "confidence": 0.5}}, "caption.text must be a str (got bytes)"),
        ("caption", {"caption": "a"}, "caption must be a dict (got str)"),
        ("embedding", {"embedding": [1.0, math.nan], "dim": 2}, "embedding must hold finite numbers"),
        ("embedding", {"embedding": [1.0], "dim": 2}, "dim must be the length of embedding"),
        ("embedding", {"embedding": np.zeros(2), "dim": 2}, "embedding must be a list (got ndarray)"),
        ("embedding", {"embedding": [np.float32(1)], "dim": 1}, "embedding must hold plain floats"),
        (ANY, {"x": math.nan}, "a number is not finite"),
        (ANY, {1: 2}, "a key must be a str (got int)"),
        (ANY, (1, 2), "it must hold plain Python objects (got builtins.tuple)"),
        (ANY, np.int64(3), "it must hold plain Python objects (got numpy.int64)"),
        (ANY, [np.zeros(3)], "it must hold plain Python objects (got numpy.ndarray)"),
        (ANY, (x for x in ()), "it must hold plain Python objects (got builtins.generator)"),
        (ANY, b"bytes", "it must hold plain Python objects (got builtins.bytes)"),
        (ANY, 2**64, "a whole number does not fit into 64 bits"),
        (ANY, "\ud800", "cannot be encoded"),
        (ANY, "x" * 2_000_000, "takes 2000005 bytes; the limit is 1048576"),
    ],
)
def test_what_is_not_an_output_is_that_item_s_error(kind: Any, value: Any, words: str) -> None:
    assert words in invalid(kind, value)


def test_a_json_output_follows_the_package_s_schema() -> None:
    output = {"type": "json", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    assert outcome(output, {"n": 3}) == {"ok": {"n": 3}}
    assert invalid(output, {"n": "3"}).endswith("the output.n: must be integer")


def test_the_deepest_output_fits_into_the_header_of_an_answer() -> None:
    deepest = nested(MAX_OUTPUT_DEPTH)
    assert outcome(ANY, deepest) == {"ok": deepest}
    wire.unpack_map(msgpack.packb({"outcomes": [{"ok": deepest}]}))


def test_an_output_that_is_nested_deeper_is_an_error() -> None:
    assert f"nested deeper than {MAX_OUTPUT_DEPTH}" in invalid(ANY, nested(MAX_OUTPUT_DEPTH + 1))


def test_an_output_that_contains_itself_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "nested deeper" in invalid(ANY, loop)


def test_a_failed_item_leaves_the_packer_usable() -> None:
    packer = OutcomePacker(ANY)
    packer.pack("\ud800")
    assert msgpack.unpackb(packer.pack("fine")) == {"ok": "fine"}


@pytest.mark.parametrize(
    "output",
    [{"type": "picture"}, {"type": "json", "schema": {"type": "thing"}}, {"type": "json", "schema": 5}],
)
def test_an_output_type_that_cannot_be_checked_is_refused_when_the_model_loads(
    output: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"output\.(type|schema)"):
        OutcomePacker(output)


def test_an_exception_that_cannot_say_what_it_is_fails_its_own_item_by_its_class() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    error = outcome("score", Mute())["error"]
    assert (error["code"], error["message"]) == ("item_rejected", "Mute")
