"""JSON Schema, compiled: what fits, what does not, and where it says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crema.json_schema import SchemaRefused, compile_schema

# schema, values that fit, values that do not
CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [1, None, {}], []),
    (False, [], [1, None]),
    ({}, [1, "x", None, [], {}], []),
    ({"type": "integer"}, [1, 0, -5, 2.0], [1.5, "1", None, True]),
    ({"type": "number"}, [1, 1.5], ["1", True]),
    ({"type": "boolean"}, [True, False], [0, 1, "true"]),
    ({"type": "null"}, [None], [0, "", False]),
    ({"type": "string"}, ["", "x"], [1, None]),
    ({"type": "array"}, [[], [1]], [{}, "x"]),
    ({"type": "object"}, [{}, {"a": 1}], [[], None]),
    ({"type": ["string", "null"]}, ["x", None], [1]),
    ({"enum": [1, "a", None, [1]]}, [1, 1.0, "a", None, [1]], [2, "b", True, [True]]),
    ({"const": {"a": [1]}}, [{"a": [1]}, {"a": [1.0]}], [{"a": [2]}, {"a": [1], "b": 1}]),
    ({"const": False}, [False], [0, None]),
    ({"minimum": 1, "maximum": 3}, [1, 2.5, 3, "x"], [0.5, 4]),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2, 2.999], [1, 3]),
    ({"multipleOf": 0.1}, [0.3, 7, "x"], [0.35]),
    ({"minLength": 2, "maxLength": 3}, ["ab", "äöü", 5], ["a", "abcd"]),
    ({"pattern": "^a+$"}, ["a", "aa", 5], ["b", "ab"]),
    (
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        [{"a": 1}, {"a": 1, "b": "x"}],
        [{}, {"a": "1"}],
    ),
    ({"properties": {"a": True}, "additionalProperties": False}, [{"a": 1}, {}, 5], [{"b": 1}]),
    (
        {"patternProperties": {"^n_": {"type": "number"}}, "additionalProperties": {"type": "string"}},
        [{"n_a": 1, "b": "x"}],
        [{"n_a": "x"}, {"b": 1}],
    ),
    ({"propertyNames": {"maxLength": 2}}, [{"ab": 1}], [{"abc": 1}]),
    ({"minProperties": 1, "maxProperties": 2}, [{"a": 1}], [{}, {"a": 1, "b": 2, "c": 3}]),
    ({"dependentRequired": {"a": ["b"]}}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    ({"items": {"type": "integer"}}, [[], [1, 2]], [[1, "x"]]),
    (
        {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        [[1, "x"], [1]],
        [["x"], [1, "x", 3]],
    ),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
    ({"uniqueItems": True}, [[1, 2], [1, True]], [[1, 1.0], [{"a": 1}, {"a": 1}]]),
    ({"contains": {"const": 1}, "maxContains": 2}, [[1], [1, 2, 1]], [[], [2], [1, 1, 1]]),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, 2], [0, 3]),
    ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["x", 3], [2]),
    ({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}, [2, 3], [6, 5]),
    ({"not": {"type": "string"}}, [1], ["x"]),
    (
        {
            "if": {"properties": {"k": {"const": "a"}}},
            "then": {"required": ["a"]},
            "else": {"required": ["b"]},
        },
        [{"k": "a", "a": 1}, {"k": "x", "b": 1}],
        [{"k": "a"}, {"k": "x"}],
    ),
    (
        {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}},
        [[1, 2]],
        [["x"]],
    ),
    (
        {"properties": {"next": {"$ref": "#"}}, "additionalProperties": False},
        [{}, {"next": {"next": {}}}],
        [{"next": {"other": 1}}],
    ),
    ({"title": "x", "description": "y", "examples": [1], "format": "email", "type": "string"}, ["x"], [1]),
]


@pytest.mark.parametrize(
    ("schema", "value"), [(schema, value) for schema, fits, _ in CASES for value in fits]
)
def test_a_value_fits(schema: Any, value: Any) -> None:
    assert compile_schema(schema)(value) is None


@pytest.mark.parametrize(("schema", "value"), [(schema, value) for schema, _, bad in CASES for value in bad])
def test_a_value_does_not_fit(schema: Any, value: Any) -> None:
    assert compile_schema(schema)(value) is not None


def test_the_place_and_the_rule_are_named() -> None:
    schema = {"properties": {"boxes": {"items": {"properties": {"x": {"minimum": 0}}}}}}
    assert compile_schema(schema)({"boxes": [{"x": 1}, {"x": -1}]}) == ".boxes[1].x: must be at least 0"


@pytest.mark.parametrize(
    "schema",
    [
        5,
        [],
        {"type": "thing"},
        {"unevaluatedProperties": False},
        {"minimum": "1"},
        {"pattern": "("},
        {"properties": []},
        {"items": [{"type": "integer"}]},
        {"$ref": "http://example.com/schema"},
        {"$ref": "#/$defs/nowhere"},
        {"anyOf": []},
        {"enum": 5},
        {"properties": {"a": {"tpye": "string"}}},
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaRefused):
        compile_schema(schema)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-5, 5)
    | st.sampled_from(["", "a", "ab", "n_a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "k", "n_a", "next"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from([schema for schema, _, _ in CASES]), VALUES)
def test_it_agrees_with_the_reference_implementation(schema: Any, value: Any) -> None:
    reference = pytest.importorskip("jsonschema")
    if isinstance(schema, dict) and "multipleOf" in str(schema):
        return  # floats are multiples of 0.1 within rounding here, and exactly there
    assert (compile_schema(schema)(value) is None) == reference.Draft202012Validator(schema).is_valid(value)
