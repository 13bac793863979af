"""The order: what one call wants of its image, checked once. Callers ask for the same again and again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from crema import wire
from crema.errors import CremaError
from preprocessor.spec import Spec, parse_specs, total_bytes

_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Order:
    """`packed` are the specs as msgpack, for a decoder; `tensors` is what an answer says of the pixels, `nbytes` their sum."""

    specs: tuple[Spec, ...]
    packed: bytes
    tensors: list[dict[str, Any]]
    nbytes: int


def order_of(specs: tuple[Spec, ...]) -> Order:
    """The order for `specs`."""
    return Order(
        specs,
        msgspec.msgpack.encode([spec.as_wire() for spec in specs]),
        [{"shape": list(spec.shape), "dtype": "uint8"} for spec in specs],
        total_bytes(specs),
    )


class Orders:
    """Reads the `specs` of frames; the recent ones are kept."""

    def __init__(self) -> None:
        # by their bytes and not by their values: to Python 224.0 and True are equal to integers
        self._kept: OrderedDict[bytes, Order] = OrderedDict()

    def read(self, value: Any) -> Order:
        """Raises CremaError `invalid_request`, saying which spec is wrong and what is allowed."""
        key = msgspec.msgpack.encode(value)
        order = self._kept.get(key)
        if order is None:
            try:
                order = order_of(parse_specs(value, wire.MAX_PAYLOAD_BYTES))
            except ValueError as error:
                raise CremaError("invalid_request", str(error)) from None
            self._kept[key] = order
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return order
