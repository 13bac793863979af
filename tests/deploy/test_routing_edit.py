"""Release verbs on a routing file without a supervisor: each is one atomic revision, and one step back undoes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.routing_file import read_routing
from crema.host.manifest import load_manifest
from deploy.pointers import ReleaseRefused
from deploy.routing_edit import RoutingEdit
from tests.deploy.toy_cluster import write_package


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for version in ("1.0", "1.1"):
        write_package(tmp_path, "toy", version)
    path = tmp_path / "routing.json"
    path.write_text(
        json.dumps({"format": 1, "revision": 1, "models": {}, "preprocessors": ["dns://preprocessor:7000"]})
    )
    release(path, "1.0")
    return path


def release(file: Path, version: str, percent: float | None = None) -> dict[str, Any]:
    return RoutingEdit(file).release(load_manifest(file.parent / "model_packages" / "toy" / version), percent)


def toy(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes())["models"]["toy"]  # type: ignore[no-any-return]


def shares(file: Path) -> dict[str, float | None]:
    return {version: row["canary_percent"] for version, row in toy(file)["versions"].items()}


def test_a_coordinator_reads_what_every_verb_writes(file: Path) -> None:
    release(file, "1.1", 5.0)
    assert read_routing(file).models["toy"].versions["1.1"].canary_percent == 5.0
    RoutingEdit(file).promote("toy", "1.1")
    assert read_routing(file).models["toy"].default == "1.1"
    RoutingEdit(file).retire("toy", "1.0")
    RoutingEdit(file).rollback("toy")
    routing = read_routing(file)
    assert list(routing.models["toy"].versions) == ["1.0", "1.1"]
    assert routing.preprocessors == ("dns://preprocessor:7000",)


def test_replicas_are_found_by_the_name_of_the_versions_service(file: Path) -> None:
    assert toy(file)["versions"]["1.0"]["replicas"] == ["dns://toy-1-0:7000"]


def test_each_verb_is_one_revision_that_is_kept(file: Path) -> None:
    revision = json.loads(file.read_bytes())["revision"]
    release(file, "1.1", 5.0)
    assert RoutingEdit(file).promote("toy", "1.1")["revision"] == revision + 2
    kept = sorted(each.name for each in (file.parent / "routing.json.history").iterdir())
    assert kept[-1] == f"{revision + 2:08d}.json"


def test_one_step_back_brings_a_retired_version_with_its_replicas(file: Path) -> None:
    release(file, "1.1")
    RoutingEdit(file).promote("toy", "1.1")
    before = toy(file)
    RoutingEdit(file).retire("toy", "1.0")
    assert list(shares(file)) == ["1.1"]
    RoutingEdit(file).rollback("toy")
    assert toy(file) == before


def test_a_file_that_was_changed_by_hand_has_no_step_back(file: Path) -> None:
    release(file, "1.1", 5.0)
    written = json.loads(file.read_bytes())
    written["models"]["toy"]["versions"]["1.1"]["canary_percent"] = 50
    file.write_text(json.dumps(written))
    with pytest.raises(ReleaseRefused, match="no state before"):
        RoutingEdit(file).rollback("toy")
    assert shares(file)["1.1"] == 50


def test_what_is_refused_leaves_the_file_as_it_is(file: Path) -> None:
    before = file.read_bytes()
    for verb in (
        lambda: RoutingEdit(file).promote("toy", "9.9"),
        lambda: RoutingEdit(file).retire("toy", "1.0"),
        lambda: RoutingEdit(file).rollback("other"),
    ):
        with pytest.raises(ReleaseRefused):
            verb()
    assert file.read_bytes() == before


def test_what_is_no_routing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("models: {}\n")
    with pytest.raises(ReleaseRefused, match="not a routing file"):
        RoutingEdit(tmp_path / "cluster.yaml")
