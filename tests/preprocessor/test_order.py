"""Orders: read once, kept by their bytes, so that nothing slips through as equal to what was checked before."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crema.errors import CremaError
from preprocessor.order import Orders, order_of
from preprocessor.spec import Spec

ASKED: list[dict[str, Any]] = [{"size": [4, 2]}, {"size": [1, 1], "colour": "gray"}]


def test_an_order_says_what_the_pixels_will_be() -> None:
    order = Orders().read(ASKED)
    assert order.specs == (Spec(4, 2), Spec(1, 1, colour="gray"))
    assert order.tensors == [{"shape": [2, 4, 3], "dtype": "uint8"}, {"shape": [1, 1, 1], "dtype": "uint8"}]
    assert order.nbytes == 25
    assert msgspec.msgpack.decode(order.packed) == [spec.as_wire() for spec in order.specs]


def test_the_same_specs_are_read_once() -> None:
    orders = Orders()
    assert orders.read(ASKED) is orders.read([dict(each) for each in ASKED])


@pytest.mark.parametrize("size", [[4.0, 2], [True, 1]])
def test_what_equals_a_kept_order_in_python_only_is_still_refused(size: list[object]) -> None:
    orders = Orders()
    orders.read([{"size": [4, 2]}])
    orders.read([{"size": [1, 1]}])
    with pytest.raises(CremaError, match="size must be"):
        orders.read([{"size": size}])


def test_only_the_recent_ones_are_kept() -> None:
    orders = Orders()
    first = orders.read(ASKED)
    for width in range(1, 200):
        orders.read([{"size": [width, 1]}])
    assert orders.read(ASKED) is not first


def test_an_order_for_specs_is_the_one_read_from_the_wire() -> None:
    specs = (Spec(4, 2), Spec(3, 3, "contain", "lanczos"))
    assert Orders().read([spec.as_wire() for spec in specs]) == order_of(specs)
