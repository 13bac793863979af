"""Params as they are written on a command line, `name=value`, made into values of the manifest's types; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from crema.host.manifest import Manifest
from crema.host.manifest_parts import BooleanParam, IntegerParam, NumberParam, Param
from crema.host.mistakes import did_you_mean


class ParamRefused(ValueError):
    """A parameter that the package does not take; the text says why and what it takes."""


def params_given(manifest: Manifest, written: Iterable[str]) -> dict[str, Any]:
    """The params of a call. Raises ParamRefused."""
    given = {}
    for pair in written:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ParamRefused(f"a parameter is written name=value (got {pair!r})")
        if name not in manifest.params:
            close = did_you_mean(name, list(manifest.params))
            known = ", ".join(manifest.params) or "none"
            raise ParamRefused(
                f"there is no parameter {name}; "
                + (f"did you mean {close[0]}?" if close else f"there are: {known}")
            )
        given[name] = _value(name, manifest.params[name], text)
    return given


def _value(name: str, param: Param, text: str) -> Any:
    if isinstance(param, BooleanParam):
        if text not in ("true", "false"):
            raise ParamRefused(f"{name} is true or false (got {text})")
        return text == "true"
    if isinstance(param, (IntegerParam, NumberParam)):
        return _number(name, param, text)
    if param.enum is not None and text not in param.enum:
        raise ParamRefused(f"{name} is one of {', '.join(param.enum)} (got {text})")
    if len(text) > param.max_length:
        raise ParamRefused(f"{name} has at most {param.max_length} characters")
    return text


def _number(name: str, param: IntegerParam | NumberParam, text: str) -> float:
    is_whole = isinstance(param, IntegerParam)
    try:
        value = int(text) if is_whole else float(text)
    except ValueError:
        raise ParamRefused(f"{name} is a {'whole ' if is_whole else ''}number (got {text})") from None
    if not math.isfinite(value):
        raise ParamRefused(f"{name} is a finite number (got {text})")
    if param.minimum is not None and value < param.minimum:
        raise ParamRefused(f"{name} is at least {param.minimum} (got {text})")
    if param.maximum is not None and value > param.maximum:
        raise ParamRefused(f"{name} is at most {param.maximum} (got {text})")
    return value
