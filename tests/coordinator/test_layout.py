"""Layout: where tensors lie is worked out once per plan, and a payload that does not hold them is not sent on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

from coordinator.layout import Layouts


@dataclass(frozen=True)
class Model:
    spec: int
    params: dict[str, Any] = field(default_factory=dict)


SMALL = {"shape": [2, 2, 3], "dtype": "uint8"}
LARGE = {"shape": [4, 3], "dtype": "float32"}
MODELS = (Model(1, {"max_tags": 3}), Model(0), Model(1))


def test_each_model_is_told_of_the_tensor_that_it_takes() -> None:
    layout = Layouts().of([SMALL, {**LARGE, "more": 1}], 2, MODELS)
    assert layout is not None
    assert [msgpack.unpackb(b"\x81" + item)["items"] for item in layout.items] == [
        [{**LARGE, "params": {"max_tags": 3}}],
        [{**SMALL, "params": {}}],
        [{**LARGE, "params": {}}],
    ]


def test_tensors_are_slices_of_the_payload() -> None:
    layout = Layouts().of([SMALL, LARGE], 2, MODELS)
    assert layout is not None
    slices = layout.slices(bytes(range(60)))
    assert slices is not None
    assert [bytes(each) for each in slices] == [bytes(range(12)), bytes(range(12, 60))]


@pytest.mark.parametrize("size", [0, 59, 61])
def test_a_payload_of_another_size_holds_none(size: int) -> None:
    layout = Layouts().of([SMALL, LARGE], 2, MODELS)
    assert layout is not None
    assert layout.slices(bytes(size)) is None


def test_a_layout_is_kept_until_another_comes() -> None:
    layouts = Layouts()
    first = layouts.of([SMALL], 1, [Model(0)])
    assert layouts.of([dict(SMALL)], 1, [Model(0)]) is first
    other = layouts.of([LARGE], 1, [Model(0)])
    assert other is not None
    assert other.slices(bytes(48)) is not None
    again = layouts.of([SMALL], 1, [Model(0)])
    assert again is not None
    assert again.slices(bytes(12)) is not None


@pytest.mark.parametrize(
    "described",
    [
        None,
        [],
        {},
        [SMALL],
        [SMALL, None],
        [SMALL, "x"],
        [SMALL, {"shape": [1]}],
        [SMALL, {"shape": [-1], "dtype": "uint8"}],
        [SMALL, {"shape": [1], "dtype": "object"}],
    ],
    ids=repr,
)
def test_what_describes_no_tensors_is_no_layout_and_is_not_kept(described: Any) -> None:
    layouts = Layouts()
    for _ in range(2):
        assert layouts.of(described, 2, MODELS) is None
