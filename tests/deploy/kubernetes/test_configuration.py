"""The ConfigMaps: a routing that coordinators read, and the cluster file as it was."""

from __future__ import annotations

from pathlib import Path

from coordinator.routing_file import parse_routing
from deploy.kubernetes.configuration import routing_text
from tests.deploy.kubernetes.site import CLUSTER, cluster, rendered


def test_a_coordinator_reads_the_routing(tmp_path: Path) -> None:
    routing = parse_routing(routing_text(cluster(tmp_path)).encode())
    tags = routing.models["tags"]
    assert (tags.default, tags.labels) == ("3.1", {"candidate": "3.2"})
    assert tags.versions["3.1"].wanted == 2
    assert tags.versions["3.2"].canary_percent == 5
    assert tags.versions["3.1"].card["name"] == "tags"
    assert routing.default_models == ("tags",)


def test_every_name_in_the_routing_is_that_of_a_headless_service(tmp_path: Path) -> None:
    found = cluster(tmp_path)
    routing = parse_routing(routing_text(found).encode())
    named = {*routing.preprocessors}
    for model in routing.models.values():
        for version in model.versions.values():
            named.update(version.replicas)
    headless = {
        f"dns://{name}:7000"
        for (kind, name), each in rendered(found).items()
        if kind == "Service" and each["spec"].get("clusterIP") == "None"
    }
    assert named == headless


def test_another_routing_has_another_revision(tmp_path: Path) -> None:
    one = parse_routing(routing_text(cluster(tmp_path / "a")).encode())
    same = parse_routing(routing_text(cluster(tmp_path / "b")).encode())
    other = parse_routing(routing_text(cluster(tmp_path / "c", CLUSTER.replace("5%", "50%"))).encode())
    assert one.revision == same.revision != other.revision


def test_a_changed_routing_changes_nothing_else(tmp_path: Path) -> None:
    promoted = CLUSTER.replace('default: "3.1"', 'default: "3.2"').replace(", canary: 5%", "")
    one = rendered(cluster(tmp_path / "a"))
    other = rendered(cluster(tmp_path / "b", promoted))
    changed = {key for key in one if one[key] != other[key]}
    assert changed == {("ConfigMap", "crema-routing"), ("ConfigMap", "crema-cluster")}


def test_the_cluster_file_is_kept_as_it_was(tmp_path: Path) -> None:
    found = cluster(tmp_path)
    assert rendered(found)["ConfigMap", "crema-cluster"]["data"] == {
        "cluster.yaml": (tmp_path / "cluster.yaml").read_text()
    }
