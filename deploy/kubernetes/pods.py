"""What all our pods have in common: they run as nobody in particular, write nowhere but in /tmp, and end gently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crema.host.tier import TOKEN_VARIABLE
from deploy.kubernetes.names import labels, selector

Object = dict[str, Any]

CHANNEL_PORT: Final = 7000
HTTP_PORT: Final = 7001

USER: Final = 10001
"""Of the images."""
SCRATCH: Final = "1Gi"
"""What a pod may write into /tmp: libraries that compile keep what they made there."""
TOKEN_SECRET: Final = "crema-cluster-token"
TOKEN_KEY: Final = "token"

# After a pod's end is decided, its address is still known elsewhere: for the 5 s that DNS answers are kept, and for the
# 2 s until the coordinators ask again. It serves on for that long; then SIGTERM begins the drain of 25 s.
LET_GO_S: Final = 8
GRACE_S: Final = 45


@dataclass(frozen=True, slots=True)
class Container:
    """What is particular to one tier's container. Memory is in MiB; None asks for no limit."""

    image: str
    arguments: Sequence[str]
    ports: Mapping[str, int]
    health_port: str
    ready_path: str
    metrics_port: int
    cpus: float
    memory_mib: int
    memory_limit_mib: int | None
    let_go_s: int = LET_GO_S
    environment: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False
    volumes: Sequence[tuple[str, str, Object]] = ()
    """(name, where it is mounted, source); read-only."""


def deployment(
    component: str, name: str, container: Container, *, insecure: bool, replicas: int | None, starts_within_s: float, **more: str
) -> Object:  # fmt: skip
    """A Deployment of one tier. `replicas` None leaves their number to whatever scales it; `more` are labels."""
    spec: Object = {
        **({} if replicas is None else {"replicas": replicas}),
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": int(starts_within_s),
        "selector": {"matchLabels": selector(component, name)},
        # the new pod is ready before an old one goes
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {
                "labels": labels(component, name, **more),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(container.metrics_port),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": _pod(component, name, container, insecure),
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels(component, name, **more)},
        "spec": spec,
    }


def _pod(component: str, name: str, container: Container, insecure: bool) -> Object:
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": _apart(component, name)},
        **({"tolerations": tolerations} if container.gpu else {}),
        "containers": [_container(component, container, insecure)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": SCRATCH}},
            *({"name": volume, **source} for volume, _, source in container.volumes),
        ],
    }


def _container(component: str, container: Container, insecure: bool) -> Object:
    token = {"name": TOKEN_SECRET, "key": TOKEN_KEY, "optional": insecure}
    return {
        "name": component,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(container.arguments),
        "env": [
            {"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": token}},
            *({"name": key, "value": value} for key, value in container.environment.items()),
        ],
        "ports": [
            {"name": port, "containerPort": number, "protocol": "TCP"}
            for port, number in container.ports.items()
        ],
        # alive is who answers at all; not ready is who loads, drains or has a model that failed: no reason to restart it
        "livenessProbe": _probe("/livez", container.health_port, every_s=10, fails=3),
        "readinessProbe": _probe(container.ready_path, container.health_port, every_s=2, fails=2),
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", str(container.let_go_s)]}}},
        "resources": _resources(container),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            *({"name": name, "mountPath": path, "readOnly": True} for name, path, _ in container.volumes),
        ],
    }


def _probe(path: str, port: str, *, every_s: int, fails: int) -> Object:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": every_s,
        "timeoutSeconds": 5 if every_s > 5 else 2,
        "failureThreshold": fails,
    }


def _resources(container: Container) -> Object:
    requests = {"cpu": f"{container.cpus * 1000:.0f}m", "memory": f"{container.memory_mib}Mi"}
    # no limit of CPU: throttling would cost latency, and the request already says what share a pod gets when it is tight
    limits = {} if container.memory_limit_mib is None else {"memory": f"{container.memory_limit_mib}Mi"}
    if container.gpu:
        limits["nvidia.com/gpu"] = "1"
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _apart(component: str, name: str) -> Object:
    """Rather on another machine than the others of its kind, and rather in another zone."""
    places = ((100, "kubernetes.io/hostname"), (50, "topology.kubernetes.io/zone"))
    return {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": weight,
                "podAffinityTerm": {
                    "labelSelector": {"matchLabels": selector(component, name)},
                    "topologyKey": place,
                },
            }
            for weight, place in places
        ]
    }


def service(component: str, name: str, ports: Iterable[tuple[str, int, str]], *, headless: bool) -> Object:
    """A Service over ports (name, port, the container's port). A headless one is a name with one address per ready pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels(component, name)},
        "spec": {
            **({"clusterIP": "None"} if headless else {"type": "ClusterIP"}),
            "selector": selector(component, name),
            "ports": [
                {"name": port, "port": number, "targetPort": target, "protocol": "TCP"}
                for port, number, target in ports
            ],
        },
    }


def disruption_budget(component: str, name: str) -> Object:
    """One at a time. (A minimum of one would let a node with the only replica never be emptied.)"""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": labels(component, name)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(component, name)}},
    }
