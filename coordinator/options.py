"""The options of a call: which models, how long, which lane, what counts as failure. One shape for all ways in.

Shapes are checked here and every violation is noted; whether a model exists is the directory's to say.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl

from coordinator.envelope import decode_json
from coordinator.violations import Path, Violations, closest, shown
from crema.errors import CremaError
from crema.names import (
    DEFAULT_DEADLINE_MS,
    LANES,
    MAX_DEADLINE_MS,
    MIN_DEADLINE_MS,
    Lane,
    is_name,
    parse_selector,
)

OnError = Literal["partial", "fail"]
ON_ERROR: Final[tuple[OnError, ...]] = ("partial", "fail")

MAX_MODELS: Final = 64
MAX_KEY_CHARACTERS: Final = 128

# members of the JSON form besides the image; the same names are query parameters and form fields
OPTIONS: Final = ("models", "deadline_ms", "lane", "on_error", "required")
ENTRY: Final = ("model", "as", "params", "required")

# what stands for itself in a log, a terminal or a page; the same is in the API's description
_KEY: Final = re.compile(rf"[^\x00-\x1f\x7f-\x9f]{{1,{MAX_KEY_CHARACTERS}}}\Z")
_NO_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a call, as the caller wrote it. What could not be read of it was noted, and is empty here."""

    selector: str
    key: str
    """The member of `results`: `as`, or the selector as sent."""
    params: dict[str, Any] = field(default_factory=dict)
    is_required: bool = False


_UNREADABLE: Final = Entry("", "")


