"""What the routing file says of the cluster as it is now. Pure: children in, the file's body out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploy.child import Child
from deploy.tiers import LOOPBACK
from deploy.version import ServedVersion


def routing_body(
    default_models: Iterable[str], preprocessors: Iterable[Child], versions: Iterable[ServedVersion]
) -> dict[str, Any]:
    """The members of the routing file besides `format` and `revision`. Only what is ready has an address in it."""
    models: dict[str, Any] = {}
    for served in versions:
        model = models.setdefault(
            served.model.name,
            {"default": served.model.default, "labels": dict(served.model.labels), "versions": {}},
        )
        model["versions"][served.version.version] = {
            "replicas": _addresses(served.ready),
            "wanted": served.wanted,
            # how many of them are ready is counted by who reads this; here a version is up or it is not
            "state": "ready" if served.state == "degraded" else served.state,
            "problem": served.shown_problem if served.state == "failed" else None,
            "canary_percent": served.version.canary_percent,
            "card": served.version.manifest.card(),
        }
    return {
        "default_models": list(default_models),
        "preprocessors": _addresses(child for child in preprocessors if child.is_ready),
        "models": models,
    }


def _addresses(children: Iterable[Child]) -> list[str]:
    return [f"{LOOPBACK}:{child.ports['channel']}" for child in children if "channel" in child.ports]
