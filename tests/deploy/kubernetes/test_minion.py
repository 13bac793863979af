"""One version of a model: its Deployment and what stands around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crema.names import is_name
from tests.deploy.kubernetes.site import cluster, rendered, write_version
from tests.deploy.toy_cluster import resolved

NAME = "tags-3-1"

Found = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return rendered(cluster(tmp_path_factory.mktemp("site")))


def pod_of(found: Found, name: str = NAME) -> dict[str, Any]:
    pod: dict[str, Any] = found["Deployment", name]["spec"]["template"]["spec"]
    return pod


def container_of(found: Found, name: str = NAME) -> dict[str, Any]:
    (container,) = pod_of(found, name)["containers"]
    return dict(container)


def version_with(
    folder: Path, resources: str, profiles: tuple[str, ...] = ("pypi",), **settings: Any
) -> dict[str, Any]:
    write_version(folder, "tags", "3.1", resources, profiles)
    return container_of(rendered(resolved(folder), **settings))


def test_each_version_has_all_that_belongs_to_it(found: Found) -> None:
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ScaledObject"}
    for name in ("tags-3-1", "tags-3-2"):
        assert {kind for kind, of in found if of == name} == kinds


def test_it_is_asked_whether_it_lives_and_whether_it_is_ready(
    found: Found,
) -> None:
    container = container_of(found)
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_it_serves_on_until_nobody_knows_its_address_and_then_has_time_to_drain(
    found: Found,
) -> None:
    assert container_of(found)["lifecycle"]["preStop"]["exec"]["command"] == ["/bin/sleep", "8"]
    # the minion's own drain takes 25 s at most
    assert pod_of(found)["terminationGracePeriodSeconds"] >= 8 + 25 + 5


def test_it_runs_as_nobody_and_writes_only_into_tmp(found: Found) -> None:
    pod, container = pod_of(found), container_of(found)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")] == ["/tmp"]


def test_its_replicas_keep_apart(found: Found) -> None:
    terms = pod_of(found)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selector = found["Deployment", NAME]["spec"]["selector"]
    assert [each["podAffinityTerm"]["labelSelector"] for each in terms] == [selector, selector]
    assert [each["podAffinityTerm"]["topologyKey"] for each in terms] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]


def test_its_service_is_a_name_for_every_ready_pod(found: Found) -> None:
    spec = found["Service", NAME]["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["selector"] == found["Deployment", NAME]["spec"]["selector"]["matchLabels"]
    assert spec["ports"] == [{"name": "channel", "port": 7000, "targetPort": "channel", "protocol": "TCP"}]


def test_only_coordinators_reach_its_channel_and_only_monitoring_its_figures(
    found: Found,
) -> None:
    coordinators, monitoring = found["NetworkPolicy", NAME]["spec"]["ingress"]
    (peer,) = coordinators["from"]
    labels = found["Deployment", "coordinator"]["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert [each["port"] for each in coordinators["ports"]] == [7000]
    assert monitoring["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    assert [each["port"] for each in monitoring["ports"]] == [7001]


def test_it_reaches_nothing_but_the_resolver(found: Found) -> None:
    spec = found["NetworkPolicy", NAME]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["egress"]
    assert [(each["protocol"], each["port"]) for each in rule["ports"]] == [("UDP", 53), ("TCP", 53)]


def test_keda_follows_the_rule_between_min_and_max(found: Found) -> None:
    spec = found["ScaledObject", NAME]["spec"]
    assert spec["scaleTargetRef"]["name"] == NAME
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 8)
    (trigger,) = spec["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"] == {
        "serverAddress": "http://prometheus.monitoring.svc:9090",
        "query": 'max(crema:replicas_wanted{model="tags",version="3.1"})',
        "threshold": "1",
        "ignoreNullValues": "false",
    }


def test_applying_again_does_not_set_back_what_was_scaled(
    found: Found,
) -> None:
    assert "replicas" not in found["Deployment", NAME]["spec"]


def test_without_keda_the_minimum_runs_and_nothing_needs_keda(tmp_path: Path) -> None:
    found = rendered(cluster(tmp_path), keda=False)
    assert found["Deployment", NAME]["spec"]["replicas"] == 2
    assert not [kind for kind, _ in found if kind == "ScaledObject"]


def test_a_model_that_needs_a_gpu_asks_for_one_and_runs_on_it(tmp_path: Path) -> None:
    container = version_with(tmp_path, "{device: gpu, gpu_memory_mb: 3000}")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["args"][-2:] == ["--device", "cuda:0"]


def test_a_model_that_may_have_a_gpu_gets_one_only_when_it_is_asked_for(tmp_path: Path) -> None:
    assert "limits" not in version_with(tmp_path / "a", "{device: auto}")["resources"]
    asked = version_with(tmp_path / "b", "{device: auto}", gpu=True)
    assert asked["resources"]["limits"] == {"nvidia.com/gpu": "1"}


def test_what_the_manifest_says_of_memory_is_asked_for_and_is_the_limit(tmp_path: Path) -> None:
    resources = version_with(tmp_path, "{device: cpu, memory_mb: 2000}")["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "2512Mi"


def test_a_model_that_says_nothing_of_memory_has_no_limit(tmp_path: Path) -> None:
    assert "limits" not in version_with(tmp_path, "{device: cpu}")["resources"]


def test_numerical_libraries_start_as_many_threads_as_there_are_cores_for_them(tmp_path: Path) -> None:
    environment = {
        each["name"]: each.get("value") for each in version_with(tmp_path, "{device: cpu}", cpus=3)["env"]
    }
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"


def test_a_model_with_an_awkward_name_is_found_by_its_service(tmp_path: Path) -> None:
    assert is_name("a.b_c-")
    write_version(tmp_path, "a.b_c-", "1.0")
    found = rendered(resolved(tmp_path))
    (name,) = [name for kind, name in found if kind == "Service" and name.startswith("m-")]
    assert f"dns://{name}:7000" in found["ConfigMap", "crema-routing"]["data"]["routing.json"]