@dataclass(frozen=True, slots=True)
class Options:
    """What one source (query, form, body) says; None where it says nothing."""

    models: tuple[Entry, ...] | None = None
    deadline_ms: float | None = None
    lane: Lane | None = None
    on_error: OnError | None = None
    required: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options in force for a call; at least one model."""

    models: tuple[Entry, ...]
    deadline_ms: float
    lane: Lane
    on_error: OnError


def combine(sources: list[Options], default_models: tuple[str, ...], violations: Violations) -> CallOptions:
    """One set of options out of several sources, the first that says something winning.

    A list of required keys marks entries beside their own `required`; one that stands before the source of the
    models (a query before a body) decides alone. A key that nobody asked for is a violation, and so is a call
    without models where the cluster has no default ones.
    """
    models: tuple[Entry, ...] | None = None
    deadline_ms: float | None = None
    lane: Lane | None = None
    on_error: OnError | None = None
    required: tuple[str, ...] | None = None
    required_from = models_from = 0
    for rank, source in enumerate(sources):
        if models is None and source.models is not None:
            models, models_from = source.models, rank
        if required is None and source.required is not None:
            required, required_from = source.required, rank
        deadline_ms = source.deadline_ms if deadline_ms is None else deadline_ms
        lane = lane or source.lane
        on_error = on_error or source.on_error
    if models is None:
        models, models_from = tuple(Entry(name, name) for name in default_models), len(sources)
        if not models:
            violations.add(
                ("models",),
                "name at least one model: this cluster has no default models; GET /v1/models lists them",
            )
    if required is not None:
        models = _mark_required(models, required, required_from < models_from, violations)
    return CallOptions(
        models=models,
        deadline_ms=float(DEFAULT_DEADLINE_MS) if deadline_ms is None else deadline_ms,
        lane=lane or "interactive",
        on_error=on_error or "partial",
    )


def _mark_required(
    models: tuple[Entry, ...], required: tuple[str, ...], decides_alone: bool, violations: Violations
) -> tuple[Entry, ...]:
    keys = [entry.key for entry in models]
    if keys and all(keys):
        for key in required:
            if key not in keys:
                near = closest(key, keys)
                advice = f"did you mean {near[0]}?" if near else f"asked for: {', '.join(keys)}"
                violations.add(("required",), f"{shown(key)} is not asked for in this call; {advice}")
    return tuple(
        Entry(
            each.selector,
            each.key,
            each.params,
            each.key in required or (each.is_required and not decides_alone),
        )
        for each in models
    )


# -- query and form: texts -----------------------------------------------------------------------------------------


def options_of_query(raw_query: str, violations: Violations) -> Options:
    """The options of a query string (still percent-encoded)."""
    if not raw_query:
        return Options()
    fields: dict[str, str] = {}
    for name, value in _pairs(raw_query, violations):
        if name not in OPTIONS:
            violations.unknown((name,), OPTIONS, "query parameter")
        elif name in fields:
            violations.add(
                (name,), "the parameter stands twice; give it once, several values separated by commas"
            )
        else:
            fields[name] = value
    return options_of_texts(fields, violations)


def no_options(raw_query: str, violations: Violations) -> None:
    """Note every parameter of a query that takes none."""
    if raw_query:
        for name in dict(_pairs(raw_query, violations)):
            violations.unknown((name,), (), "query parameter")


def _pairs(raw_query: str, violations: Violations) -> list[tuple[str, str]]:
    try:
        if "%" in raw_query and _NO_ESCAPE.search(raw_query):
            # the standard library would take it for what it says
            raise ValueError
        return parse_qsl(raw_query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        violations.add((), "the query is not percent-encoded UTF-8, or has more than 100 parameters")
        return []


def options_of_texts(fields: dict[str, str], violations: Violations) -> Options:
    """The options of query parameters or form fields, each a text."""
    models = None
    if "models" in fields:
        selectors: list[Any] = _split(fields["models"])
        models = _entries(selectors, ("models",), violations)
    deadline_ms = None
    if "deadline_ms" in fields:
        text = fields["deadline_ms"].strip()
        number = float(text) if len(text) <= 400 and _NUMBER.match(text) else None
        deadline_ms = _deadline(number if number is not None else text, violations)
    required = None
    if "required" in fields:
        required = tuple(_split(fields["required"]))
    return Options(
        models=models,
        deadline_ms=deadline_ms,
        lane=_lane(fields["lane"].strip(), violations) if "lane" in fields else None,
        on_error=_on_error(fields["on_error"].strip(), violations) if "on_error" in fields else None,
        required=required,
    )


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",")] if text.strip() else []


def options_of_field(text: str, violations: Violations) -> Options:
    """The form's field `options`: the JSON map without the image. Raises CremaError `invalid_json`."""
    try:
        members = decode_json(text.encode("utf-8"))
    except CremaError as error:
        if error.code == "invalid_request":
            violations.add(("options",), 'must be a JSON object, for instance {"lane": "bulk"}')
            return Options()
        raise CremaError("invalid_json", f"the field `options`: {error.message}") from None
    for name in members:
        if name not in OPTIONS:
            violations.unknown((name,), OPTIONS, "member of `options`")
    return options_of_map(members, violations)


# -- the JSON form -------------------------------------------------------------------------------------------------


def options_of_map(members: dict[str, Any], violations: Violations) -> Options:
    """The options among the members of the JSON form; members that are none are the caller's business."""
    models = None
    if "models" in members:
        if type(members["models"]) is list:
            models = _entries(members["models"], ("models",), violations)
        else:
            violations.add(("models",), 'must be a list, for instance ["tags", "captions@1"]')
            models = ()
    required = None
    if "required" in members:
        listed = members["required"]
        if type(listed) is list and all(type(key) is str for key in listed):
            required = tuple(listed)
        else:
            violations.add(("required",), 'must be a list of result keys, for instance ["tags"]')
    return Options(
        models=models,
        deadline_ms=_deadline(members["deadline_ms"], violations) if "deadline_ms" in members else None,
        lane=_lane(members["lane"], violations) if "lane" in members else None,
        on_error=_on_error(members["on_error"], violations) if "on_error" in members else None,
        required=required,
    )


