"""A routing file is taken whole or refused whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.routing_file import RoutingError, parse_routing, read_routing
from tests.coordinator.stub_tiers import card, model_row, version_row


def routing(**changes: Any) -> dict[str, Any]:
    rows = {"3.1": version_row(["127.0.0.1:7000"], card("tags", "3.1"))}
    models = {"tags": model_row("3.1", rows, {"candidate": "3.1"})}
    return {
        "format": 1,
        "revision": 17,
        "default_models": ["tags"],
        "preprocessors": ["127.0.0.1:7002"],
        "models": models,
        **changes,
    }


def parse(value: Any) -> Any:
    return parse_routing(json.dumps(value).encode())


def test_a_routing_is_read_and_unknown_members_are_left_for_later_releases() -> None:
    found = parse(routing(something_new=1))
    assert (found.revision, found.default_models, found.preprocessors) == (17, ("tags",), ("127.0.0.1:7002",))
    assert found.models["tags"].versions["3.1"].replicas == ("127.0.0.1:7000",)


def with_version(name: str = "3.1", **more: Any) -> dict[str, Any]:
    return {"tags": model_row(name, {name: {**version_row([], card("tags", name)), **more}})}


@pytest.mark.parametrize(
    "broken",
    [
        {"format": 2},
        {"revision": "one"},
        {"models": []},
        {"preprocessors": ["7000"]},
        {"preprocessors": ["host:0"]},
        {"preprocessors": ["host:99999"]},
        {"models": {"Tags": model_row("3.1", {"3.1": version_row([], card("tags", "3.1"))})}},
        {"models": {"tags": model_row("3.2", {"3.1": version_row([], card("tags", "3.1"))})}},
        {"models": {"tags": model_row("3.1", {"3.1": version_row([], card("tags", "3.1"))}, {"new": "9.9"})}},
        {"models": {"tags": model_row("3.1", {"3.1": version_row([], card("tags", "3.1"))}, {"3": "3.1"})}},
        {"models": with_version("3.01")},
        {"models": with_version(state="busy")},
        {"models": with_version(wanted="two")},
        {"models": with_version(card={})},
        {"models": with_version(card={"input": {"kind": "sound"}})},
        {"models": with_version(replicas=["nowhere"])},
    ],
    ids=repr,
)
def test_a_broken_routing_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(RoutingError):
        parse(routing(**broken))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"format": 1}'])
def test_what_is_no_routing_is_refused(data: bytes) -> None:
    with pytest.raises(RoutingError):
        parse_routing(data)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RoutingError, match=r"routing\.json cannot be read"):
        read_routing(tmp_path / "routing.json")
