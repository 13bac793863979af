"""A plan: the models of a call resolved to versions, their params checked, and the distinct input specs they need.

Made before anything is decoded. A plan belongs to one state of the directory and holds nothing of a single request,
so plans of equal queries are kept and used again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from coordinator.directory import Directory, Served
from coordinator.options import CallOptions, Entry, OnError, Options, combine, options_of_query
from coordinator.violations import Path, Violations, shown
from crema.names import Lane

MAX_KEPT: Final = 1024

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "string": (str,),
}
_ARTICLES: Final = {
    "integer": "an integer",
    "number": "a finite number",
    "boolean": "true or false",
    "string": "a text",
}
DEFAULT_MAX_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """One model of a call: which version answers under which key."""

    key: str
    served: Served
    params: dict[str, Any]
    is_required: bool
    spec: int
    """Which of the plan's specs it takes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call needs: models in the order asked for, and one spec per distinct input."""

    models: tuple[PlannedModel, ...]
    specs: tuple[dict[str, Any], ...]
    deadline_ms: float
    lane: Lane
    on_error: OnError


class Planner:
    """Makes plans from a directory, and keeps those that only a query decides."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._revision = -1
        self._kept: dict[str, Plan] = {}

    def plan(self, raw_query: str, sources: list[Options], violations: Violations) -> Plan:
        """The plan of a query and what a body says (`sources`, strongest first).

        Raises CremaError with everything that `violations` holds by then; else `unknown_model`, `unknown_version`; else
        `invalid_request` for params and for models that take no image.
        """
        if sources or violations:
            return self._make(raw_query, sources, violations)
        if self._revision != self._directory.revision:
            self._kept.clear()
            self._revision = self._directory.revision
        plan = self._kept.get(raw_query)
        if plan is None:
            plan = self._make(raw_query, [], violations)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[raw_query] = plan
        return plan

    def _make(self, raw_query: str, sources: list[Options], violations: Violations) -> Plan:
        options = combine(
            [options_of_query(raw_query, violations), *sources], self._directory.default_models, violations
        )
        violations.refuse()
        return self._resolve(options)

    def _resolve(self, options: CallOptions) -> Plan:
        resolved = [self._directory.resolve(entry.selector) for entry in options.models]
        violations = Violations()
        models: list[PlannedModel] = []
        specs: list[dict[str, Any]] = []
        for index, (entry, served) in enumerate(zip(options.models, resolved, strict=True)):
            if served.spec is None:
                violations.add(
                    ("models", index),
                    f"{served.model}@{served.version_text} takes a tensor, not an image; send it to a minion's own /v1/infer",
                )
                continue
            check_params(entry, served, ("models", index, "params"), violations)
            if served.spec not in specs:
                specs.append(served.spec)
            is_required = entry.is_required or options.on_error == "fail"
            models.append(
                PlannedModel(entry.key, served, entry.params, is_required, specs.index(served.spec))
            )
        violations.refuse()
        return Plan(tuple(models), tuple(specs), options.deadline_ms, options.lane, options.on_error)


def check_params(entry: Entry, served: Served, path: Path, violations: Violations) -> None:
    """Note every param that the version does not have, and every value of the wrong type or out of range."""
    for name, value in entry.params.items():
        declared = served.params.get(name)
        if declared is None:
            violations.unknown((*path, name), served.params, f"param of {served.model}@{served.version_text}")
        else:
            message = wrong_with(value, declared)
            if message is not None:
                violations.add((*path, name), message)


def wrong_with(value: Any, declared: dict[str, Any]) -> str | None:
    """What is wrong with a param's value by its declaration in the card, or None."""
    kind = declared["type"]
    if type(value) not in _KINDS[kind]:
        return f"must be {_ARTICLES[kind]} (got {shown(value)})"
    if kind == "boolean":
        return None
    if kind == "string":
        allowed = declared.get("enum")
        if allowed is not None:
            return None if value in allowed else f"must be one of {', '.join(allowed)} (got {shown(value)})"
        most = declared.get("max_length") or DEFAULT_MAX_LENGTH
        return None if len(value) <= most else f"may have {most} characters (got {len(value)})"
    minimum, maximum = declared.get("minimum"), declared.get("maximum")
    if type(value) is float and not math.isfinite(value):
        return "must be a finite number"
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        span = " and ".join(
            [f"at least {minimum}"] * (minimum is not None) + [f"at most {maximum}"] * (maximum is not None)
        )
        return f"must be {span} (got {shown(value)})"
    # an integer without a bound of its own still has to fit the wire's 64 bits
    return None if type(value) is float or abs(value) < 2**63 else f"must be below 2^63 (got {shown(value)})"
