"""Selectors become versions and params are checked before anything is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coordinator.directory import Directory
from coordinator.options import Entry, Options, options_of_map
from coordinator.plan import Plan, Planner, wrong_with
from coordinator.routing_file import parse_routing
from coordinator.violations import Violations
from crema.errors import CremaError
from tests.coordinator.conftest import PARAMS
from tests.coordinator.stub_tiers import card, model_row, version_row


def models() -> dict[str, Any]:
    tags = {
        "2.9": version_row([], card("tags", "2.9"), state="draining"),
        "3.1": version_row([], card("tags", "3.1", params=PARAMS)),
        "3.9": version_row([], card("tags", "3.9")),
        "3.10": version_row([], card("tags", "3.10")),
        "3.11": version_row([], card("tags", "3.11"), canary_percent=5),
        "4.0": version_row([], card("tags", "4.0"), canary_percent=0.0),
    }
    tensor = {"kind": "tensor", "shape": [4], "dtype": "float32"}
    return {
        "tags": model_row("3.1", tags, {"candidate": "3.11", "old": "2.9"}),
        "captions": model_row("1.0", {"1.0": version_row([], card("captions", "1.0", size=(8, 8)))}),
        "vectors": model_row("1.0", {"1.0": version_row([], card("vectors", "1.0", input=tensor))}),
    }


@pytest.fixture
async def directory() -> Directory:
    import json

    made = Directory(Path("nowhere.json"))
    body = {
        "format": 1,
        "revision": 1,
        "default_models": ["tags", "captions"],
        "preprocessors": [],
        "models": models(),
    }
    await made.apply(parse_routing(json.dumps(body).encode()))
    return made


@pytest.mark.parametrize(
    ("selector", "version"),
    [
        ("tags", "3.1"),
        ("tags@3", "3.10"),
        ("tags@2", "2.9"),
        ("tags@3.1", "3.1"),
        ("tags@3.11", "3.11"),
        ("tags@4.0", "4.0"),
        ("tags@candidate", "3.11"),
        ("tags@old", "2.9"),
    ],
)
async def test_a_selector_means_this_version(directory: Directory, selector: str, version: str) -> None:
    assert directory.resolve(selector).version_text == version


@pytest.mark.parametrize("selector", ["tagz", "tag", "Tags", "TAGS@3", "../tags", "caption", "x y"])
async def test_an_unknown_model_lists_what_there_is_closest_first(
    directory: Directory, selector: str
) -> None:
    with pytest.raises(CremaError) as caught:
        directory.resolve(selector)
    error = caught.value
    assert (error.code, error.status) == ("unknown_model", 404)
    assert error.extra["available"] == ["captions", "tags", "vectors"]
    assert all(type(each) is str for each in error.extra["did_you_mean"])
    if selector.lower().startswith("tag"):
        assert error.extra["did_you_mean"][0] == "tags"


@pytest.mark.parametrize(
    "selector",
    [
        "tags@9",
        "tags@4",
        "tags@9.9",
        "tags@3.2",
        "tags@canidate",
        "tags@",
        "tags@v3",
        "tags@03",
        "tags@3.1.1",
        "tags@@3",
        "tags@ 3",
        "tags@٣",
    ],
)
async def test_an_unknown_version_lists_what_there_is(directory: Directory, selector: str) -> None:
    with pytest.raises(CremaError) as caught:
        directory.resolve(selector)
    error = caught.value
    assert (error.code, error.status) == ("unknown_version", 404)
    assert error.extra["available"] == ["4.0", "3.11", "3.10", "3.9", "3.1", "2.9", "candidate", "old"]
    assert isinstance(error.extra["did_you_mean"], list)
    if selector == "tags@canidate":
        assert error.extra["did_you_mean"] == ["candidate"]


async def test_before_the_first_routing_nothing_is_unknown_only_not_ready() -> None:
    with pytest.raises(CremaError) as caught:
        Directory(Path("nowhere.json")).resolve("tags")
    assert (caught.value.code, caught.value.retry_after_ms) == ("not_ready", 1000)


def plan(directory: Directory, *entries: Entry, **options: Any) -> Plan:
    planner = Planner(directory)
    return planner.plan(planner.query(""), [Options(models=entries or None, **options)], Violations())


async def test_equal_input_specs_are_prepared_once(directory: Directory) -> None:
    made = plan(directory, Entry("tags", "a"), Entry("captions", "b"), Entry("tags@3.9", "c"))
    assert [each.spec for each in made.models] == [0, 1, 0]
    assert made.specs == (
        {"size": [4, 2], "fit": "cover", "filter": "bilinear"},
        {"size": [8, 8], "fit": "cover", "filter": "bilinear"},
    )


async def test_on_error_fail_requires_all(directory: Directory) -> None:
    assert [each.is_required for each in plan(directory, on_error="fail").models] == [True, True]
    assert [each.is_required for each in plan(directory).models] == [False, False]


async def test_a_tensor_model_is_not_reached_with_an_image(directory: Directory) -> None:
    with pytest.raises(CremaError, match="takes a tensor") as caught:
        plan(directory, Entry("tags", "tags"), Entry("vectors", "vectors"))
    assert caught.value.code == "invalid_request"
    assert caught.value.extra["errors"][0]["pointer"] == "/models/1"


async def test_all_wrong_params_of_all_models_are_listed(directory: Directory) -> None:
    with pytest.raises(CremaError) as caught:
        plan(
            directory,
            Entry("captions", "captions", {"max_words": 5}),
            Entry("tags", "tags", {"max_tag": 1, "max_tags": 0, "threshold": "x", "nested": True}),
        )
    found = {each["pointer"]: each["message"] for each in caught.value.extra["errors"]}
    assert list(found) == [
        "/models/0/params/max_words",
        "/models/1/params/max_tag",
        "/models/1/params/max_tags",
        "/models/1/params/threshold",
    ]
    assert "did you mean max_tags?" in found["/models/1/params/max_tag"]


async def test_an_unknown_model_alone_is_told_as_such(directory: Directory) -> None:
    with pytest.raises(CremaError) as caught:
        plan(directory, Entry("tags", "tags"), Entry("nosuch", "nosuch"), Entry("tags@9", "b"))
    assert caught.value.code == "unknown_model"


async def test_an_unknown_model_beside_other_mistakes_is_listed_with_them(directory: Directory) -> None:
    entries = (Entry("tags", "tags", {"nope": 1}), Entry("nosuch", "nosuch"), Entry("tags@9", "b"))
    violations = Violations()
    violations.add(("lane",), "is wrong")
    planner = Planner(directory)
    with pytest.raises(CremaError) as caught:
        planner.plan(planner.query("deadline_ms=x"), [Options(models=entries)], violations)
    assert caught.value.code == "invalid_request"
    assert [each["pointer"] for each in caught.value.extra["errors"]] == [
        "/lane",
        "/deadline_ms",
        "/models/0/params/nope",
        "/models/1",
        "/models/2",
    ]


async def test_params_are_checked_beside_every_other_mistake_of_an_entry(directory: Directory) -> None:
    violations = Violations()
    tags = {"model": "tags", "params": {"max_tags": 0}}
    broken = [5, "tags@", {**tags, "as": 3}, {**tags, "required": 1}, {**tags, "nope": 1}, tags, tags]
    source = options_of_map({"models": broken}, violations)
    planner = Planner(directory)
    with pytest.raises(CremaError) as caught:
        planner.plan(planner.query(""), [source], violations)
    found = [each["pointer"] for each in caught.value.extra["errors"]]
    assert found == [
        "/models/0",
        "/models/1",
        "/models/2/as",
        "/models/3/required",
        "/models/4/nope",
        "/models/4",
        "/models/5",
        "/models/6",
        *(f"/models/{index}/params/max_tags" for index in range(2, 7)),
    ]


async def test_an_unknown_model_in_a_body_that_the_query_overrides_does_not_matter(
    directory: Directory,
) -> None:
    planner = Planner(directory)
    made = planner.plan(
        planner.query("models=tags"), [Options(models=(Entry("nosuch", "nosuch"),))], Violations()
    )
    assert [each.key for each in made.models] == ["tags"]


async def test_a_query_is_refused_before_its_body_is_known_only_for_what_no_body_can_mend(
    directory: Directory,
) -> None:
    planner = Planner(directory)
    for query, code in (
        ("lane=x", "invalid_request"),
        ("models=tags@", "invalid_request"),
        ("models=nosuch", "unknown_model"),
        ("models=tags&required=captions", "invalid_request"),
    ):
        with pytest.raises(CremaError) as caught:
            planner.check(planner.query(query))
        assert caught.value.code == code
    for query in ("", "models=tags", "required=mine", "deadline_ms=100"):
        planner.check(planner.query(query))


async def test_the_plan_of_a_query_is_kept_until_the_routing_changes(directory: Directory) -> None:
    planner = Planner(directory)

    def made() -> Plan:
        return planner.plan(planner.query("models=tags"), [], Violations())

    first = made()
    assert made() is first
    directory.revision += 1
    assert made() is not first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tags", 1),
        ("max_tags", 100),
        ("threshold", 0),
        ("threshold", 0.25),
        ("threshold", 1),
        ("nested", True),
        ("style", "rich"),
        ("note", ""),
        ("note", "12345678"),
    ],
)
def test_these_params_are_taken(name: str, value: Any) -> None:
    assert wrong_with(value, PARAMS[name]) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tags", 0),
        ("max_tags", 101),
        ("max_tags", True),
        ("max_tags", 5.0),
        ("max_tags", "5"),
        ("max_tags", None),
        ("threshold", -0.1),
        ("threshold", 1.01),
        ("threshold", float("nan")),
        ("threshold", float("inf")),
        ("threshold", False),
        ("threshold", "0.5"),
        ("nested", 1),
        ("nested", 0.0),
        ("nested", "true"),
        ("style", "bold"),
        ("style", 3),
        ("note", "123456789"),
        ("note", ["a"]),
        ("note", None),
    ],
)
def test_these_params_are_refused(name: str, value: Any) -> None:
    assert wrong_with(value, PARAMS[name]) is not None


def test_a_param_without_bounds_still_fits_the_wire() -> None:
    free = {"type": "integer", "default": 0, "minimum": None, "maximum": None}
    assert wrong_with(2**62, free) is None
    assert wrong_with(2**63, free) is not None
    assert wrong_with(1e300, {"type": "number", "default": 0.0}) is None
