"""A plan: the models of a call resolved to versions, their params checked, and the distinct input specs they need.

Made before anything is decoded. A plan belongs to one state of the directory and holds nothing of a single request,
so plans of equal queries are kept and used again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

from coordinator.canary import NOBODY, pick, point_of
from coordinator.directory import Directory
from coordinator.layout import Layouts
from coordinator.options import CallOptions, Entry, OnError, Options, combine, options_of_query
from coordinator.served import Served
from coordinator.violations import Path, Violations, shown
from crema.errors import CremaError
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
    canaries: tuple[Served, ...] = ()
    """Versions that answer in place of `served` to their share of the callers."""

    def for_caller(self, key: str) -> int:
        """Which canary answers the caller with this key, or `NOBODY`. One that cannot take traffic gets none."""
        percents = [each.row.canary_percent or 0.0 for each in self.canaries]
        chosen = pick(percents, point_of(self.served.model, key))
        return chosen if chosen == NOBODY or self.canaries[chosen].is_ready else NOBODY


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call needs: models in the order asked for, and one spec per distinct input."""

    models: tuple[PlannedModel, ...]
    specs: tuple[dict[str, Any], ...]
    deadline_ms: float
    lane: Lane
    on_error: OnError
    has_canaries: bool = False
    layouts: Layouts = field(default_factory=Layouts, compare=False, repr=False)
    """What all its calls send alike."""
    _variants: dict[tuple[int, ...], Plan] = field(default_factory=dict, compare=False, repr=False)
    """The plans of callers who get canaries, by which they get."""

    def for_caller(self, key: str) -> Plan:
        """The plan with each model's version settled for the caller with this key: always the same for the same key."""
        if not self.has_canaries:
            return self
        chosen = tuple(each.for_caller(key) if each.canaries else NOBODY for each in self.models)
        variant = self._variants.get(chosen)
        if variant is None:
            variant = self._variants[chosen] = self._with(chosen)
        return variant

    def _with(self, chosen: tuple[int, ...]) -> Plan:
        specs: list[dict[str, Any]] = []
        models = []
        for model, canary in zip(self.models, chosen, strict=True):
            served = model.served if canary == NOBODY else model.canaries[canary]
            assert served.spec is not None
            if served.spec not in specs:
                specs.append(served.spec)
            models.append(replace(model, served=served, spec=specs.index(served.spec), canaries=()))
        return replace(
            self,
            models=tuple(models),
            specs=tuple(specs),
            has_canaries=False,
            layouts=Layouts(),
            _variants={},
        )


class Query:
    """A query string, read once: what it says, what is wrong with it, and the plan it alone decides."""

    __slots__ = ("options", "plan", "revision", "violations")

    def __init__(self, raw: str) -> None:
        self.violations = Violations()
        self.options = options_of_query(raw, self.violations)
        self.plan: Plan | None = None
        self.revision = -1
        """The directory's revision that `plan` was made from."""


class Planner:
    """Makes plans from a directory, and keeps queries with the plans that they alone decide."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._kept: dict[str, Query] = {}

    def query(self, raw: str) -> Query:
        """A query string (still percent-encoded), read; mistakes are in its `violations`."""
        query = self._kept.get(raw)
        if query is None:
            query = Query(raw)
            if query.violations:
                return query
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[raw] = query
        return query

    def check(self, query: Query) -> None:
        """Raises what a call with this query is refused for whatever its body says, as `plan` does."""
        if query.options.models is None:
            query.violations.refuse()
        else:
            self.plan(query, [], Violations())

    def plan(self, query: Query, sources: list[Options], violations: Violations) -> Plan:
        """The plan of a query and what a body says (`sources`, strongest first).

        Raises CremaError `invalid_request` with everything that is wrong: what `violations` holds by then, the query's
        own, params, models that take no image, and beside those also unknown models and versions. Where these are all
        that is wrong, `unknown_model` or `unknown_version` of the first.
        """
        if sources or violations:
            return self._make(query, sources, violations)
        revision = self._directory.revision
        if query.plan is None or query.revision != revision:
            query.plan = self._make(query, [], violations)
            query.revision = revision
        return query.plan

    def _make(self, query: Query, sources: list[Options], violations: Violations) -> Plan:
        violations.include(query.violations)
        options = combine([query.options, *sources], self._directory.default_models, violations)
        return self._resolve(options, violations)

    def _resolve(self, options: CallOptions, violations: Violations) -> Plan:
        models: list[PlannedModel] = []
        specs: list[dict[str, Any]] = []
        unknown: list[tuple[int, CremaError]] = []
        for index, entry in enumerate(options.models):
            if not entry.selector:
                continue  # noted where it was read
            try:
                served = self._directory.resolve(entry.selector)
            except CremaError as error:
                unknown.append((index, error))
                continue
            check_params(entry, served, ("models", index, "params"), violations)
            if served.spec is None:
                violations.add(
                    ("models", index),
                    f"{served.full_name} takes a tensor, not an image; send it to a minion's own /v1/infer",
                )
                continue
            if served.spec not in specs:
                specs.append(served.spec)
            is_required = entry.is_required or options.on_error == "fail"
            canaries = self._canaries(entry, served)
            models.append(
                PlannedModel(entry.key, served, entry.params, is_required, specs.index(served.spec), canaries)
            )
        if violations:
            for index, failure in unknown:
                if failure.code != "not_ready":
                    violations.add(("models", index), failure.message)
            violations.refuse()
        if unknown:
            raise unknown[0][1]
        has_canaries = any(model.canaries for model in models)
        return Plan(
            tuple(models), tuple(specs), options.deadline_ms, options.lane, options.on_error, has_canaries
        )

    def _canaries(self, entry: Entry, served: Served) -> tuple[Served, ...]:
        """The canaries of a selector that can take what was asked: what is promoted says what is allowed."""
        fitting = []
        for canary in self._directory.canaries_for(entry.selector):
            refused = Violations()
            check_params(entry, canary, (), refused)
            if canary is not served and canary.spec is not None and not refused:
                fitting.append(canary)
        return tuple(fitting)


def check_params(entry: Entry, served: Served, path: Path, violations: Violations) -> None:
    """Note every param that the version does not have, and every value of the wrong type or out of range."""
    for name, value in entry.params.items():
        declared = served.params.get(name)
        if declared is None:
            violations.unknown((*path, name), served.params, f"param of {served.full_name}")
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
