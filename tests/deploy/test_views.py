"""The routing file's body and the status document, from children that are only pretended."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crema.host.config import load_cluster, resolve_cluster
from deploy.autoscaler import Decision, Sample
from deploy.child import Child
from deploy.health import Health, Part
from deploy.release_book import ReleaseBook
from deploy.routing_view import routing_body
from deploy.scaling import Said
from deploy.status_view import status_document
from deploy.version import ServedVersion
from tests.deploy.toy_cluster import resolved, write_package


def child(state: str = "ready", pid: int | None = 7, port: int = 4000, problem: str | None = None) -> Child:
    health = Health(state == "ready", state, None, (Part(70, "ready"),)) if pid is not None else None
    return cast(
        Child,
        SimpleNamespace(
            state=state,
            pid=pid,
            is_ready=state == "ready",
            ports={"channel": port, "http": port + 1} if pid is not None else {},
            problem=problem,
            health=health,
            starts=3,
        ),
    )


@pytest.fixture
def served(tmp_path: Path) -> ServedVersion:
    write_package(tmp_path, "toy")
    cluster = resolved(tmp_path, 'models: {toy: {labels: {next: "1.0"}, versions: {"1.0": {replicas: 2}}}}\n')
    model = cluster.models["toy"]
    return ServedVersion("toy", model.versions[0])


@pytest.fixture
def book(tmp_path: Path, served: ServedVersion) -> ReleaseBook:
    return ReleaseBook(resolve_cluster(load_cluster(tmp_path / "cluster.yaml")), None)


def routed(served: ServedVersion, book: ReleaseBook) -> Any:
    body = routing_body(["toy"], [child(port=5000), child("starting", port=5002)], [served], book)
    return json.loads(json.dumps(body))


def test_only_ready_replicas_and_preprocessors_are_routed_to(
    served: ServedVersion, book: ReleaseBook
) -> None:
    served.replicas = [child(port=4000), child("busy", port=4002), child("starting", None)]
    body = routed(served, book)
    assert body["preprocessors"] == ["127.0.0.1:5000"]
    assert body["models"]["toy"]["versions"]["1.0"]["replicas"] == ["127.0.0.1:4000"]


def test_where_metrics_are_is_told_of_all_that_listen(served: ServedVersion, book: ReleaseBook) -> None:
    served.replicas = [child(port=4000), child("starting", port=4002), child("starting", None)]
    body = routed(served, book)
    assert body["preprocessors_http"] == ["127.0.0.1:5001", "127.0.0.1:5003"]
    assert body["models"]["toy"]["versions"]["1.0"]["http"] == ["127.0.0.1:4001", "127.0.0.1:4003"]


def test_a_model_carries_default_labels_and_its_card(served: ServedVersion, book: ReleaseBook) -> None:
    body = routed(served, book)
    model = body["models"]["toy"]
    assert (body["default_models"], model["default"], model["labels"]) == (["toy"], "1.0", {"next": "1.0"})
    assert model["versions"]["1.0"]["card"]["input"] == {"kind": "tensor", "shape": [4], "dtype": "float32"}
    assert model["versions"]["1.0"]["wanted"] == 2


@pytest.mark.parametrize(
    ("states", "version", "in_file"),
    [
        ([], "starting", "starting"),
        (["starting", "starting"], "starting", "starting"),
        (["ready", "starting"], "degraded", "ready"),
        (["ready", "ready"], "ready", "ready"),
        (["failed", "starting"], "failed", "failed"),
        (["failed", "ready"], "degraded", "ready"),
    ],
)
def test_a_versions_state_follows_from_its_replicas(
    served: ServedVersion, book: ReleaseBook, states: list[str], version: str, in_file: str
) -> None:
    served.replicas = [child(state, problem="no weights") for state in states]
    entry = routed(served, book)["models"]["toy"]["versions"]["1.0"]
    assert (served.state, entry["state"]) == (version, in_file)
    assert entry["problem"] == ("no weights" if version == "failed" else None)


def test_a_version_that_cannot_be_started_has_failed_for_that_reason(
    served: ServedVersion, book: ReleaseBook
) -> None:
    served.problem = "has no lock"
    assert (served.state, served.shown_problem, served.is_settled) == ("failed", "has no lock", True)


def test_what_the_autoscaler_wants_and_why_stands_beside_the_version(
    served: ServedVersion, book: ReleaseBook
) -> None:
    served.scaled_to = 3
    said = Said(Decision(3, "429s: 1 replica refused 67 %", 3), Sample(0.0, 10, 20, 1.0, 1), None)
    document = status(served, book, scaling={"toy@1.0": said, "preprocessor": said})
    [version] = document["models"]
    assert (version["replicas"], version["wanted"], version["why"]) == (3, 3, "429s: 1 replica refused 67 %")
    assert version["window"]["offered"] == 30
    assert document["preprocessor"]["wanted"] == 3


def test_replicas_that_leave_are_listed_as_draining(served: ServedVersion, book: ReleaseBook) -> None:
    served.replicas = [child()]
    document = status(served, book, leaving={cast(Child, Leaver(8)): served, cast(Child, Leaver(9)): None})
    draining = [
        (row["tier"], row.get("model"), row["pid"])
        for row in document["processes"]
        if row["state"] == "draining"
    ]
    assert draining == [("minion", "toy", 8), ("preprocessor", None, 9)]


class Leaver:
    """A child that may be the key of a dictionary."""

    state, ports, problem, health, starts = "ready", {"http": 1}, None, None, 1

    def __init__(self, pid: int) -> None:
        self.pid = pid


def status(served: ServedVersion, book: ReleaseBook, **more: Any) -> dict[str, Any]:
    return status_document(
        cluster="/c/cluster.yaml",
        state="ready",
        urls={},
        coordinators=[],
        preprocessors=[child()],
        versions=[served],
        book=book,
        **more,
    )


def test_workers_and_decoders_are_listed_after_the_process_that_has_them(
    served: ServedVersion, book: ReleaseBook
) -> None:
    served.replicas = [child(pid=8)]
    rows = [(row["tier"], row.get("role"), row["pid"]) for row in status(served, book)["processes"][1:]]
    assert rows == [
        ("preprocessor", None, 7),
        ("preprocessor", "decoder", 70),
        ("minion", "host", 8),
        ("minion", "worker", 70),
    ]


def test_a_process_between_two_starts_is_listed_without_a_pid(
    served: ServedVersion, book: ReleaseBook
) -> None:
    served.replicas = [child("starting", None, problem="killed by SIGKILL")]
    row = status(served, book)["processes"][-1]
    assert (row["state"], row["pid"], row["ports"], row["restarts"]) == ("starting", None, {}, 2)
    assert row["problem"] == "killed by SIGKILL"


def test_models_are_listed_with_counts_and_the_reason_for_what_is_missing(
    served: ServedVersion, book: ReleaseBook
) -> None:
    served.replicas = [child(), child("starting", None, problem="killed by SIGKILL")]
    served.profile = "cpu"
    assert status(served, book)["models"] == [
        {
            "model": "toy",
            "version": "1.0",
            "state": "degraded",
            "replicas": 2,
            "ready": 1,
            "default": True,
            "canary_percent": None,
            "gets": "default",
            "labels": ["next"],
            "profile": "cpu",
            "problem": "killed by SIGKILL",
        }
    ]
