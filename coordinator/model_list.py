"""A model as `/v1/models` shows it. Plain values; what a version's card says is passed on, paths and owners are not."""

from __future__ import annotations

from typing import Any

from coordinator.served import Served, ServedModel


def describe(model: ServedModel) -> dict[str, Any]:
    """One model with all its versions, newest first. Output type and params are those of its default version."""
    default = model.default
    return {
        "name": model.name,
        "default": default.version_text,
        "labels": dict(model.labels),
        "output_type": default.card["output"]["type"],
        "params": {name: _param(declared) for name, declared in default.params.items()},
        "versions": [_version(served) for served in reversed(model.versions.values())],
    }


def _version(served: Served) -> dict[str, Any]:
    return {
        "version": served.version_text,
        "state": served.state,
        "replicas": served.row.wanted,
        "ready": len(served.open_peers),
        "canary_percent": served.row.canary_percent,
        "summary": served.card.get("summary", ""),
    }


def _param(declared: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in declared.items() if value is not None}
