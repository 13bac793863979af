"""Reading a request from a header, strictly."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crema.errors import CremaError
from minion.request import Done, Request, RequestReader
from tests.minion.cards import PARAMS, tensor_card


class Nobody:
    def answer(self, request: Request, done: Done) -> None:
        raise AssertionError("nobody is answered here")

    def flush(self) -> None:
        pass


READER = RequestReader(tensor_card(params=PARAMS))
ITEM = {"shape": [4], "dtype": "uint8", "params": {}}


def read(**message: Any) -> Request:
    return READER.read({"items": [ITEM], **message}, Nobody(), 1, 100.0)


def refused(**message: Any) -> CremaError:
    with pytest.raises(CremaError) as caught:
        read(**message)
    return caught.value


def test_a_request_has_a_deadline_counted_from_its_arrival() -> None:
    assert read(remaining_ms=250).deadline == 100.25


def test_a_request_without_remaining_time_has_no_deadline() -> None:
    assert read().deadline == math.inf
    assert read(remaining_ms=None).deadline == math.inf


def test_a_request_is_interactive_unless_it_says_bulk() -> None:
    assert read().lane == "interactive"
    assert read(lane="bulk").lane == "bulk"


def test_items_without_params_take_the_model_s_defaults() -> None:
    assert read(items=[{"shape": [4], "dtype": "uint8"}, ITEM]).params == [None, None]


def test_params_are_completed() -> None:
    params = read(items=[{**ITEM, "params": {"words": 3}}]).params[0]
    assert params is not None
    assert params["words"] == 3
    assert params["tone"] == "kind"


def test_members_that_are_not_known_are_ignored_on_the_channel() -> None:
    assert read(traceparent="00-…", colour="red").n == 1


def test_no_time_left_is_a_passed_deadline() -> None:
    assert refused(remaining_ms=0).code == "deadline_exceeded"


@pytest.mark.parametrize("value", [1e308, 2**63, 10**400])
def test_a_deadline_beyond_all_bounds_is_only_very_far_away(value: Any) -> None:
    assert read(remaining_ms=value).deadline > 1e9


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "5", True, [5]])
def test_remaining_time_is_a_finite_number(value: Any) -> None:
    assert "remaining_ms must be a finite number" in refused(remaining_ms=value).message


@pytest.mark.parametrize("items", [None, [], {}, "x", 3])
def test_items_are_a_list_of_at_least_one(items: Any) -> None:
    assert refused(items=items).message == "items must be a list of at least one item"


def test_an_item_is_a_map() -> None:
    assert "items[1] must be a map" in refused(items=[ITEM, 7]).message


@pytest.mark.parametrize(
    "wrong",
    [{"shape": [5]}, {"shape": [4, 1]}, {"shape": None}, {"dtype": "int8"}, {"dtype": None}, {"shape": "4"}],
)
def test_an_item_of_another_shape_or_dtype_is_told_what_the_model_takes(wrong: dict[str, Any]) -> None:
    error = refused(items=[ITEM, {**ITEM, **wrong}])
    assert error.code == "invalid_request"
    assert error.message.startswith("items[1]: this model takes uint8 [4] (got ")


def test_more_items_than_places_can_never_be_admitted_and_are_invalid() -> None:
    assert "9 are more than this model's 8 places" in refused(items=[ITEM] * 9).message


def test_a_lane_is_one_of_two() -> None:
    assert refused(lane="express").message == "lane must be interactive or bulk"
    assert refused(lane=["bulk"]).message == "lane must be interactive or bulk"


def test_a_request_id_is_a_short_string() -> None:
    assert "request_id" in refused(request_id=5).message


def test_pixels_back_to_back_are_cut_without_copying() -> None:
    request = read(items=[ITEM, ITEM])
    payload = memoryview(bytes(range(8)))
    request.take_pixels(payload)
    assert [bytes(item.pixels) for item in request.items] == [b"\0\1\2\3", b"\4\5\6\7"]
    assert all(
        isinstance(item.pixels, memoryview) and item.pixels.obj is payload.obj for item in request.items
    )


def test_an_image_model_takes_pixels_by_height_and_width() -> None:
    reader = RequestReader(tensor_card(input={"kind": "image", "size": [6, 2]}))
    assert reader.shape == [2, 6, 3]
    assert reader.item_bytes == 36


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["shape", "dtype", "params", "words", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["items", "remaining_ms", "lane", "request_id", "traceparent"]), ANYTHING)
)
def test_whatever_a_header_says_it_is_a_request_or_a_typed_error(message: dict[str, Any]) -> None:
    try:
        READER.read(message, Nobody(), 1, 100.0)
    except CremaError as error:
        assert error.code in ("invalid_request", "deadline_exceeded")
