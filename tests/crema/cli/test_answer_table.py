"""Answers as lines for people."""

from __future__ import annotations

from typing import Any

import click
import pytest

from crema.cli.answer_table import answer_lines, output_text
from crema.cli.api import Reply
from tests.crema.cli.api_server import ANSWER, FULL


def shown(reply: Reply) -> list[str]:
    return [click.unstyle(line) for line in answer_lines("a.jpg", reply)]


def test_an_answer_has_a_line_for_the_photo_and_one_per_model() -> None:
    assert shown(Reply(200, ANSWER)) == [
        "OK        a.jpg  jpeg 4x3  20 ms in all",
        "OK        tags@3.1  12 ms  beach 0.98",
    ]


def test_a_failed_part_stands_with_its_reason_last() -> None:
    error = {"code": "overloaded", "message": "64 of 64 places taken"}
    results = {
        **ANSWER["results"],
        "caption": {"status": "error", "model": "captions", "version": "1.4", "error": error},
    }  # type: ignore[dict-item]
    lines = shown(Reply(200, {**ANSWER, "status": "partial", "results": results}))
    assert lines[0].startswith("PARTIAL   a.jpg")
    assert lines[2].split() == [
        "ERROR",
        "caption",
        "(captions@1.4)",
        "overloaded:",
        "64",
        "of",
        "64",
        "places",
        "taken",
    ]


def test_a_problem_is_one_line_with_its_code() -> None:
    assert shown(Reply(429, FULL)) == ["FAILED    a.jpg  overloaded: 8 of 8 places taken"]


def test_violations_and_suggestions_follow_a_problem() -> None:
    body = {
        "code": "invalid_request",
        "detail": "2 mistakes",
        "errors": [{"pointer": "/lane", "message": "must be bulk"}],
    }
    assert shown(Reply(400, body))[1].strip() == "/lane: must be bulk"
    assert (
        shown(Reply(404, {"code": "unknown_model", "did_you_mean": ["tags"]}))[1].strip()
        == "did you mean tags?"
    )
    assert (
        shown(Reply(404, {"code": "unknown_model", "did_you_mean": [], "available": ["a", "b"]}))[1].strip()
        == "there are: a, b"
    )


def test_a_problem_with_results_shows_them() -> None:
    results = {
        "x": {
            "status": "error",
            "model": "x",
            "version": "1.0",
            "error": {"code": "model_failed", "message": "no"},
        }
    }
    lines = shown(Reply(502, {"code": "model_failed", "detail": "nothing answered", "results": results}))
    assert lines[0].startswith("FAILED    a.jpg")
    assert lines[1].split()[:2] == ["ERROR", "x@1.0"]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"tags": []}, "no tags"),
        (
            {"tags": [{"name": str(n), "confidence": 0.5} for n in range(10)]},
            ", ".join(f"{n} 0.50" for n in range(8)) + ", and 2 more",
        ),
        ({"score": 0.7314}, "0.731"),
        ({"caption": {"text": "a boat", "confidence": 0.83}}, "“a boat” 0.83"),
        ({"embedding": [0.0] * 512, "dim": 512}, "embedding of 512 numbers"),
        ({"anything": 1}, "{'anything': 1}"),
        ("x" * 200, "x" * 99 + "…"),
        (7, "7"),
    ],
    ids=["no tags", "many tags", "score", "caption", "embedding", "json", "long", "number"],
)
def test_each_output_type_fits_a_line(output: Any, text: str) -> None:
    assert output_text(output) == text
