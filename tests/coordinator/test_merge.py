"""Every combination of parts has one status and one body."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import msgspec
import pytest

from coordinator.merge import (
    STATUS_ORDER,
    Merged,
    Part,
    finish,
    is_finite,
    merge,
    merge_json,
    part_error,
    sealed,
)
from crema.errors import CODES, CremaError

TIMING = {"queue_ms": 3.1, "inference_ms": 41.2, "total_ms": 47.9, "batch_size": 8}
IMAGE = {"format": "jpeg", "width": 4, "height": 3, "bytes": 9}
CALL_TIMING = {"preprocess_ms": 18.4, "total_ms": 94.6}

# one code for each status a part may fail with, in the order of the contract
FAILURES = {
    429: "overloaded",
    503: "not_ready",
    504: "deadline_exceeded",
    502: "model_failed",
    500: "internal",
    422: "item_rejected",
}


def good(key: str, *, required: bool = False) -> Part:
    return Part(key, key, "1.0", required, {"score": 0.5}, TIMING)


def bad(key: str, status: int, *, required: bool = False, after_ms: float | None = None) -> Part:
    return Part(
        key,
        key,
        "1.0",
        required,
        error=CremaError(FAILURES[status], f"{key} said {status}", retry_after_ms=after_ms),
    )


def merged(*parts: Part) -> Merged:
    return merge("req_1", parts, IMAGE, CALL_TIMING)


def test_all_ok_is_200_and_ok() -> None:
    answer = merged(good("tags"), good("captions", required=True))
    assert (answer.status, answer.code, answer.retry_after_s) == (200, "ok", None)
    assert answer.body == {
        "id": "req_1",
        "status": "ok",
        "image": IMAGE,
        "results": {
            "tags": {
                "status": "ok",
                "model": "tags",
                "version": "1.0",
                "output": {"score": 0.5},
                "timing": TIMING,
            },
            "captions": {
                "status": "ok",
                "model": "captions",
                "version": "1.0",
                "output": {"score": 0.5},
                "timing": TIMING,
            },
        },
        "timing": CALL_TIMING,
    }
    assert list(answer.body) == ["id", "status", "image", "results", "timing"]


def test_results_stand_in_the_order_sent() -> None:
    assert list(merged(good("z"), bad("m", 502), good("a")).body["results"]) == ["z", "m", "a"]


def test_one_optional_failure_is_a_partial_200_with_its_error() -> None:
    answer = merged(good("tags"), bad("captions", 429, after_ms=800))
    assert (answer.status, answer.code, answer.retry_after_s) == (200, "partial", 1)
    assert answer.body["results"]["captions"] == {
        "status": "error",
        "model": "captions",
        "version": "1.0",
        "error": {
            "code": "overloaded",
            "message": "captions said 429",
            "retryable": True,
            "retry_after_ms": 800,
        },
    }


def test_a_failed_required_part_is_a_problem_with_the_results_so_far() -> None:
    answer = merged(good("tags"), bad("captions", 504, required=True))
    assert (answer.status, answer.code) == (504, "deadline_exceeded")
    assert {name: answer.body[name] for name in ("type", "title", "status", "code", "request_id")} == {
        "type": "about:blank",
        "title": CODES["deadline_exceeded"].title,
        "status": 504,
        "code": "deadline_exceeded",
        "request_id": "req_1",
    }
    assert answer.body["detail"] == "captions: captions said 504"
    assert {key: each["status"] for key, each in answer.body["results"].items()} == {
        "tags": "ok",
        "captions": "error",
    }
    assert "image" not in answer.body


def test_a_required_failure_is_not_outweighed_by_a_more_retryable_optional_one() -> None:
    answer = merged(good("a"), bad("b", 502, required=True), bad("c", 429, after_ms=1500))
    assert (answer.status, answer.code, answer.retry_after_s) == (502, "model_failed", 2)
    assert "retry_after_ms" not in answer.body


def test_retry_after_is_the_largest_among_the_refused_in_whole_seconds() -> None:
    answer = merged(bad("a", 429, after_ms=800), bad("b", 429, after_ms=2100), bad("c", 503, after_ms=900))
    assert (answer.status, answer.retry_after_s, answer.body["retry_after_ms"]) == (429, 3, 2100)


def statuses() -> list[tuple[tuple[int, bool], ...]]:
    """Every three parts, each ok or failed in one of six ways, each required or not: 14^3 cases."""
    each = [(status, required) for status in (200, *STATUS_ORDER) for required in (False, True)]
    return list(itertools.product(each, repeat=3))


def test_the_status_of_every_combination_of_three_parts() -> None:
    for case in statuses():
        parts = [
            good(str(n), required=r) if s == 200 else bad(str(n), s, required=r, after_ms=100)
            for n, (s, r) in enumerate(case)
        ]
        answer = merged(*parts)
        failed = [status for status, _ in case if status != 200]
        required = [status for status, is_required in case if is_required and status != 200]
        if len(failed) < 3 and not required:
            assert answer.status == 200
            assert answer.code == ("partial" if failed else "ok")
        else:
            assert answer.status == min(required or failed, key=STATUS_ORDER.index), case
            assert answer.body["code"] == FAILURES[answer.status]
        assert (answer.retry_after_s is not None) == bool(failed)
        assert list(answer.body["results"]) == ["0", "1", "2"]


def test_one_of_one_failed_is_a_problem() -> None:
    assert [merged(bad("a", status, after_ms=10)).status for status in STATUS_ORDER] == list(STATUS_ORDER)


def test_many_failures_are_named_up_to_a_point() -> None:
    answer = merged(*[bad(str(n), 502) for n in range(10)])
    assert answer.body["detail"].endswith("; and 6 more in `results`")
    assert len(answer.body["results"]) == 10


def test_a_refusal_always_says_when_to_come_back() -> None:
    assert part_error(CremaError("overloaded", "full")).retry_after_ms == 1000
    assert part_error(CremaError("not_ready", "starting", retry_after_ms=5)).retry_after_ms == 5
    assert part_error(CremaError("model_failed", "raised")).retry_after_ms is None


@pytest.mark.parametrize("code", [code for code, row in CODES.items() if row.status not in STATUS_ORDER])
def test_what_a_part_cannot_be_is_a_bug_of_ours(code: str) -> None:
    assert part_error(CremaError(code, "odd")).code == "internal"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "place", [lambda x: x, lambda x: [x], lambda x: {"a": [{"b": x}]}, lambda x: {"a": None, "b": x}]
)
def test_a_number_that_is_not_finite_never_leaves(number: float, place: Any) -> None:
    assert sealed(place(number)) is None
    assert not is_finite(place(number))


def test_a_real_null_and_the_word_null_may_leave() -> None:
    for output in ({"a": None}, {"caption": {"text": "null"}}, [None, 1.5]):
        raw = sealed(output)
        assert raw is not None
        assert json.loads(msgspec.json.encode(raw)) == output
        assert is_finite(output)


def test_a_part_is_sealed_for_json_and_left_as_it_is_for_msgpack() -> None:
    sealed_part, plain_part, broken = good("a"), good("b"), good("c")
    finish(sealed_part, as_msgpack=False)
    finish(plain_part, as_msgpack=True)
    assert isinstance(sealed_part.output, msgspec.Raw)
    assert plain_part.output == {"score": 0.5}
    broken.output = {"score": math.nan}
    finish(broken, as_msgpack=True)
    assert broken.error is not None
    assert (broken.error.code, broken.output, broken.timing) == ("model_output_invalid", None, None)


def test_what_json_cannot_hold_does_not_leave() -> None:
    assert sealed({"a": object()}) is None
    assert sealed({"a": "\ud800"}) is None


def one(output: Any) -> Part:
    return Part("a", "a", "1.0", False, output, dict(TIMING))


@pytest.mark.parametrize(
    "output", [{"score": 0.5}, {"x": None}, {"text": "null and void"}, [], "é"], ids=repr
)
def test_merged_json_is_what_merging_finished_parts_gives(output: Any) -> None:
    answer, body = merge_json("req_1", [one(output), bad("b", 429, after_ms=5)], IMAGE, CALL_TIMING)
    parts = [one(output), bad("b", 429, after_ms=5)]
    for part in parts:
        finish(part, as_msgpack=False)
    assert body == msgspec.json.encode(merge("req_1", parts, IMAGE, CALL_TIMING).body)
    assert json.loads(body)["results"]["a"]["output"] == output
    assert answer.code == "partial"


@pytest.mark.parametrize("output", [{"x": math.nan}, [-math.inf], {"a": object()}, {"a": "\ud800"}], ids=repr)
def test_of_an_output_that_is_no_json_only_its_own_part_is_lost(output: Any) -> None:
    answer, body = merge_json("req_1", [one(output), good("b")], IMAGE, CALL_TIMING)
    results = json.loads(body)["results"]
    assert (answer.code, results["a"]["error"]["code"]) == ("partial", "model_output_invalid")
    assert results["b"]["output"] == {"score": 0.5}


def test_an_error_that_no_part_may_carry_becomes_ours() -> None:
    failed = Part("a", "a", "1.0", False, error=CremaError("invalid_request", "you sent nonsense"))
    answer, body = merge_json("req_1", [failed], IMAGE, CALL_TIMING)
    assert (answer.status, json.loads(body)["code"]) == (500, "internal")
