"""JSON Schema (2020-12), compiled once into nested functions: what a `json` output must look like. Light ring: stdlib.

A schema that uses a keyword this module does not know is refused when it is compiled, never ignored. References stay
inside the schema; nothing is ever fetched.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

# None when the value fits; else the path below it and what is wrong, for instance `.boxes[0]: must be a number`
Check = Callable[[Any], "str | None"]

_ANNOTATIONS: Final = frozenset(
    {
        "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples",
        "deprecated", "readOnly", "writeOnly", "format", "contentEncoding", "contentMediaType", "$anchor",
    }
)  # fmt: skip


class SchemaRefused(ValueError):
    """A schema that cannot be used; the text says where and why."""


def compile_schema(schema: Any) -> Check:
    """The function that checks values (plain Python objects, as msgpack gives them) against `schema`.

    Raises SchemaRefused.
    """
    return _Compiler(schema).check_for("#")


def is_type(value: Any, name: str) -> bool:
    """Whether `value` has the JSON type `name`; 1.0 is an integer, True is not a number."""
    kind = type(value)
    if name == "number":
        return kind is int or kind is float
    if name == "integer":
        return kind is int or (kind is float and value.is_integer())
    return kind is _TYPES[name]


_TYPES: Final[dict[str, type]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, but True does not equal 1."""
    if type(left) is bool or type(right) is bool:
        return left is right
    if type(left) is list and type(right) is list:
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) is dict and type(right) is dict:
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


