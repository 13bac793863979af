"""The two tiers that every cluster has: coordinators and preprocessors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kubernetes.site import CLUSTER, cluster, rendered

Found = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return rendered(cluster(tmp_path_factory.mktemp("site")))


def container_of(found: Found, name: str) -> dict[str, Any]:
    (container,) = found["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_each_tier_has_all_that_belongs_to_it(found: Found) -> None:
    shared = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    assert {kind for kind, name in found if name == "coordinator"} == {*shared, "HorizontalPodAutoscaler"}
    assert {kind for kind, name in found if name == "preprocessor"} == {*shared, "ScaledObject"}


def test_there_are_always_two_coordinators_at_least(found: Found) -> None:
    spec = found["HorizontalPodAutoscaler", "coordinator"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 8)


def test_more_processes_on_one_machine_are_more_pods_here(tmp_path: Path) -> None:
    more = 'coordinator: {listen: "127.0.0.1:0", operations: "127.0.0.1:0", processes: 3}\n' + CLUSTER
    found = rendered(cluster(tmp_path, more))
    assert found["HorizontalPodAutoscaler", "coordinator"]["spec"]["minReplicas"] == 3
    arguments = container_of(found, "coordinator")["args"]
    assert arguments[arguments.index("--processes") + 1] == "3"


def test_only_the_public_port_has_a_service(found: Found) -> None:
    assert found["Service", "coordinator"]["spec"]["ports"] == [
        {"name": "http", "port": 80, "targetPort": "public", "protocol": "TCP"}
    ]


def test_a_coordinator_is_sent_callers_whatever_one_model_lacks(found: Found) -> None:
    container = container_of(found, "coordinator")
    assert container["readinessProbe"]["httpGet"] == {"path": "/servez", "port": "operations"}


def test_figures_are_read_only_from_where_prometheus_runs(tmp_path: Path) -> None:
    found = rendered(cluster(tmp_path), monitoring_namespace="watchers")
    public, operations = found["NetworkPolicy", "coordinator"]["spec"]["ingress"]
    assert public == {"ports": [{"port": 8000, "protocol": "TCP"}]}
    (peer,) = operations["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "watchers"}


def test_secrets_are_named_and_must_be_there(found: Found) -> None:
    for name in ("coordinator", "preprocessor", "tags-3-1"):
        (token,) = (
            each["valueFrom"]["secretKeyRef"]
            for each in container_of(found, name)["env"]
            if each["name"] == "CREMA_CLUSTER_TOKEN"
        )
        assert token == {"name": "crema-cluster-token", "key": "token", "optional": False}
    pod = found["Deployment", "coordinator"]["spec"]["template"]["spec"]
    (keys,) = (each["secret"] for each in pod["volumes"] if each["name"] == "keys")
    assert keys == {"secretName": "crema-api-keys", "defaultMode": 0o440, "optional": False}


def test_an_insecure_cluster_needs_no_secrets_and_says_so_to_every_tier(tmp_path: Path) -> None:
    found = rendered(cluster(tmp_path, "insecure: true\n" + CLUSTER))
    for name in ("coordinator", "preprocessor", "tags-3-1"):
        container = container_of(found, name)
        assert "--insecure" in container["args"]
        assert container["env"][0]["valueFrom"]["secretKeyRef"]["optional"] is True


def test_configuration_is_mounted_as_folders_because_single_files_never_change(found: Found) -> None:
    mounts = container_of(found, "coordinator")["volumeMounts"]
    assert [each["mountPath"] for each in mounts] == ["/tmp", "/etc/crema/routing", "/etc/crema/keys"]
    assert not [each for each in mounts if "subPath" in each]


def test_a_preprocessor_asks_for_a_core_and_a_gigabyte_per_decoder(found: Found) -> None:
    container = container_of(found, "preprocessor")
    assert container["args"][-2:] == ["--workers", "4"]
    assert container["resources"]["requests"]["cpu"] == "4000m"
    assert container["resources"]["limits"]["memory"] == f"{4 * 1024 + 512}Mi"


def test_preprocessors_are_scaled_by_the_same_rule(found: Found) -> None:
    spec = found["ScaledObject", "preprocessor"]["spec"]
    assert spec["triggers"][0]["metadata"]["query"] == 'max(crema:replicas_wanted{tier="preprocessor"})'
    assert spec["minReplicaCount"] == 3


def test_a_preprocessor_that_fetches_nothing_reaches_nothing(found: Found) -> None:
    assert len(found["NetworkPolicy", "preprocessor"]["spec"]["egress"]) == 1


def test_a_preprocessor_that_fetches_reaches_the_internet_and_what_is_named(tmp_path: Path) -> None:
    more = "fetch: {enabled: true, hosts: [images.example.com, 'store.internal:9000'], allow_private: [10.1.0.0/16]}\n"
    found = rendered(cluster(tmp_path, more + CLUSTER))
    _, fetched = found["NetworkPolicy", "preprocessor"]["spec"]["egress"]
    assert [each["port"] for each in fetched["ports"]] == [80, 443, 9000]
    blocks = [each["ipBlock"] for each in fetched["to"]]
    assert [each["cidr"] for each in blocks] == ["0.0.0.0/0", "::/0", "10.1.0.0/16"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(blocks[0]["except"])
    assert "--fetch" in container_of(found, "coordinator")["args"]
    assert "--fetch-host" in container_of(found, "preprocessor")["args"]


def test_optional_formats_are_told_to_both_tiers(tmp_path: Path) -> None:
    found = rendered(cluster(tmp_path, CLUSTER.replace("workers: 4", "workers: 4, formats: [bmp, tiff]")))
    for name in ("coordinator", "preprocessor"):
        arguments = container_of(found, name)["args"]
        assert arguments[arguments.index("--formats") + 1] == "bmp,tiff"
