"""The cluster's ConfigMaps: the routing that coordinators watch, and the `cluster.yaml` that all of this was made from."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from crema.host.config import ResolvedCluster, ResolvedModel
from deploy.kubernetes.names import COORDINATOR, PREPROCESSOR, labels, version_name
from deploy.kubernetes.pods import CHANNEL_PORT
from deploy.routing_file import FORMAT

Object = dict[str, Any]

ROUTING: Final = "crema-routing"
ROUTING_FILE: Final = "routing.json"
CLUSTER: Final = "crema-cluster"
CLUSTER_FILE: Final = "cluster.yaml"


def config_maps(cluster: ResolvedCluster) -> list[Object]:
    """Both. A changed routing is a rollout: no pod is restarted for it. Nothing here is secret."""
    return [
        _config_map(ROUTING, ROUTING_FILE, routing_text(cluster)),
        _config_map(CLUSTER, CLUSTER_FILE, cluster.config.path.read_text(encoding="utf-8")),
    ]


def routing_text(cluster: ResolvedCluster) -> str:
    """The routing file: each version is found by the name of its headless Service."""
    body = {
        "default_models": list(cluster.default_models),
        "preprocessors": [_found_by(PREPROCESSOR)],
        "models": {name: _model(model) for name, model in cluster.models.items()},
    }
    text = json.dumps(body, sort_keys=True)
    # there is no count of renderings to take it from; what a log line needs is to tell one routing from another
    revision = int(hashlib.sha256(text.encode()).hexdigest()[:7], 16)
    return json.dumps({"format": FORMAT, "revision": revision, **body}, indent=1) + "\n"


def _model(model: ResolvedModel) -> Object:
    return {
        "default": model.default,
        "labels": dict(model.labels),
        "versions": {
            version.version: {
                "replicas": [_found_by(version_name(model.name, version.version))],
                "wanted": version.replicas_min,
                # which of them are, the coordinators see for themselves
                "state": "ready",
                "problem": None,
                "canary_percent": version.canary_percent,
                "card": version.manifest.card(),
            }
            for version in model.versions
        },
    }


def _found_by(name: str) -> str:
    return f"dns://{name}:{CHANNEL_PORT}"


def _config_map(name: str, file: str, text: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels(COORDINATOR, name)},
        "data": {file: text},
    }
