"""Labels: one moves only onto a version that is ready. Pure: the routing file's body that is wanted, and the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_settled_labels(body: Mapping[str, Any], former: Mapping[str, Any] | None) -> dict[str, Any]:
    """`body` with every label that would move onto a version that is not ready left where it was in `former`.

    A label that is new, or whose version is not listed any more, takes nothing away from anyone: it moves at once.
    """
    wanted = body.get("models")
    if not isinstance(wanted, dict):
        return dict(body)
    models = {}
    for name, model in wanted.items():
        before = (former or {}).get("models", {}).get(name)
        if isinstance(model, dict) and isinstance(before, dict) and model.get("labels"):
            models[name] = {**model, "labels": _settled(model, before.get("labels") or {})}
        else:
            models[name] = model
    return {**body, "models": models}


def _settled(model: dict[str, Any], before: Mapping[str, str]) -> dict[str, str]:
    versions = model["versions"]
    settled = {}
    for label, wanted in model["labels"].items():
        meant = before.get(label, wanted)
        is_ready = versions[wanted]["state"] == "ready" and bool(versions[wanted]["replicas"])
        settled[label] = wanted if is_ready or meant not in versions else meant
    return settled
