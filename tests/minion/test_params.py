"""Params: what a caller may send, and what it is told otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest

from crema.errors import CremaError
from minion.params import ParamSet
from tests.minion.cards import PARAMS

DECLARED = ParamSet(PARAMS)


def refused(sent: Any) -> str:
    with pytest.raises(CremaError) as caught:
        DECLARED.complete(sent, "items[0].params")
    assert caught.value.code == "invalid_request"
    return caught.value.message


def test_what_is_not_sent_takes_its_default() -> None:
    assert DECLARED.complete({"words": 5}, "") == {
        "words": 5, "share": 0.5, "loud": False, "tone": "kind", "note": "", "any": 0,
    }  # fmt: skip


def test_an_unknown_parameter_is_refused_with_a_suggestion() -> None:
    assert refused({"wrods": 5}).endswith("did you mean words?")


def test_an_unknown_parameter_without_a_likeness_lists_what_there_is() -> None:
    assert "words, share, loud" in refused({"zzz": 1})


@pytest.mark.parametrize("value", [0, 101, 1.0, True, "5", None, math.nan, 10**400])
def test_a_whole_number_is_checked_for_type_and_range(value: Any) -> None:
    message = refused({"words": value})
    assert message.startswith("items[0].params.words: must be a whole number from 1 to 100 (got ")


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True, "0.5", -math.inf, 10**400])
def test_a_number_is_finite_and_in_its_range(value: Any) -> None:
    assert refused({"share": value}).startswith(
        "items[0].params.share: must be a finite number, at least 0.0 (got "
    )


def test_a_number_may_be_written_as_a_whole_one() -> None:
    complete = DECLARED.complete({"share": 3}, "")
    assert complete["share"] == 3.0
    assert type(complete["share"]) is float


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_a_whole_number_without_a_range_fits_into_64_bits(value: int) -> None:
    assert "must fit into 64 bits" in refused({"any": value})


def test_a_boolean_is_true_or_false() -> None:
    assert "must be true or false (got 1)" in refused({"loud": 1})


def test_a_string_is_one_of_those_listed() -> None:
    assert "must be one of kind, curt (got 'rude')" in refused({"tone": "rude"})


def test_a_string_has_a_longest_length() -> None:
    assert "at most 5 characters" in refused({"note": "sixsix"})


def test_a_string_is_valid_unicode() -> None:
    assert "must be valid Unicode" in refused({"note": "\ud800"})


def test_params_are_a_map() -> None:
    assert refused([1]) == "items[0].params must be a map"