class _Compiler:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._done: dict[str, Check] = {}

    def check_for(self, pointer: str) -> Check:
        """The check of the part of the schema that `pointer` (`#/a/b`) names; compiled once, also when it contains itself."""
        if pointer not in self._done:
            target: list[Check] = []
            self._done[pointer] = lambda value: target[0](value)
            part = self._find(pointer)
            target.append(self._compile(part, pointer))
            self._done[pointer] = target[0]
        return self._done[pointer]

    def _find(self, pointer: str) -> Any:
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaRefused(f"$ref {pointer!r}: only references inside the schema (#/…) are followed")
        part = self._root
        for raw in pointer.split("/")[1:]:
            key = raw.replace("~1", "/").replace("~0", "~")
            try:
                part = part[int(key)] if type(part) is list else part[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaRefused(f"$ref {pointer!r} leads nowhere") from None
        return part

    def _compile(self, schema: Any, at: str) -> Check:
        if schema is True:
            return lambda value: None
        if schema is False:
            return lambda value: ": is not allowed"
        if type(schema) is not dict:
            raise SchemaRefused(f"{at}: a schema is a map, true or false")
        checks: list[Check] = []
        for keyword in schema:
            if keyword in _ANNOTATIONS or keyword in _WITH_OTHERS:
                continue
            build = _KEYWORDS.get(keyword)
            if build is None:
                raise SchemaRefused(f"{at}: keyword {keyword!r} is not supported")
            try:
                checks.append(build(self, schema, f"{at}/{keyword}"))
            except (TypeError, AttributeError, re.error) as error:
                raise SchemaRefused(f"{at}/{keyword}: {error}") from None
        if len(checks) == 1:
            return checks[0]

        def check(value: Any) -> str | None:
            for each in checks:
                problem = each(value)
                if problem is not None:
                    return problem
            return None

        return check

    # -- keywords: each takes the schema that holds it and returns its check ------------------------------------------

    def _ref(self, schema: dict[str, Any], at: str) -> Check:
        pointer = schema["$ref"]
        self.check_for(pointer)
        done = self._done
        return lambda value: done[pointer](value)

    def _type(self, schema: dict[str, Any], at: str) -> Check:
        names = schema["type"] if type(schema["type"]) is list else [schema["type"]]
        for name in names:
            if name not in _TYPES and name not in ("number", "integer"):
                raise SchemaRefused(f"{at}: {name!r} is not a JSON type")
        wanted = f": must be {' or '.join(names)}"
        if len(names) == 1 and names[0] in _TYPES:
            kind = _TYPES[names[0]]
            return lambda value: None if type(value) is kind else wanted
        return lambda value: None if any(is_type(value, name) for name in names) else wanted

    def _enum(self, schema: dict[str, Any], at: str) -> Check:
        allowed = list(schema["enum"])
        wanted = f": must be one of {allowed!r:.200}"
        return lambda value: None if any(same(value, each) for each in allowed) else wanted

    def _const(self, schema: dict[str, Any], at: str) -> Check:
        wanted = schema["const"]
        return lambda value: None if same(value, wanted) else f": must be {wanted!r:.200}"

    def _properties(self, schema: dict[str, Any], at: str) -> Check:
        members = {name: self._compile(part, f"{at}/{name}") for name, part in schema["properties"].items()}

        def check(value: Any) -> str | None:
            if type(value) is dict:
                for name, each in members.items():
                    if name in value:
                        problem = each(value[name])
                        if problem is not None:
                            return f".{name}{problem}"
            return None

        return check

    def _additional(self, schema: dict[str, Any], at: str) -> Check:
        named = frozenset(schema.get("properties", ()))
        patterns = [re.compile(pattern) for pattern in schema.get("patternProperties", ())]
        rest = self._compile(schema["additionalProperties"], at)

        def check(value: Any) -> str | None:
            if type(value) is dict:
                for name, member in value.items():
                    if name not in named and not any(pattern.search(name) for pattern in patterns):
                        problem = rest(member)
                        if problem is not None:
                            return f".{name}{problem}"
            return None

        return check

    def _patterns(self, schema: dict[str, Any], at: str) -> Check:
        parts = [
            (re.compile(pattern), self._compile(part, f"{at}/{pattern}"))
            for pattern, part in schema["patternProperties"].items()
        ]

        def check(value: Any) -> str | None:
            if type(value) is dict:
                for name, member in value.items():
                    for pattern, each in parts:
                        problem = each(member) if pattern.search(name) else None
                        if problem is not None:
                            return f".{name}{problem}"
            return None

        return check

    def _names(self, schema: dict[str, Any], at: str) -> Check:
        each = self._compile(schema["propertyNames"], at)

        def check(value: Any) -> str | None:
            if type(value) is dict:
                for name in value:
                    problem = each(name)
                    if problem is not None:
                        return f": the name {name!r:.80}{problem}"
            return None

        return check

    def _required(self, schema: dict[str, Any], at: str) -> Check:
        names = list(schema["required"])

        def check(value: Any) -> str | None:
            if type(value) is dict:
                for name in names:
                    if name not in value:
                        return f".{name}: is required"
            return None

        return check

    def _dependent_required(self, schema: dict[str, Any], at: str) -> Check:
        needs = {name: list(others) for name, others in schema["dependentRequired"].items()}

        def check(value: Any) -> str | None:
            if type(value) is dict:
                for name, others in needs.items():
                    for other in others if name in value else ():
                        if other not in value:
                            return f".{other}: is required with {name}"
            return None

        return check

    def _items(self, schema: dict[str, Any], at: str) -> Check:
        first = len(schema.get("prefixItems", ()))
        each = self._compile(schema["items"], at)

        def check(value: Any) -> str | None:
            if type(value) is list:
                for index in range(first, len(value)):
                    problem = each(value[index])
                    if problem is not None:
                        return f"[{index}]{problem}"
            return None

        return check

    def _prefix_items(self, schema: dict[str, Any], at: str) -> Check:
        parts = [self._compile(part, f"{at}/{index}") for index, part in enumerate(schema["prefixItems"])]

        def check(value: Any) -> str | None:
            if type(value) is list:
                for index, (member, each) in enumerate(zip(value, parts, strict=False)):
                    problem = each(member)
                    if problem is not None:
                        return f"[{index}]{problem}"
            return None

        return check

    def _contains(self, schema: dict[str, Any], at: str) -> Check:
        each = self._compile(schema["contains"], at)
        least, most = schema.get("minContains", 1), schema.get("maxContains", math.inf)

        def check(value: Any) -> str | None:
            if type(value) is list:
                count = sum(each(member) is None for member in value)
                if not least <= count <= most:
                    return f": has {count} members of the wanted kind"
            return None

        return check

    def _unique(self, schema: dict[str, Any], at: str) -> Check:
        def check(value: Any) -> str | None:
            if type(value) is list:
                for index, member in enumerate(value):
                    if any(same(member, other) for other in value[:index]):
                        return f"[{index}]: is there twice"
            return None

        return check if schema["uniqueItems"] else lambda value: None

    def _all_of(self, schema: dict[str, Any], at: str) -> Check:
        parts = self._several(schema["allOf"], at)
        return lambda value: next((problem for each in parts if (problem := each(value)) is not None), None)

    def _any_of(self, schema: dict[str, Any], at: str) -> Check:
        parts = self._several(schema["anyOf"], at)
        return lambda value: None if any(each(value) is None for each in parts) else ": fits none of anyOf"

    def _one_of(self, schema: dict[str, Any], at: str) -> Check:
        parts = self._several(schema["oneOf"], at)

        def check(value: Any) -> str | None:
            count = sum(each(value) is None for each in parts)
            return None if count == 1 else f": fits {count} of oneOf"

        return check

    def _not(self, schema: dict[str, Any], at: str) -> Check:
        each = self._compile(schema["not"], at)
        return lambda value: ": is what it must not be" if each(value) is None else None

    def _if(self, schema: dict[str, Any], at: str) -> Check:
        condition = self._compile(schema["if"], at)
        then, otherwise = (self._compile(schema.get(name, True), f"{at}/{name}") for name in ("then", "else"))
        return lambda value: then(value) if condition(value) is None else otherwise(value)

    def _several(self, parts: Any, at: str) -> list[Check]:
        if type(parts) is not list or not parts:
            raise SchemaRefused(f"{at}: must be a list of schemas")
        return [self._compile(part, f"{at}/{index}") for index, part in enumerate(parts)]

    def _pattern(self, schema: dict[str, Any], at: str) -> Check:
        pattern = re.compile(schema["pattern"])
        wanted = f": must match {schema['pattern']!r:.200}"
        return lambda value: wanted if type(value) is str and pattern.search(value) is None else None


def _bound(keyword: str, types: tuple[type, ...], holds: Callable[[Any, Any], bool], words: str) -> Any:
    """A keyword that compares values of some types with its number."""

    def build(compiler: _Compiler, schema: dict[str, Any], at: str) -> Check:
        bound = schema[keyword]
        if type(bound) not in (int, float):
            raise SchemaRefused(f"{at}: must be a number")
        wanted = f": must {words.format(bound)}"
        return lambda value: None if type(value) not in types or holds(value, bound) else wanted

    return build


def _is_multiple(value: Any, of: Any) -> bool:
    quotient = value / of
    return math.isfinite(quotient) and abs(quotient - round(quotient)) < 1e-9


_NUMBER: Final = (int, float)
# looked at by the keyword they belong to
_WITH_OTHERS: Final = frozenset({"then", "else", "minContains", "maxContains"})
_KEYWORDS: Final[dict[str, Callable[[_Compiler, dict[str, Any], str], Check]]] = {
    "$ref": _Compiler._ref,
    "type": _Compiler._type,
    "enum": _Compiler._enum,
    "const": _Compiler._const,
    "properties": _Compiler._properties,
    "additionalProperties": _Compiler._additional,
    "patternProperties": _Compiler._patterns,
    "propertyNames": _Compiler._names,
    "required": _Compiler._required,
    "dependentRequired": _Compiler._dependent_required,
    "items": _Compiler._items,
    "prefixItems": _Compiler._prefix_items,
    "contains": _Compiler._contains,
    "uniqueItems": _Compiler._unique,
    "allOf": _Compiler._all_of,
    "anyOf": _Compiler._any_of,
    "oneOf": _Compiler._one_of,
    "not": _Compiler._not,
    "if": _Compiler._if,
    "pattern": _Compiler._pattern,
    "minimum": _bound("minimum", _NUMBER, lambda value, bound: bool(value >= bound), "be at least {}"),
    "maximum": _bound("maximum", _NUMBER, lambda value, bound: bool(value <= bound), "be at most {}"),
    "exclusiveMinimum": _bound("exclusiveMinimum", _NUMBER, lambda value, bound: bool(value > bound), "be over {}"),
    "exclusiveMaximum": _bound("exclusiveMaximum", _NUMBER, lambda value, bound: bool(value < bound), "be under {}"),
    "multipleOf": _bound("multipleOf", _NUMBER, _is_multiple, "be a multiple of {}"),
    "minLength": _bound("minLength", (str,), lambda value, bound: len(value) >= bound, "have at least {} characters"),
    "maxLength": _bound("maxLength", (str,), lambda value, bound: len(value) <= bound, "have at most {} characters"),
    "minItems": _bound("minItems", (list,), lambda value, bound: len(value) >= bound, "have at least {} members"),
    "maxItems": _bound("maxItems", (list,), lambda value, bound: len(value) <= bound, "have at most {} members"),
    "minProperties": _bound("minProperties", (dict,), lambda value, bound: len(value) >= bound, "have {} members or more"),
    "maxProperties": _bound("maxProperties", (dict,), lambda value, bound: len(value) <= bound, "have {} members or fewer"),
}  # fmt: skip
