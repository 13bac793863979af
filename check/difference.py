"""The difference between two answers of one output type, in words; pure. None means: equal within the tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Decimal fractions such as 0.01 are not exact: a difference that is printed as the tolerance is within it.
_SLACK: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a list of tags ends: below the confidence `lowest`, after `most` tags (None: not known).

    A tag that stands on one side only is no difference if rounding at the cut explains it.
    """

    lowest: float | None = None
    most: int | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Cut:
        """Read from parameters by their usual names: a number called …confidence or …threshold, a whole number max_…
        or top_…."""
        lowest, most = None, None
        for name, value in params.items():
            if isinstance(value, float) and name.endswith(("confidence", "threshold")):
                lowest = value
            elif type(value) is int and name.startswith(("max_", "top_")):
                most = value
        return cls(lowest, most)


NO_CUT: Final = Cut()


def difference(kind: str, wanted: Any, got: Any, tolerance: float, cut: Cut = NO_CUT) -> str | None:
    """How `got` differs from `wanted`, both outputs of the type `kind`; None when it does not, within `tolerance`."""
    try:
        if kind == "tags":
            return _tags(wanted["tags"], got["tags"], tolerance, cut)
        if kind == "embedding":
            return _embedding(wanted["embedding"], got["embedding"], tolerance)
    except (KeyError, TypeError, AttributeError):
        pass  # what was expected is not of its type: compared as it is, it differs
    return _plain(wanted, got, tolerance, "")


def _tags(wanted: list[Any], got: list[Any], tolerance: float, cut: Cut) -> str | None:
    left = {tag["name"]: tag["confidence"] for tag in wanted}
    right = {tag["name"]: tag["confidence"] for tag in got}
    missing = [
        name for name in left if name not in right and not _at_the_cut(name, left, right, tolerance, cut)
    ]
    more = [name for name in right if name not in left and not _at_the_cut(name, right, left, tolerance, cut)]
    words = [f"lacks {', '.join(missing[:4])}"] if missing else []
    words += [f"has also {', '.join(more[:4])}"] if more else []
    if words:
        return " and ".join(words)
    for name in left:
        if name in right and not _close(left[name], right[name], tolerance):
            return f"{name} has {_number(right[name])} instead of {_number(left[name])}"
    return None


def _at_the_cut(
    name: str, has: Mapping[str, float], lacks: Mapping[str, float], tolerance: float, cut: Cut
) -> bool:
    """Whether rounding alone can have dropped `name` from `lacks`: it stood at the threshold, or at the end of a full list."""
    confidence = has[name]
    # far below the threshold is no rounding: who answers that does not go by it
    if cut.lowest is not None and _close(confidence, cut.lowest, tolerance):
        return True
    is_full = cut.most is not None and len(has) == len(lacks) == cut.most
    return is_full and confidence <= min(lacks.values(), default=0.0) + tolerance + _SLACK


def _embedding(wanted: list[Any], got: list[Any], tolerance: float) -> str | None:
    if len(wanted) != len(got):
        return f"has {len(got)} numbers instead of {len(wanted)}"
    worst, at = max(
        ((abs(a - b), index) for index, (a, b) in enumerate(zip(wanted, got, strict=True))), default=(0, 0)
    )
    if worst <= tolerance + _SLACK:
        return None
    return f"embedding[{at}] is {_number(got[at])} instead of {_number(wanted[at])}"


def _plain(wanted: Any, got: Any, tolerance: float, at: str) -> str | None:
    where = at or "the answer"
    if _is_number(wanted) and _is_number(got):
        if _close(wanted, got, tolerance):
            return None
        return f"{where} is {_number(got)} instead of {_number(wanted)}"
    if type(wanted) is not type(got):
        return f"{where} is {_shown(got)} instead of {_shown(wanted)}"
    if isinstance(wanted, dict):
        if wanted.keys() != got.keys():
            return f"{where} has the members {', '.join(map(str, got)) or 'none'} instead of {', '.join(map(str, wanted)) or 'none'}"
        members = ((f"{at}.{key}" if at else str(key), wanted[key], got[key]) for key in wanted)
    elif isinstance(wanted, list):
        if len(wanted) != len(got):
            return f"{where} has {len(got)} entries instead of {len(wanted)}"
        members = ((f"{at}[{index}]", *pair) for index, pair in enumerate(zip(wanted, got, strict=True)))
    else:
        return None if wanted == got else f"{where} is {_shown(got)} instead of {_shown(wanted)}"
    for name, left, right in members:
        if (found := _plain(left, right, tolerance, name)) is not None:
            return found
    return None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _close(left: float, right: float, tolerance: float) -> bool:
    return left == right or abs(left - right) <= tolerance + _SLACK


def _number(value: float) -> str:
    return f"{value:.6g}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
