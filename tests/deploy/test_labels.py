"""A label moves only onto a version that is ready."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.labels import with_settled_labels
from deploy.routing_file import RoutingFile

READY = {"state": "ready", "replicas": ["127.0.0.1:7000"]}
STARTING = {"state": "starting", "replicas": []}


def body(candidate: str, **versions: Any) -> dict[str, Any]:
    rows = {name.replace("_", "."): row for name, row in versions.items()}
    return {"models": {"tags": {"default": "3.1", "labels": {"candidate": candidate}, "versions": rows}}}


def candidate(found: dict[str, Any]) -> str:
    return str(found["models"]["tags"]["labels"]["candidate"])


BEFORE = body("3.1", **{"3_1": READY})


def test_a_label_waits_for_its_new_version_and_then_moves() -> None:
    waiting = with_settled_labels(body("3.2", **{"3_1": READY, "3_2": STARTING}), BEFORE)
    assert candidate(waiting) == "3.1"
    assert candidate(with_settled_labels(body("3.2", **{"3_1": READY, "3_2": READY}), waiting)) == "3.2"


def test_a_label_that_is_new_or_whose_version_is_gone_does_not_wait() -> None:
    starting = body("3.2", **{"3_1": READY, "3_2": STARTING})
    assert candidate(with_settled_labels(starting, None)) == "3.2"
    assert candidate(with_settled_labels(starting, {"models": {}})) == "3.2"
    assert candidate(with_settled_labels(body("3.2", **{"3_2": STARTING}), BEFORE)) == "3.2"


def test_a_label_stays_where_it_was_across_a_restart(tmp_path: Path) -> None:
    path, history = tmp_path / "routing.json", tmp_path / "history"
    RoutingFile(path, history).publish(BEFORE)
    again = RoutingFile(path, history)
    again.publish(body("3.2", **{"3_1": STARTING, "3_2": STARTING}))
    assert candidate(json.loads(path.read_bytes())) == "3.1"
    again.publish(body("3.2", **{"3_1": READY, "3_2": READY}))
    assert candidate(json.loads(path.read_bytes())) == "3.2"
