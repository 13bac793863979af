"""Violations point into the JSON form of the request and suggest what was meant."""

from __future__ import annotations

import pytest

from coordinator.violations import MAX_LISTED, Violations, closest, invalid, pointer, shown
from crema.errors import CremaError


def test_a_pointer_escapes_what_rfc_6901_says() -> None:
    assert pointer(()) == ""
    assert pointer(("models", 0, "as")) == "/models/0/as"
    assert pointer(("a/b", "c~d", "")) == "/a~1b/c~0d/"


def test_nothing_noted_refuses_nothing() -> None:
    violations = Violations()
    violations.refuse()
    assert not violations


def test_all_violations_are_listed_at_once() -> None:
    violations = Violations()
    violations.add(("a",), "is wrong")
    violations.unknown(("model",), ("models", "lane"))
    with pytest.raises(CremaError, match="2 mistakes") as caught:
        violations.refuse()
    assert [each["pointer"] for each in caught.value.extra["errors"]] == ["/a", "/model"]
    assert "did you mean models?" in caught.value.extra["errors"][1]["message"]


def test_an_unknown_name_far_from_all_lists_what_is_known() -> None:
    violations = Violations()
    violations.unknown(("zzz",), ("models", "lane"))
    assert "known here: models, lane" in violations.error().message


def test_the_list_is_bounded_and_the_count_is_not() -> None:
    violations = Violations()
    for _ in range(MAX_LISTED + 5):
        violations.add((), "wrong")
    error = violations.error()
    assert len(error.extra["errors"]) == MAX_LISTED
    assert f"{MAX_LISTED + 5} mistakes" in error.message


def test_a_body_full_of_unknown_members_is_refused_quickly() -> None:
    violations = Violations()
    for number in range(20_000):
        violations.unknown((f"member {number}" * 10,), ("models", "lane", "deadline_ms"))
    assert "20000 mistakes" in violations.error().message


def test_closest_comes_first_and_case_does_not_matter() -> None:
    assert closest("TAGZ", ["captions", "tags", "tag-3"])[0] == "tags"
    assert closest("xyz", ["captions", "tags"]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        ({}, "a map"),
        ([1], "a list"),
        (b"x", "bytes"),
    ],
)
def test_values_are_shown_as_the_caller_wrote_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 10_000)) <= 60


def test_a_name_without_end_or_with_control_characters_is_not_sent_back_as_it_is() -> None:
    violations = Violations()
    violations.unknown(("a" * 5_000_000,), ("models",))
    violations.unknown(("b\x00\n" + "é" * 200,), ("models",))
    error = violations.error()
    assert len(error.message) < 400
    assert error.extra["errors"][0]["pointer"] == "/" + "a" * 99 + "…"
    assert error.extra["errors"][1]["pointer"].startswith("/b\x00\n")
    assert invalid(("b\x00\n",), "is wrong").message == "/b\\x00\\n: is wrong"
