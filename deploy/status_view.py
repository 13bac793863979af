"""The status document: every process of the cluster, and every version. Pure: the cluster's parts in, JSON values out.

Outside programs rely on the members of `processes` (design: 6.3); what is added here stays beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from crema.host.config import RefusedPackage
from deploy.child import Child
from deploy.pointers import Pointers
from deploy.refusals import Refusal
from deploy.release_book import ReleaseBook
from deploy.scaling import Said
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
    book: ReleaseBook,
    refused: Iterable[RefusedPackage | Refusal] = (),
    notes: Mapping[str, str] = MappingProxyType({}),
    doing: Mapping[str, str] = MappingProxyType({}),
    leaving: Mapping[Child, ServedVersion | None] = MappingProxyType({}),
    scaling: Mapping[str, Said] = MappingProxyType({}),
) -> dict[str, Any]:
    """`{"processes": […], "models": […], …}`. `state` is the supervisor's own: starting, ready or draining."""
    versions = list(versions)
    running = {served.label for served in versions}
    processes: list[dict[str, Any]] = [
        {"tier": "supervisor", "state": state, "pid": os.getpid(), "ports": {}}
    ]
    coordinators = list(coordinators)
    for child in coordinators:
        for shown in _processes(child, "coordinator"):
            if len(coordinators) == 1:
                # its own port says nothing that the others, which it has alone, do not
                shown["ports"].pop("http", None)
            processes.append(shown)
    for child in preprocessors:
        processes.extend(_processes(child, "preprocessor", part="decoder"))
    for served in versions:
        named = {"model": served.name, "version": served.version.version}
        for child in served.replicas:
            processes.extend(_processes(child, "minion", role="host", part="worker", **named))
    for child, of in leaving.items():
        processes.extend(_leaving(child, of))
    return {
        "cluster": cluster,
        "state": state,
        "urls": urls,
        "processes": processes,
        "preprocessor": _scaled(scaling.get("preprocessor")),
        "models": [
            *(
                {**_version(served, book.now(served.name), notes), **_scaled(scaling.get(served.label))}
                for served in versions
            ),
            *(_coming(label, text) for label, text in doing.items() if label not in running),
            *map(_refused, (each for each in refused if each.label not in {*running, *doing})),
        ],
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


def _leaving(child: Child, of: ServedVersion | None) -> Iterator[dict[str, Any]]:
    """A replica that is taken away: it may still finish what it has."""
    if of is None:
        shown = _processes(child, "preprocessor", part="decoder")
    else:
        named = {"model": of.name, "version": of.version.version}
        shown = _processes(child, "minion", role="host", part="worker", **named)
    return ({**each, "state": "draining"} for each in shown)


def _scaled(said: Said | None) -> dict[str, Any]:
    """How many replicas the autoscaler wants, and why; nothing before its first period."""
    return {} if said is None else said.document()


def _ports(child: Child) -> dict[str, int]:
    return {name: child.ports[name] for name in SHOWN_PORTS if name in child.ports}


def _coming(label: str, doing: str) -> dict[str, Any]:
    """A package that is looked at, and of which nothing runs yet."""
    model, _, version = label.partition("@")
    return {
        "model": model,
        "version": version,
        "state": "starting",
        "replicas": 0,
        "ready": 0,
        "default": False,
        "note": doing,
    }


def _refused(package: RefusedPackage | Refusal) -> dict[str, Any]:
    """A package that serves nothing: its manifest is wrong, it failed its checklist, or it did not start."""
    shown = {
        "model": package.model if isinstance(package, Refusal) else package.name,
        "version": package.version,
        "state": "failed",
        "replicas": 0,
        "ready": 0,
        "default": False,
        "problem": package.problem,
    }
    if isinstance(package, Refusal) and package.traceback:
        shown["traceback"] = package.traceback
    return shown


def _version(served: ServedVersion, now: Pointers | None, notes: Mapping[str, str]) -> dict[str, Any]:
    version = served.version.version
    is_listed = now is not None and version in now.shares
    shown: dict[str, Any] = {
        "model": served.name,
        "version": served.version.version,
        "state": served.state,
        "replicas": served.wanted,
        "ready": len(served.ready),
        "default": now is not None and now.default == version,
    }
    if now is not None and is_listed:
        shown["canary_percent"] = now.shares[version]
        shown["gets"] = now.gets(version)
        shown["labels"] = [label for label, means in now.labels.items() if means == version]
    if served.label in notes:
        shown["note"] = notes[served.label]
    if served.profile is not None:
        shown["profile"] = served.profile
    if served.state != "ready" and served.shown_problem:
        shown["problem"] = served.shown_problem
    return shown