def _entries(listed: list[Any], path: Path, violations: Violations) -> tuple[Entry, ...]:
    if not listed:
        violations.add(path, "must name at least one model; leave it out for the cluster's default models")
    if len(listed) > MAX_MODELS:
        violations.add(path, f"may name at most {MAX_MODELS} models (got {len(listed)})")
        return ()
    entries: list[Entry] = []
    first_with: dict[str, int] = {}
    for index, each in enumerate(listed):
        # a place for every entry, so that what is found later points to the right one
        entry = _entry(each, (*path, index), violations)
        entries.append(entry)
        if not entry.key:
            continue
        if entry.key in first_with:
            violations.add(
                (*path, index),
                f"the result key {shown(entry.key)} is taken by entry {first_with[entry.key]}; give this one another with `as`",
            )
        first_with.setdefault(entry.key, index)
    return tuple(entries)


def _entry(value: Any, path: Path, violations: Violations) -> Entry:
    if type(value) is str:
        return Entry(value, value) if _is_selector(value, path, violations) else _UNREADABLE
    if type(value) is not dict:
        violations.add(
            path, 'must be a selector such as "tags@3", or a map {"model": …, "as": …, "params": …}'
        )
        return _UNREADABLE
    for name in value:
        if name not in ENTRY:
            violations.unknown((*path, name), ENTRY)
    selector = value.get("model")
    if "model" not in value:
        violations.add((*path, "model"), 'is missing; write a selector such as "tags@3"')
        selector = ""
    elif type(selector) is not str:
        violations.add((*path, "model"), 'must be a selector, for instance "tags@3"')
        selector = ""
    elif not _is_selector(selector, (*path, "model"), violations):
        selector = ""
    key = value.get("as", selector)
    if "as" in value and not _is_key(key):
        violations.add(
            (*path, "as"),
            f"must be a text of 1 to {MAX_KEY_CHARACTERS} characters without control characters",
        )
        key = ""
    params = value.get("params", {})
    if type(params) is not dict:
        violations.add((*path, "params"), 'must be a map, for instance {"max_words": 20}')
        params = {}
    required = value.get("required", False)
    if type(required) is not bool:
        violations.add((*path, "required"), "must be true or false")
        required = False
    return Entry(selector, key, params, required)


def _is_selector(text: str, path: Path, violations: Violations) -> bool:
    if is_name(text) or _is_formed(text):
        return True
    got = f" (got {shown(text)})" if text else ""
    violations.add(
        path, f"must be NAME, NAME@MAJOR, NAME@MAJOR.MINOR or NAME@LABEL, for instance tags@3.1{got}"
    )
    return False


def _is_formed(text: str) -> bool:
    """Whether `text` has the form of a selector. A name that no model can have is well-formed, only unknown."""
    name, at, wanted = text.partition("@")
    if not name or not _is_key(text):
        return False
    try:
        parse_selector(f"name{at}{wanted}")
    except ValueError:
        return False
    return True


def _is_key(value: Any) -> bool:
    return type(value) is str and _KEY.match(value) is not None


def _deadline(value: Any, violations: Violations) -> float | None:
    if type(value) in (int, float) and value > 0 and (type(value) is int or math.isfinite(value)):
        return float(min(max(value, MIN_DEADLINE_MS), MAX_DEADLINE_MS))
    violations.add(
        ("deadline_ms",),
        f"must be a finite number of milliseconds above 0 (got {shown(value)}); it is kept within {MIN_DEADLINE_MS} to {MAX_DEADLINE_MS}",
    )
    return None


def _lane(value: Any, violations: Violations) -> Lane | None:
    return cast("Lane | None", _choice(value, LANES, "lane", violations))


def _on_error(value: Any, violations: Violations) -> OnError | None:
    return cast("OnError | None", _choice(value, ON_ERROR, "on_error", violations))


def _choice(value: Any, known: tuple[str, ...], name: str, violations: Violations) -> str | None:
    if type(value) is str and value in known:
        return value
    near = closest(value, known) if type(value) is str else []
    advice = f"; did you mean {near[0]}?" if near else ""
    violations.add((name,), f"must be {' or '.join(known)} (got {shown(value)}){advice}")
    return None
