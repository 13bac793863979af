"""When two answers are the same: every number within the tolerance, and tags at a threshold's edge."""

from __future__ import annotations

from typing import Any

import pytest

from check.difference import Cut, difference


def tags(**confidences: float) -> dict[str, Any]:
    return {"tags": [{"name": name, "confidence": value} for name, value in confidences.items()]}


@pytest.mark.parametrize(
    ("kind", "wanted", "got"),
    [
        ("score", {"score": 0.5}, {"score": 0.51}),
        ("tags", tags(a=0.9, b=0.5), tags(b=0.51, a=0.89)),
        (
            "caption",
            {"caption": {"text": "a", "confidence": 0.5}},
            {"caption": {"text": "a", "confidence": 0.51}},
        ),
        ("embedding", {"embedding": [1.0, 2], "dim": 2}, {"embedding": [1.01, 2.0], "dim": 2}),
        ("json", {"a": [1, {"b": True}]}, {"a": [1.01, {"b": True}]}),
    ],
)
def test_what_is_within_the_tolerance_is_no_difference(kind: str, wanted: Any, got: Any) -> None:
    assert difference(kind, wanted, got, 0.01) is None


@pytest.mark.parametrize(
    ("kind", "wanted", "got", "words"),
    [
        ("score", {"score": 0.5}, {"score": 0.6}, "score is 0.6 instead of 0.5"),
        ("tags", tags(a=0.9), tags(b=0.9), "lacks a and has also b"),
        ("tags", tags(a=0.9), tags(a=0.7), "a has 0.7 instead of 0.9"),
        ("caption", {"caption": {"text": "a"}}, {"caption": {"text": "b"}}, "caption.text is 'b' instead of 'a'"),
        ("embedding", {"embedding": [1.0]}, {"embedding": [1.0, 1.0]}, "has 2 numbers instead of 1"),
        ("embedding", {"embedding": [1.0, 1.0]}, {"embedding": [1.0, 2.0]}, "embedding[1] is 2 instead of 1"),
        ("json", {"a": 1}, {"b": 1}, "the answer has the members b instead of a"),
        ("json", [1, 2], [1], "the answer has 1 entries instead of 2"),
        ("json", {"a": True}, {"a": 1}, "a is 1 instead of True"),
        ("score", {"scroe": 0.5}, {"score": 0.5}, "the answer has the members score instead of scroe"),
    ],
)  # fmt: skip
def test_a_difference_is_said_in_words(kind: str, wanted: Any, got: Any, words: str) -> None:
    assert difference(kind, wanted, got, 0.01) == words


def test_a_tag_at_the_threshold_may_come_or_go() -> None:
    cut = Cut.of({"min_confidence": 0.25, "max_tags": 30})
    assert difference("tags", tags(a=0.9, b=0.255), tags(a=0.9), 0.01, cut) is None
    assert difference("tags", tags(a=0.9, b=0.3), tags(a=0.9), 0.01, cut) is not None


def test_a_tag_far_below_the_threshold_is_no_rounding() -> None:
    cut = Cut.of({"min_confidence": 0.9})
    assert difference("tags", tags(), tags(a=0.5), 0.01, cut) == "has also a"
    assert difference("tags", tags(a=0.5), tags(), 0.01, cut) == "lacks a"


def test_the_last_tag_of_a_full_list_may_change_places_with_the_next() -> None:
    cut = Cut.of({"max_tags": 2})
    assert difference("tags", tags(a=0.9, b=0.505), tags(a=0.9, c=0.5), 0.01, cut) is None
    assert difference("tags", tags(a=0.9, b=0.6), tags(a=0.9, c=0.5), 0.01, cut) is not None
    assert difference("tags", tags(b=0.505), tags(c=0.5), 0.01, cut) is not None
