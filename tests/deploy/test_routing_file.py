"""RoutingFile: whole or not at all, counted, kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.routing_file import RoutingFile


@pytest.fixture
def routing(tmp_path: Path) -> RoutingFile:
    return RoutingFile(tmp_path / "routing.json", tmp_path / "history", keep=3)


def read(routing: RoutingFile) -> dict[str, object]:
    return json.loads(routing.path.read_text())  # type: ignore[no-any-return]


def test_what_is_published_is_in_the_file_with_format_and_revision(routing: RoutingFile) -> None:
    assert routing.publish({"models": {}})
    assert read(routing) == {"format": 1, "revision": 1, "models": {}}


def test_the_same_again_writes_nothing(routing: RoutingFile) -> None:
    routing.publish({"models": {"a": [1]}})
    before = routing.path.stat().st_ino
    assert not routing.publish({"models": {"a": [1]}})
    assert routing.path.stat().st_ino == before


def test_each_change_is_a_revision_in_a_file_of_its_own(routing: RoutingFile) -> None:
    routing.publish({"models": {"a": 1}})
    first = routing.path.stat().st_ino
    routing.publish({"models": {"a": 2}})
    assert read(routing)["revision"] == 2
    assert routing.path.stat().st_ino != first


def test_a_change_to_the_callers_map_is_seen_as_a_change(routing: RoutingFile) -> None:
    body = {"models": {"a": [1]}}
    routing.publish(body)
    body["models"]["a"].append(2)
    assert routing.publish(body)


def test_the_last_revisions_are_kept_and_older_ones_are_not(routing: RoutingFile) -> None:
    for number in range(5):
        routing.publish({"models": number})
    history = routing.path.parent / "history"
    assert sorted(path.name for path in history.iterdir()) == [
        "00000003.json",
        "00000004.json",
        "00000005.json",
    ]
    assert json.loads((history / "00000004.json").read_text())["models"] == 3


def test_a_new_supervisor_counts_on_where_the_last_one_ended(routing: RoutingFile) -> None:
    routing.publish({"models": 1})
    again = RoutingFile(routing.path, routing.path.parent / "history")
    again.publish({"models": 1})
    assert read(again)["revision"] == 2


def test_a_broken_file_is_replaced_without_reusing_a_revision(routing: RoutingFile) -> None:
    routing.publish({"models": 1})
    routing.path.write_text('{"revi')
    again = RoutingFile(routing.path, routing.path.parent / "history")
    again.publish({"models": 2})
    assert read(again)["revision"] == 2


def test_a_failed_write_leaves_the_old_file(routing: RoutingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    routing.publish({"models": 1})

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("deploy.routing_file.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        routing.publish({"models": 2})
    assert read(routing)["models"] == 1
