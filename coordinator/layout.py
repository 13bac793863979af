"""Layout: how the tensors of a preprocessor's answer lie in its payload, and what each model is told of the one it gets.

All photos of one plan come out in the same shapes, so this is worked out once per plan and only compared after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from crema import wire
from crema.host.channel import Buffer
from crema.host.headers import pack_members


class TakesTensor(Protocol):
    """What a layout needs to know of a planned model."""

    @property
    def params(self) -> dict[str, Any]:
        """As the caller gave them."""

    @property
    def spec(self) -> int:
        """Which of the tensors it takes."""


class Layout:
    """Tensors back to back, one per spec. `items[i]` is the packed member `items` of the request to model i."""

    __slots__ = ("_bounds", "_described", "items")

    def __init__(self, described: list[dict[str, Any]], models: Sequence[TakesTensor]) -> None:
        """`described` is a map with `shape` and `dtype` for each. Raises ShapeError when there can be no such tensors."""
        self._described = described
        self._bounds: list[tuple[int, int]] = []
        start = 0
        for each in described:
            end = start + wire.tensor_bytes(each["shape"], each["dtype"])
            self._bounds.append((start, end))
            start = end
        self.items = [_item(described[model.spec], model.params) for model in models]

    def is_of(self, described: Any) -> bool:
        """Whether an answer's tensors lie like this."""
        return bool(self._described == described)

    def slices(self, payload: Buffer) -> Sequence[Buffer] | None:
        """The tensors, uncopied; None when the payload does not hold exactly them."""
        if self._bounds[-1][1] != len(payload):
            return None
        if len(self._bounds) == 1:
            return (payload,)
        view = memoryview(payload)
        return [view[start:end] for start, end in self._bounds]


def _item(described: dict[str, Any], params: dict[str, Any]) -> bytes:
    item = {"shape": described["shape"], "dtype": described["dtype"], "params": params}
    return pack_members({"items": (item,)})


class Layouts:
    """What all calls of one plan send alike, packed once: the specs, and the layout that was seen last."""

    __slots__ = ("_layout", "_specs")

    def __init__(self) -> None:
        self._specs: bytes | None = None
        self._layout: Layout | None = None

    def specs(self, specs: Sequence[dict[str, Any]]) -> bytes:
        """The packed member `specs` of a request to a preprocessor."""
        if self._specs is None:
            self._specs = pack_members({"specs": specs})
        return self._specs

    def of(self, described: Any, specs: int, models: Sequence[TakesTensor]) -> Layout | None:
        """The layout of an answer's tensors; None where that is no list of `specs` tensors."""
        layout = self._layout
        if layout is None or not layout.is_of(described):
            if type(described) is not list or len(described) != specs:
                return None
            try:
                layout = Layout(described, models)
            except (wire.ShapeError, TypeError, LookupError):
                return None
            self._layout = layout
        return layout
