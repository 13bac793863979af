"""Pydantic's errors in our words: each becomes a Mistake with its place in the YAML file, the rule and a way out.

Models that are read from YAML derive from `Strict`. A validator that wants to say more raises `refuse(...)`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from crema.host.yaml_source import Location, Mistake, YamlSource, dotted, shown_value

# Tags of unions begin with a character that YAML does not allow, so that a tag is never mistaken for a key.
TAG: Final = "\0"

REFUSED: Final = "refused"
_NO_GOT: Final = "\0none"

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A part of a file of ours: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=True
    )


def refuse(
    what: str, *, hint: str = "", got: str = "", at: str | int = "", show: bool = True
) -> PydanticCustomError:
    """The error for a validator to raise: `what` is the rule; `at` is a key or index inside the validated value.

    `got` replaces the value that is shown; `show=False` shows none. `{got}` in `hint` becomes what the file says.
    """
    # A format of "{what}" would be filled by pydantic; the text itself may hold braces.
    context = {"what": what, "hint": hint, "got": got if show else _NO_GOT, "at": at}
    return PydanticCustomError(REFUSED, "{what}", context)


def read_model(
    source: YamlSource,
    model: type[Model],
    hints: Mapping[str, str],
    *,
    context: object,
    raise_as: Callable[[list[Mistake]], Exception],
    also: Iterable[Mistake] = (),
) -> Model:
    """Validates `source.data` as `model`, or raises `raise_as(all mistakes, in the order of the file)`.

    `also` are mistakes that were found by other means. `hints` gives the `try:` line per dotted path, with `*` for any key
    and `[]` for any index (`models.*.default`).
    """
    mistakes = [*source.mistakes, *also]
    if source.is_broken:
        raise raise_as(mistakes)
    try:
        built = model.model_validate({} if source.data is None else source.data, context=context)
    except ValidationError as error:
        # A key that YAML did not read as text was already named: that it is unknown, too, is no second mistake.
        named = {(mistake.line, mistake.column) for mistake in source.mistakes}
        for details in error.errors(include_url=False):
            if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
                continue  # pydantic counts valid entries only, and what is wrong with the others is said anyway
            mistake = _translate(source, model, details, hints)
            if details["type"] != "extra_forbidden" or (mistake.line, mistake.column) not in named:
                mistakes.append(mistake)
    else:
        if not mistakes:
            return built
    raise raise_as(sorted(mistakes, key=lambda mistake: (mistake.line, mistake.column)))


def _translate(
    source: YamlSource, model: type[BaseModel], details: ErrorDetails, hints: Mapping[str, str]
) -> Mistake:
    kind, context = details["type"], details.get("ctx", {})
    location: Location = tuple(part for part in details["loc"] if not _is_tag(part))
    if kind == REFUSED and context["at"] != "":
        location = (*location, context["at"])
    hint = hints.get(_pattern(location, hints))
    got: str | None = None
    if kind != "missing":
        got = source.written(location) if source.has(location) else None
        if got is None and source.has(location):
            got = shown_value(details["input"])
    if kind == REFUSED:
        said = context["got"]
        got = None if said == _NO_GOT else said or got
        way_out = (context["hint"] or hint or "").replace("{got}", got or "")
        return source.mistake(location, str(context["what"]), got=got, hint=way_out or None)
    if kind == "missing":
        return source.mistake(location, "is required", hint=hint)
    if kind == "extra_forbidden":
        known = known_keys(source, model, location[:-1], details)
        close = did_you_mean(str(location[-1]), known)
        way_out = close[0] if close else f"one of {', '.join(known)}" if known else "remove it"
        meant = f"; did you mean {close[0]}?" if close else ""
        return source.mistake(location, f"there is no such key{meant}", hint=way_out)
    if kind == "string_type" and isinstance(details["input"], (bool, int, float)):
        return source.mistake(location, "must be text, in quotes", got=got, hint=_quoted(location, got))
    what, bound = _rule(kind, context)
    if kind in ("greater_than_equal", "less_than_equal"):
        what = _range(model, location) or what
    if bound is not None and hint is None and location:
        hint = f"{location[-1]}: {bound}"
    if hint is None and not location:
        hint = "lines of `KEY: VALUE`"
    return source.mistake(location, what or details["msg"], got=got, hint=hint)


def _quoted(location: Location, got: str | None) -> str:
    key = location[-1] if location and isinstance(location[-1], str) else None
    return f'"{got}"' if key is None else f'{key}: "{got}"'


def _range(model: type[BaseModel], location: Location) -> str | None:
    """The whole range of a number that has two bounds, for its mistake to name; None for any other."""
    for parent in _models_at(model, list(location[:-1])) if location else ():
        for name, info in parent.model_fields.items():
            if (info.alias or name) == location[-1]:
                bounds = {type(bound).__name__: bound for bound in info.metadata}
                if "Ge" in bounds and "Le" in bounds:
                    return f"must be from {bounds['Ge'].ge:g} to {bounds['Le'].le:g}"
    return None


def _rule(kind: str, context: Mapping[str, Any]) -> tuple[str | None, object]:
    """Our words for one of pydantic's error types, and a value that would satisfy it (None where there is no such)."""
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']:g}", context["ge"]
    if kind == "less_than_equal":
        return f"must be at most {context['le']:g}", context["le"]
    if kind == "greater_than":
        return f"must be more than {context['gt']:g}", None
    if kind == "less_than":
        return f"must be less than {context['lt']:g}", None
    if kind == "literal_error":
        return f"must be {context['expected']}".replace("'", ""), None
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        count = context["min_length"] if least else context["max_length"]
        return (
            f"must have at {'least' if least else 'most'} {count} {'entry' if count == 1 else 'entries'}",
            None,
        )
    if kind in ("string_too_short", "string_too_long"):
        least = kind == "string_too_short"
        count = context["min_length"] if least else context["max_length"]
        return (
            f"must be text of at {'least' if least else 'most'} {count} character{'s' if count != 1 else ''}",
            None,
        )
    return _TYPES.get(kind), None


