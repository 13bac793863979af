"""Refusals: packages that got no traffic, and why, kept in a file so that a restart does not serve them unseen."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crema.host.config import ResolvedCluster, ResolvedModel, resolve_version
from crema.host.manifest import ManifestError
from crema.host.package_paths import package_digest
from crema.host.packages import find_packages
from deploy.pointers import ReleaseRefused


class NotServed(ReleaseRefused):
    """A version cannot be served. `detail` is what stands under the reason: its own traceback."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Refusal:
    """One package. `problem` is one line, `traceback` what stands under it; `digest` is of the files that were refused."""

    model: str
    version: str
    problem: str
    traceback: str
    digest: str

    @property
    def label(self) -> str:
        """`tags@3.3`."""
        return f"{self.model}@{self.version}"


class Refusals:
    """Those in the file at `path`, as long as their packages lie unchanged in `packages_dir`."""

    def __init__(self, path: Path, packages_dir: Path) -> None:
        self._path = path
        self._found = {each.label: each for each in _read(path) if _lies_there(each, packages_dir)}

    def __iter__(self) -> Iterator[Refusal]:
        return iter(self._found.values())

    def __contains__(self, label: object) -> bool:
        return label in self._found

    def keep(self, refusal: Refusal) -> None:
        """Remember one. A file that cannot be written costs no more than the memory of it at the next start."""
        self._found[refusal.label] = refusal
        self._write()

    def forget(self, label: str) -> None:
        """It passed, or its package is gone."""
        if self._found.pop(label, None) is not None:
            self._write()

    def _write(self) -> None:
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            new.write_text(json.dumps([asdict(each) for each in self._found.values()], indent=1) + "\n")
            new.replace(self._path)


def _read(path: Path) -> list[Refusal]:
    try:
        return [Refusal(**entry) for entry in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def _lies_there(refusal: Refusal, packages_dir: Path) -> bool:
    try:
        folder = find_packages(packages_dir).find(refusal.model, refusal.version)
        return folder is not None and package_digest(folder.path) == refusal.digest
    except OSError:
        return False


def without_refused(cluster: ResolvedCluster, refusals: Refusals) -> ResolvedCluster:
    """The cluster with refused versions passed over where the cluster file names none: its newest is then the newest that
    was not refused. What the file names is served all the same."""
    packages = find_packages(cluster.config.packages_dir)
    models = {}
    for name, model in cluster.models.items():
        section = cluster.config.models.get(name)
        is_named = section is not None and (section.versions is not None or section.default is not None)
        if is_named or f"{name}@{model.default}" not in refusals:
            models[name] = model
            continue
        for folder in reversed(packages.by_name.get(name, ())):
            if folder.label not in refusals:
                with contextlib.suppress(ManifestError):
                    version = resolve_version(cluster.config, folder)
                    models[name] = ResolvedModel(name, version.version, model.labels, (version,))
                    break
    return replace(cluster, models=models)
