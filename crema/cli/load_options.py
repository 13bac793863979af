"""How options of a load run are written: durations (`500ms`, `30s`, `5m`, `1h`; a bare number is seconds), sizes, factors."""

from __future__ import annotations

import re
from typing import Any, Final

import click

_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)?\s*\Z")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[Any]):
    """A duration above 0, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """`500ms` → 0.5."""
        if isinstance(value, (int, float)):
            return float(value)
        found = _WRITTEN.match(str(value))
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no duration; write it like 500ms, 30s, 5m or 1h", param, ctx)
        return float(found[1]) * _SECONDS[found[2] or "s"]


class Processes(click.ParamType[Any]):
    """How many processes; None is for them to be counted (`auto`)."""

    name = "processes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """`auto` or a number."""
        if value is None or value == "auto":
            return None
        try:
            count = int(value)
        except ValueError:
            count = 0
        if not 1 <= count <= 64:
            self.fail(f"{value!r} is neither auto nor a number from 1 to 64", param, ctx)
        return count


class Size(click.ParamType[Any]):
    """`640x480` → (640, 480)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Width and height."""
        if isinstance(value, tuple):
            return value
        sides = str(value).lower().split("x")
        if len(sides) != 2 or not all(side.isdigit() and 8 <= int(side) <= 10_000 for side in sides):
            self.fail(f"{value!r} is no size from 8x8 to 10000x10000; write it like 640x480", param, ctx)
        return int(sides[0]), int(sides[1])


class Factors(click.ParamType[Any]):
    """`0.5,1,2` → (0.5, 1.0, 2.0)."""

    name = "factors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Numbers above 0."""
        if isinstance(value, tuple):
            return value
        try:
            factors = tuple(float(each.strip().removesuffix("x")) for each in str(value).split(","))
        except ValueError:
            factors = ()
        if not factors or not all(0 < factor <= 1000 for factor in factors):
            self.fail(f"{value!r} are no factors of the rate; write them like 0.5,1,2", param, ctx)
        return factors
