"""A cluster file with packages to render: nothing of it is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from crema.host.config import ResolvedCluster
from deploy.kubernetes.renderer import KUSTOMIZATION, manifests
from deploy.kubernetes.settings import RenderSettings
from tests.deploy.toy_cluster import resolved, write_package

LOCK = "# profile: {profile}\n# python: >=3.11\nnumpy==2.0.0 \\\n    --hash=sha256:{digest}\n"

CLUSTER = """\
default_models: [tags]
preprocessor: {replicas: 3, workers: 4}
models:
  tags:
    default: "3.1"
    labels: {candidate: "3.2"}
    versions:
      "3.1": {replicas: {min: 2, max: 8}}
      "3.2": {replicas: 1, canary: 5%}
"""


def write_lock(folder: Path, model: str, version: str, profile: str = "pypi") -> None:
    """A lock that is read and never installed."""
    package = folder / "model_packages" / model / version
    text = LOCK.format(profile=profile, digest="0" * 64)
    (package / f"requirements.{profile}.lock").write_text(text)


def write_version(
    folder: Path,
    model: str,
    version: str,
    resources: str = "{device: cpu}",
    profiles: tuple[str, ...] = ("pypi",),
) -> None:
    """A package with locks of these profiles."""
    write_package(folder, model, version, resources)
    for profile in profiles:
        write_lock(folder, model, version, profile)


def cluster(folder: Path, more: str = CLUSTER, resources: str = "{device: cpu}") -> ResolvedCluster:
    """tags@3.1 and tags@3.2, as `more` says."""
    for version in ("3.1", "3.2"):
        write_version(folder, "tags", version, resources)
    return resolved(folder, more)


def objects(texts: dict[str, str]) -> list[dict[str, Any]]:
    """Every object of a rendering but the kustomization."""
    return [
        each for name, text in texts.items() if name != KUSTOMIZATION for each in yaml.safe_load_all(text)
    ]


def rendered(found: ResolvedCluster, **settings: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, name) → object."""
    return {
        (each["kind"], each["metadata"]["name"]): each
        for name, objects in manifests(found, RenderSettings(**settings)).items()
        if name != KUSTOMIZATION
        for each in objects
    }
