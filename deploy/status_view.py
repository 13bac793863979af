"""The status document: every process of the cluster, and every version. Pure: the cluster's parts in, JSON values out.

Outside programs rely on the members of `processes` (design: 6.3); what is added here stays beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from crema.host.config import RefusedPackage
from deploy.child import Child
from deploy.version import ServedVersion

SHOWN_PORTS = ("public", "operations", "channel", "http")


def status_document(
    *,
    cluster: str,
    state: str,
    urls: dict[str, str],
    coordinators: Iterable[Child],
    preprocessors: Iterable[Child],
    versions: Iterable[ServedVersion],
    refused: Iterable[RefusedPackage] = (),
) -> dict[str, Any]:
    """`{"processes": […], "models": […], …}`. `state` is the supervisor's own: starting, ready or draining."""
    versions = list(versions)
    processes: list[dict[str, Any]] = [
        {"tier": "supervisor", "state": state, "pid": os.getpid(), "ports": {}}
    ]
    for child in coordinators:
        processes.extend(_processes(child, "coordinator"))
    for child in preprocessors:
        processes.extend(_processes(child, "preprocessor", part="decoder"))
    for served in versions:
        named = {"model": served.model.name, "version": served.version.version}
        for child in served.replicas:
            processes.extend(_processes(child, "minion", role="host", part="worker", **named))
    return {
        "cluster": cluster,
        "state": state,
        "urls": urls,
        "processes": processes,
        "models": [*map(_version, versions), *map(_refused, refused)],
    }


def _processes(
    child: Child, tier: str, *, role: str | None = None, part: str = "", **named: str
) -> Iterator[dict[str, Any]]:
    """The entry of a child and those of the processes inside it. A child between two starts has the pid null."""
    shown: dict[str, Any] = {"tier": tier}
    if role is not None:
        shown["role"] = role
    shown |= {**named, "state": child.state, "pid": child.pid, "ports": _ports(child)}
    if child.problem:
        shown["problem"] = child.problem
        if child.health is not None and child.health.traceback:
            shown["traceback"] = child.health.traceback
    shown["restarts"] = max(0, child.starts - 1)
    yield shown
    if child.health is not None:
        for inner in child.health.parts:
            yield {"tier": tier, "role": part, **named, "state": inner.state, "pid": inner.pid, "ports": {}}


def _ports(child: Child) -> dict[str, int]:
    return {name: child.ports[name] for name in SHOWN_PORTS if name in child.ports}


def _refused(package: RefusedPackage) -> dict[str, Any]:
    """A package that was never started, because its manifest is wrong."""
    return {
        "model": package.name,
        "version": package.version,
        "state": "failed",
        "replicas": 0,
        "ready": 0,
        "default": False,
        "problem": package.problem,
    }


def _version(served: ServedVersion) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "model": served.model.name,
        "version": served.version.version,
        "state": served.state,
        "replicas": served.wanted,
        "ready": len(served.ready),
        "default": served.model.default == served.version.version,
    }
    if served.profile is not None:
        shown["profile"] = served.profile
    if served.state != "ready" and served.shown_problem:
        shown["problem"] = served.shown_problem
    return shown