_TYPES: Final = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (part.startswith(TAG) or part == "[key]")


def _pattern(location: Location, hints: Mapping[str, str]) -> str:
    """The key of `hints` that fits `location`; the exact path when none does."""
    path = dotted(location)
    for hint in hints:
        expression = re.escape(hint).replace(r"\[\]", r"\[\d+\]").replace(r"\*", r'("[^"]*"|[^.\[]+)')
        if re.fullmatch(expression, path):
            return hint
    return path


def did_you_mean(word: str, known: list[str]) -> list[str]:
    """The known words close to `word`, closest first (at most three, maybe none)."""
    return difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)


def known_keys(
    source: YamlSource, model: type[BaseModel], parent: Location, details: ErrorDetails
) -> list[str]:
    """The keys that may stand at `parent`, in the order the model declares them."""
    tags = {
        part.removeprefix(TAG) for part in details["loc"] if isinstance(part, str) and part.startswith(TAG)
    }
    found = _models_at(model, list(parent))
    if len(found) > 1 and tags:
        found = [candidate for candidate in found if getattr(candidate, "tag", None) in tags] or found
    keys: dict[str, None] = {}
    for candidate in found:
        for name, info in candidate.model_fields.items():
            keys[info.alias or name] = None
    return list(keys)


def _models_at(model: type[BaseModel], parts: list[str | int]) -> list[type[BaseModel]]:
    if not parts:
        return [model]
    for name, info in model.model_fields.items():
        if (info.alias or name) == parts[0]:
            return _descend(info.annotation, parts[1:])
    return []


def _descend(annotation: Any, parts: list[str | int]) -> list[type[BaseModel]]:
    """The models that stand `parts` below a type annotation: through unions, tuples, lists and maps."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _models_at(annotation, parts)
    arguments = getattr(annotation, "__args__", ())
    origin = getattr(annotation, "__origin__", None)
    if origin in (tuple, list, dict):
        # The member's type comes last: dict[K, V], list[V], tuple[V, ...], with the dots in its place.
        members = [argument for argument in arguments if argument is not Ellipsis]
        return _descend(members[-1], parts[1:]) if parts else []
    return [found for argument in arguments for found in _descend(argument, parts)]
