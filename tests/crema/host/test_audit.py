"""Each admin call leaves exactly one record, however it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crema.host.audit import Audit


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_call_leaves_who_what_when_and_its_result(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with Audit(path).call("keys.new", name="app") as record:
        record["id"] = "abc"
    [found] = records(path)
    assert found.pop("at") and found.pop("who")
    assert found == {"action": "keys.new", "name": "app", "id": "abc", "result": "ok"}


def test_a_call_that_fails_leaves_its_record_too(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with pytest.raises(ValueError), Audit(path).call("release", package="tags@3.2"):
        raise ValueError("the golden answers differ\nmore")
    [found] = records(path)
    assert found["result"] == "failed: the golden answers differ"


def test_records_are_only_added_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(3):
        with Audit(path).call("promote", number=number):
            pass
    assert [record["number"] for record in records(path)] == [0, 1, 2]
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_call_is_made_that_cannot_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    made = False
    with pytest.raises(OSError), Audit(tmp_path / "audit.jsonl").call("keys.new"):
        made = True
    assert not made
