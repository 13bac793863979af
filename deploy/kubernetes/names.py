"""What objects in Kubernetes are called. Names there are stricter than names of models."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

MAX_CHARACTERS: Final = 50
"""Short enough for a Service (63) and for the suffixes that pods get."""

COORDINATOR: Final = "coordinator"
PREPROCESSOR: Final = "preprocessor"
MINION: Final = "minion"

_LABEL = re.compile(r"[a-z](-?[a-z0-9])*\Z")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


def version_name(model: str, version: str) -> str:
    """`tags`, `3.1` → `tags-3-1`: the name of everything that belongs to one version. No two versions share one."""
    suffix = "-" + version.replace(".", "-")
    return model_name(model, MAX_CHARACTERS - len(suffix)) + suffix


def model_name(model: str, most: int = MAX_CHARACTERS) -> str:
    """The model's own name where it can be a host's, else what is left of it and a digest that keeps it apart."""
    if _LABEL.match(model) and len(model) <= most:
        return model
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    rest = re.sub(r"[^a-z0-9]+", "-", model)[: most - len(digest) - 3].strip("-")
    # a letter in front: a Service's name begins with one
    return f"m-{rest}-{digest}"


def selector(component: str, name: str) -> dict[str, str]:
    """The labels that a Deployment's pods are found by. They never change while the Deployment lives."""
    return {
        "app.kubernetes.io/name": "crema",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": name,
    }


def labels(component: str, name: str, **more: str) -> dict[str, str]:
    """The labels of an object: the selector's, and `more` of those whose values can be a label's."""
    allowed = {key: value for key, value in more.items() if _LABEL_VALUE.match(value)}
    return {**selector(component, name), "app.kubernetes.io/managed-by": "crema", **allowed}


def component_selector(component: str) -> dict[str, Any]:
    """All pods of a tier."""
    return {
        "matchLabels": {"app.kubernetes.io/name": "crema", "app.kubernetes.io/component": component},
    }
