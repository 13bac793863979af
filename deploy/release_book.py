"""ReleaseBook: the state of every model's pointers while a cluster runs, begun from its file and from what was released.

What verbs changed is kept in the routing file itself and comes back at the next start, unless the cluster file's section
of that model was changed meanwhile: then the file wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from crema.host.config import ResolvedCluster, ResolvedModel, resolve_version
from crema.host.manifest import ManifestError
from crema.host.packages import find_packages
from crema.names import parse_version
from deploy.pointers import Line, Pointers
from deploy.version import ServedVersion

MEMBER: Final = "releases"
"""Of the routing file; coordinators do not read it."""


class ReleaseBook:
    """A `Line` per model. Changing one changes nothing else; who changes it publishes it."""

    def __init__(self, cluster: ResolvedCluster, routing: Mapping[str, Any] | None) -> None:
        self._cluster = cluster
        self._first = {name: _first_line(cluster, model) for name, model in cluster.models.items()}
        self._lines = {name: _kept(routing, name, first) for name, first in self._first.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def line(self, name: str) -> Line | None:
        """A model's line; None for a model that never served."""
        return self._lines.get(name)

    def now(self, name: str) -> Pointers | None:
        """A model's state now."""
        line = self._lines.get(name)
        return None if line is None else line.now

    def default(self, name: str) -> str | None:
        """What a model's bare name means."""
        line = self._lines.get(name)
        return None if line is None else line.now.default

    def first(self, name: str) -> Line:
        """The line that a model begins with by the cluster file alone."""
        return self._first[name]

    def put(self, name: str, line: Line | None) -> None:
        """Set a model's line; None forgets it."""
        if line is None:
            self._lines.pop(name, None)
        else:
            self._lines[name] = line

    def begin(self, name: str, version: str) -> Line:
        """The line of a model that serves for the first time, not yet put down."""
        return Line(Pointers(version, {version: None}), (), _origin(self._cluster, name))

    def canaries(self) -> list[tuple[str, str, float]]:
        """(model, version, percent) of every version with a share."""
        return [
            (name, version, share)
            for name, line in self._lines.items()
            for version, share in line.now.shares.items()
            if share
        ]

    def document(self) -> dict[str, Any]:
        """What the routing file must keep: the lines that are not simply the cluster file's."""
        return {name: line.document() for name, line in self._lines.items() if line != self._first.get(name)}


def _first_line(cluster: ResolvedCluster, model: ResolvedModel) -> Line:
    default = model.default
    shares = {version.version: version.canary_percent for version in model.versions}
    return Line(Pointers(default, shares, dict(model.labels)), (), _origin(cluster, model.name))


def _origin(cluster: ResolvedCluster, name: str) -> str:
    section = cluster.config.models.get(name)
    written = None if section is None else section.model_dump(mode="json")
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16]


def _kept(routing: Mapping[str, Any] | None, name: str, first: Line) -> Line:
    try:
        kept = Line.of((routing or {})[MEMBER][name])
    except (KeyError, TypeError, ValueError, AttributeError):
        return first
    return kept if kept.origin == first.origin else first


def first_versions(cluster: ResolvedCluster, book: ReleaseBook) -> list[ServedVersion]:
    """The versions that the book lists, to be started. A line that needs a package which is not there any more is put down
    without it, or begun anew from the cluster file."""
    packages = find_packages(cluster.config.packages_dir)
    served = []
    for name, model in cluster.models.items():
        resolved = {version.version: version for version in model.versions}
        line = book.line(name) or book.first(name)
        for version in line.now.shares.keys() - resolved.keys():
            folder = packages.find(name, version)
            if folder is not None:
                with contextlib.suppress(ManifestError):
                    resolved[version] = resolve_version(cluster.config, folder)
        line = _without_missing(line, set(resolved), set(packages.versions(name))) or book.first(name)
        book.put(name, line)
        listed = sorted(line.now.shares, key=parse_version)
        served += [ServedVersion(name, resolved[version]) for version in listed]
    return served


def _without_missing(line: Line, usable: set[str], present: set[str]) -> Line | None:
    """A kept line without the versions that are not usable; None when its default is among them."""
    shares = {version: share for version, share in line.now.shares.items() if version in usable}
    if line.now.default not in shares:
        return None
    labels = {label: means for label, means in line.now.labels.items() if means in shares}
    past = tuple(each for each in line.past if set(each.shares) <= present)
    return Line(Pointers(line.now.default, shares, labels), past, line.origin)
