"""The values that a package's params are run with: default, minimum and maximum; pure."""

from __future__ import annotations

from typing import Any, Final

from crema.host.manifest import Manifest
from crema.host.manifest_parts import BooleanParam, IntegerParam, NumberParam, Param

_MOST_VALUES: Final = 16


def values_of(param: Param) -> list[Any]:
    """The ends of a parameter's range, without its default; where it has no end, values well away from the default."""
    ends: list[Any]
    if isinstance(param, BooleanParam):
        ends = [not param.default]
    elif isinstance(param, (IntegerParam, NumberParam)):
        far = 2 * abs(param.default) + 1
        ends = [
            param.default - far if param.minimum is None else param.minimum,
            param.default + far if param.maximum is None else param.maximum,
        ]
    elif param.enum is not None:
        ends = list(param.enum)[:_MOST_VALUES]
    else:
        ends = ["", "x" * param.max_length]
    return [end for end in dict.fromkeys(ends) if end != param.default]


def mixed_params(manifest: Manifest) -> list[dict[str, Any]]:
    """The defaults, all params at their first end, and all at their last: what a batch is mixed of."""
    ends = {name: values_of(param) for name, param in manifest.params.items()}
    sets: list[dict[str, Any]] = [{}]
    for at in (0, -1):
        one = {name: values[at] for name, values in ends.items() if values}
        if one not in sets:
            sets.append(one)
    return sets
