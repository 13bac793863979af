"""The manifests, as a table of contents: which files there are, what is in them, and how they get into a folder.

    coordinator.yaml    Deployment, Service, PodDisruptionBudget, NetworkPolicy, HorizontalPodAutoscaler    coordinator.py
    preprocessor.yaml   the same with a headless Service and a ScaledObject                               preprocessor.py
    NAME-X-Y.yaml       the same for each version of a model                                                    minion.py
    configuration.yaml  ConfigMaps: routing, cluster                                                     configuration.py
    kustomization.yaml  all of the above

The same cluster gives the same bytes. Secrets are named and never rendered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from crema.host.config import ResolvedCluster
from deploy.kubernetes.configuration import config_maps
from deploy.kubernetes.coordinator import coordinator_objects
from deploy.kubernetes.minion import minion_objects
from deploy.kubernetes.names import version_name
from deploy.kubernetes.preprocessor import preprocessor_objects
from deploy.kubernetes.settings import RenderSettings

Object = dict[str, Any]

KUSTOMIZATION: Final = "kustomization.yaml"
HEADER: Final = (
    "# Rendered by `crema render kubernetes`: edit cluster.yaml and render again instead of editing this.\n"
)


class FolderInUse(Exception):
    """A file that is not ours lies where one would be written; the text says which."""


def manifests(cluster: ResolvedCluster, settings: RenderSettings) -> dict[str, list[Object]]:
    """File name → the objects in it. Raises CannotBuild where a version has no lock to build its image from."""
    config = cluster.config
    files = {
        "configuration.yaml": config_maps(cluster),
        "coordinator.yaml": coordinator_objects(config, settings),
        "preprocessor.yaml": preprocessor_objects(config, settings),
    }
    for model in cluster.models.values():
        for version in model.versions:
            objects = minion_objects(version, settings, insecure=config.insecure)
            files[f"{version_name(model.name, version.version)}.yaml"] = objects
    if settings.namespace is not None:
        for each in (each for objects in files.values() for each in objects):
            metadata = each["metadata"]
            each["metadata"] = {"name": metadata["name"], "namespace": settings.namespace, **metadata}
    kustomization: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **({} if settings.namespace is None else {"namespace": settings.namespace}),
        "resources": list(files),
    }
    return {**files, KUSTOMIZATION: [kustomization]}


def render(cluster: ResolvedCluster, settings: RenderSettings) -> dict[str, str]:
    """File name → text of every manifest. Raises CannotBuild."""
    return {name: _text(objects) for name, objects in manifests(cluster, settings).items()}


def write(texts: Mapping[str, str], folder: Path) -> None:
    """Makes `folder` hold exactly these manifests: those of an earlier rendering that are no more are removed.

    Raises FolderInUse, before anything is written, rather than overwrite a file that it did not write itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in texts:
        if (folder / name).exists() and not _is_ours(folder / name):
            raise FolderInUse(
                f"{folder / name} was not rendered by crema\n  try: another folder with -o, or remove the file"
            )
    for path in sorted(folder.glob("*.yaml")):
        if path.name not in texts and _is_ours(path):
            path.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _is_ours(path: Path) -> bool:
    with contextlib.suppress(OSError, UnicodeDecodeError), path.open(encoding="utf-8") as stream:
        return stream.readline() == HEADER
    return False


class _Dumper(yaml.SafeDumper):
    """YAML for people who read diffs: texts of several lines as they are, no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _dump_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _dump_text)


def _text(objects: Sequence[Object]) -> str:
    documents = yaml.dump_all(
        objects, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000
    )
    return HEADER + documents
