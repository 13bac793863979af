"""The options of a call, from the query, from form fields and from the JSON form."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.options import (
    MAX_MODELS,
    CallOptions,
    Entry,
    Options,
    combine,
    options_of_field,
    options_of_map,
    options_of_query,
    options_of_texts,
)
from coordinator.violations import Violations
from crema.errors import CremaError

DEFAULTS = ("tags", "captions")


def found(violations: Violations) -> list[str]:
    """The pointers of what was noted."""
    return [each["pointer"] for each in violations.error().extra["errors"]] if violations else []


def of_map(**members: Any) -> tuple[Options, list[str]]:
    violations = Violations()
    return options_of_map(members, violations), found(violations)


def of_query(query: str) -> tuple[Options, list[str]]:
    violations = Violations()
    return options_of_query(query, violations), found(violations)


def combined(*sources: Options, defaults: tuple[str, ...] = DEFAULTS) -> tuple[CallOptions, list[str]]:
    violations = Violations()
    return combine(list(sources), defaults, violations), found(violations)


# -- the JSON form -------------------------------------------------------------------------------------------------


def test_entries_are_selectors_or_maps() -> None:
    options, wrong = of_map(
        models=["tags@3", {"model": "captions@1.4", "as": "caption", "params": {"n": 1}, "required": True}]
    )
    assert options.models == (Entry("tags@3", "tags@3"), Entry("captions@1.4", "caption", {"n": 1}, True))
    assert wrong == []


def test_a_map_without_options_says_nothing() -> None:
    assert of_map() == (Options(), [])


@pytest.mark.parametrize(
    ("models", "wrong"),
    [
        ([], ["/models"]),
        ("tags", ["/models"]),
        (None, ["/models"]),
        ({"model": "tags"}, ["/models"]),
        ([1], ["/models/0"]),
        ([None], ["/models/0"]),
        ([["tags"]], ["/models/0"]),
        ([""], ["/models/0"]),
        (["tags\n"], ["/models/0"]),
        (["x" * 129], ["/models/0"]),
        ([{}], ["/models/0/model"]),
        ([{"model": 3}], ["/models/0/model"]),
        ([{"model": ""}], ["/models/0/model"]),
        ([{"model": "tags", "as": ""}], ["/models/0/as"]),
        ([{"model": "tags", "as": None}], ["/models/0/as"]),
        ([{"model": "tags", "as": "x" * 129}], ["/models/0/as"]),
        ([{"model": "tags", "params": []}], ["/models/0/params"]),
        ([{"model": "tags", "params": None}], ["/models/0/params"]),
        ([{"model": "tags", "required": 1}], ["/models/0/required"]),
        ([{"model": "tags", "requird": True}], ["/models/0/requird"]),
        ([{"model": "tags", "a/b": 1, "c~d": 1}], ["/models/0/a~1b", "/models/0/c~0d"]),
        (["tags", "tags"], ["/models/1"]),
        (["tags", {"model": "captions", "as": "tags"}], ["/models/1"]),
        ([1, {"model": 2}, "tags", "tags"], ["/models/0", "/models/1/model", "/models/3"]),
        (["a"] * (MAX_MODELS + 1), ["/models"]),
    ],
    ids=repr,
)
def test_wrong_models_are_noted_where_they_stand(models: Any, wrong: list[str]) -> None:
    assert of_map(models=models)[1] == wrong


def test_the_same_model_may_be_asked_twice_under_two_keys() -> None:
    assert of_map(models=["tags", {"model": "tags", "as": "again"}])[1] == []


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2000, 2000.0),
        (2000.5, 2000.5),
        (1, 50.0),
        (0.001, 50.0),
        (50, 50.0),
        (25_000, 25_000.0),
        (25_001, 25_000.0),
        (1e308, 25_000.0),
        (10**300, 25_000.0),
    ],
)
def test_a_finite_positive_deadline_is_clamped(value: Any, kept: float) -> None:
    assert of_map(deadline_ms=value) == (Options(deadline_ms=kept), [])


@pytest.mark.parametrize(
    "value", [0, -1, -0.0, float("nan"), float("inf"), float("-inf"), True, False, None, "2000", [], {}]
)
def test_any_other_deadline_is_noted(value: Any) -> None:
    assert of_map(deadline_ms=value)[1] == ["/deadline_ms"]


@pytest.mark.parametrize(
    ("name", "good"), [("lane", ["interactive", "bulk"]), ("on_error", ["partial", "fail"])]
)
def test_choices_are_closed(name: str, good: list[str]) -> None:
    for value in good:
        assert of_map(**{name: value}) == (Options(**{name: value}), [])  # type: ignore[arg-type]
    for bad in (good[0].upper(), "", None, 1, [good[0]], good[0] + " "):
        assert of_map(**{name: bad})[1] == [f"/{name}"]


@pytest.mark.parametrize("value", ["tags", None, [1], {"tags": True}])
def test_required_in_json_is_a_list_of_keys(value: Any) -> None:
    assert of_map(required=value)[1] == ["/required"]
    assert of_map(required=["tags"]) == (Options(required=("tags",)), [])


# -- texts ---------------------------------------------------------------------------------------------------------


def test_a_query_says_the_same_as_the_json_form() -> None:
    options, wrong = of_query(
        "models=tags%403,captions&deadline_ms=2000.5&lane=bulk&on_error=fail&required=captions"
    )
    assert wrong == []
    assert options == Options(
        (Entry("tags@3", "tags@3"), Entry("captions", "captions")), 2000.5, "bulk", "fail", ("captions",)
    )


@pytest.mark.parametrize(
    "query",
    [
        "models=tags@3,captions",
        "models=tags%403%2Ccaptions",
        "models=tags%403,+captions",
        "models=%20tags@3%20,captions",
    ],
)
def test_models_are_separated_by_commas_however_they_are_encoded(query: str) -> None:
    options, wrong = of_query(query)
    assert options.models is not None
    assert ([each.key for each in options.models], wrong) == (["tags@3", "captions"], [])


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("model=tags", ["/model"]),
        ("models=", ["/models"]),
        ("models", ["/models"]),
        ("models=tags,,captions", ["/models/1"]),
        ("models=tags,tags", ["/models/1"]),
        ("models=tags&models=captions", ["/models"]),
        ("deadline_ms=nan", ["/deadline_ms"]),
        ("deadline_ms=inf", ["/deadline_ms"]),
        ("deadline_ms=", ["/deadline_ms"]),
        ("deadline_ms=-5", ["/deadline_ms"]),
        ("deadline_ms=1_000", ["/deadline_ms"]),
        ("deadline_ms=0x10", ["/deadline_ms"]),
        ("deadline_ms=1e999", ["/deadline_ms"]),
        ("deadline_ms=%D9%A1%D9%A2%D9%A3", ["/deadline_ms"]),
        ("deadline_ms=2000ms", ["/deadline_ms"]),
        ("lane=fast", ["/lane"]),
        ("on_error=ignore", ["/on_error"]),
        ("params=1", ["/params"]),
        ("image=x", ["/image"]),
        ("options={}", ["/options"]),
        ("a~b/c=1", ["/a~0b~1c"]),
        ("models=%ff", [""]),
        ("models=%zz", [""]),
        ("models=tags%4", [""]),
        ("models=tags%", [""]),
        ("&".join(f"x{n}=1" for n in range(101)), [""]),
        ("modles=tags&lane=fast&deadline_ms=x", ["/modles", "/deadline_ms", "/lane"]),
    ],
)
def test_wrong_queries_are_noted_as_pointers_into_the_json_form(query: str, wrong: list[str]) -> None:
    assert of_query(query)[1] == wrong


@pytest.mark.parametrize(
    ("text", "kept"), [("2000", 2000.0), (" 2e3 ", 2000.0), ("+60.5", 60.5), (".5", 50.0), ("1e99", 25_000.0)]
)
def test_a_deadline_may_be_any_decimal_number(text: str, kept: float) -> None:
    assert options_of_texts({"deadline_ms": text}, Violations()).deadline_ms == kept


def test_an_empty_required_requires_nothing() -> None:
    assert of_query("required=") == (Options(required=()), [])


def test_the_field_options_is_the_json_map() -> None:
    violations = Violations()
    options = options_of_field(
        '{"models": [{"model": "tags", "params": {"a": 1}}], "lane": "bulk"}', violations
    )
    assert options.models == (Entry("tags", "tags", {"a": 1}),)
    assert not violations


def test_an_image_inside_the_field_options_is_unknown() -> None:
    violations = Violations()
    options_of_field('{"image": {"base64": ""}}', violations)
    assert found(violations) == ["/image"]


def test_a_field_options_that_is_not_json_is_invalid_json() -> None:
    with pytest.raises(CremaError, match="the field `options`") as caught:
        options_of_field('{"lane": "bulk", "lane": "bulk"}', Violations())
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("text", ["[1]", "5", "null", '"lane"'])
def test_a_field_options_that_is_json_but_no_object_is_an_invalid_request(text: str) -> None:
    violations = Violations()
    assert options_of_field(text, violations) == Options()
    assert found(violations) == ["/options"]


# -- several sources -----------------------------------------------------------------------------------------------


def test_nothing_said_means_the_defaults() -> None:
    options, _ = combined(Options())
    assert options == CallOptions(
        (Entry("tags", "tags"), Entry("captions", "captions")), 5000.0, "interactive", "partial"
    )


def test_the_first_source_that_says_something_wins() -> None:
    query = Options(models=(Entry("tags", "tags"),), deadline_ms=100.0)
    body = Options(models=(Entry("captions", "captions"),), deadline_ms=200.0, lane="bulk", on_error="fail")
    assert combined(query, body)[0] == CallOptions((Entry("tags", "tags"),), 100.0, "bulk", "fail")


def test_no_models_and_no_default_models_is_noted() -> None:
    assert combined(Options(), defaults=())[1] == ["/models"]


def test_required_marks_entries_beside_their_own_word() -> None:
    models = (Entry("tags", "tags"), Entry("captions", "c", is_required=True))
    options, wrong = combined(Options(models=models, required=("tags",)))
    assert ([each.is_required for each in options.models], wrong) == ([True, True], [])


def test_a_querys_required_decides_alone_over_a_body() -> None:
    body = Options(models=(Entry("tags", "tags"), Entry("captions", "c", is_required=True)))
    options, _ = combined(Options(required=("tags",)), body)
    assert [each.is_required for each in options.models] == [True, False]


def test_required_can_name_a_default_model() -> None:
    options, wrong = combined(Options(required=("captions",)))
    assert ([each.is_required for each in options.models], wrong) == ([False, True], [])


def test_a_required_key_that_was_not_asked_for_is_noted() -> None:
    assert combined(Options(models=(Entry("captions@1", "c"),), required=("captions@1",)))[1] == ["/required"]
    assert combined(Options(required=("tag",)))[1] == ["/required"]


# -- selectors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selector",
    [
        "tags@",
        "@1",
        "@",
        "tags@1@2",
        "tags@@1",
        "tags@01",
        "tags@3.1.1",
        "tags@3.",
        "tags@ 3",
        "tags@Old",
        "tags@٣",
    ],
)
def test_a_malformed_selector_is_noted_with_the_accepted_forms(selector: str) -> None:
    violations = Violations()
    options_of_map({"models": ["aesthetics", selector, {"model": selector}]}, violations)
    errors = violations.error().extra["errors"]
    assert [each["pointer"] for each in errors] == ["/models/1", "/models/2/model"]
    assert all("NAME@MAJOR.MINOR or NAME@LABEL" in each["message"] for each in errors)


@pytest.mark.parametrize("selector", ["Tags", "TAGS@3", "../tags", "x y", "tags@3", "tags@v3", "tags@0.0"])
def test_a_name_that_no_model_has_is_not_malformed(selector: str) -> None:
    assert of_map(models=[selector])[1] == []


def test_a_required_key_is_checked_beside_other_mistakes_unless_a_key_could_not_be_read() -> None:
    violations = Violations()
    source = options_of_map({"models": [{"model": "tags", "x": 1}], "required": ["tag"]}, violations)
    combine([source], DEFAULTS, violations)
    assert found(violations) == ["/models/0/x", "/required"]
    violations = Violations()
    source = options_of_map({"models": [{"model": "tags", "as": 1}], "required": ["tag"]}, violations)
    combine([source], DEFAULTS, violations)
    assert found(violations) == ["/models/0/as"]
