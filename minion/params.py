"""ParamSet: the parameters a model declares, and what a caller sent checked against them and completed with defaults."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any, Final

from crema.errors import CremaError

# raises ValueError with what must hold; returns the value as the model gets it
Reader = Callable[[Any], Any]
_HUGE: Final = 2**1023


class ParamSet:
    """`declared` is the card's `params`: {name: {type, default, minimum?, maximum?, enum?, max_length?}}."""

    def __init__(self, declared: dict[str, dict[str, Any]]) -> None:
        self.defaults = {name: param["default"] for name, param in declared.items()}
        self._readers = {name: _reader(param) for name, param in declared.items()}

    def complete(self, sent: Any, at: str) -> dict[str, Any]:
        """The item's params: what was sent over the defaults.

        Raises CremaError `invalid_request` naming the place, the rule and what is declared.
        """
        if type(sent) is not dict:
            raise CremaError("invalid_request", f"{at} must be a map")
        complete = dict(self.defaults)
        for name, value in sent.items():
            reader = self._readers.get(name)
            if reader is None:
                raise CremaError("invalid_request", f"{at}.{name[:64]}: {self._unknown(name)}")
            try:
                complete[name] = reader(value)
            except ValueError as error:
                raise CremaError("invalid_request", f"{at}.{name}: {error} (got {_shown(value)})") from None
        return complete

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name[:64], self._readers, n=1)
        known = ", ".join(self._readers) or "none"
        return f"this model has no such parameter{f'; did you mean {close[0]}?' if close else f' (it has: {known})'}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _reader(param: dict[str, Any]) -> Reader:
    kind = param["type"]
    if kind == "integer":
        return _number(param, (int,), "a whole number")
    if kind == "number":
        return _number(param, (int, float), "a finite number")
    if kind == "boolean":
        return _boolean
    return _string(param)


def _number(param: dict[str, Any], types: tuple[type, ...], what: str) -> Reader:
    low, high = param.get("minimum"), param.get("maximum")
    if low is not None and high is not None:
        what += f" from {low} to {high}"
    elif low is not None:
        what += f", at least {low}"
    elif high is not None:
        what += f", at most {high}"
    least = -math.inf if low is None else low
    most = math.inf if high is None else high
    is_integer = types == (int,)

    def read(value: Any) -> Any:
        # the comparison refuses what is not a number (NaN) and infinities; the last bounds are msgpack's and float's
        if type(value) not in types or not least <= value <= most or not -_HUGE < value < _HUGE:
            raise ValueError(f"must be {what}")
        if not is_integer:
            return float(value)
        if not -(2**63) <= value < 2**64:
            raise ValueError("must fit into 64 bits")
        return value

    return read


def _boolean(value: Any) -> Any:
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def _string(param: dict[str, Any]) -> Reader:
    allowed, longest = param.get("enum"), param.get("max_length") or 256

    def read(value: Any) -> Any:
        if type(value) is not str:
            raise ValueError("must be a string")
        if allowed is not None and value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        if len(value) > longest:
            raise ValueError(f"must have at most {longest} characters")
        if not value.isascii() and value.encode("utf-8", "replace").decode() != value:
            raise ValueError("must be valid Unicode")
        return value

    return read
