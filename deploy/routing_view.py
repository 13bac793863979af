"""What the routing file says of the cluster as it is now. Pure: children and pointers in, the file's body out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deploy.child import Child
from deploy.release_book import MEMBER, ReleaseBook
from deploy.tiers import LOOPBACK
from deploy.version import ServedVersion


def routing_body(
    default_models: Iterable[str],
    preprocessors: Sequence[Child],
    versions: Iterable[ServedVersion],
    book: ReleaseBook,
) -> dict[str, Any]:
    """The members of the routing file besides `format` and `revision`. Only what is ready has an address in it, and only
    versions that the book lists are in it at all."""
    models: dict[str, Any] = {}
    for served in versions:
        pointers = book.now(served.name)
        version = served.version.version
        # one that is drained may still be there beside the same version started anew
        if pointers is None or version not in pointers.shares or served.is_draining:
            continue
        model = models.setdefault(
            served.name,
            {"default": pointers.default, "labels": dict(pointers.labels), "versions": {}},
        )
        model["versions"][version] = {
            "replicas": _addresses(served.ready),
            "wanted": served.wanted,
            # how many of them are ready is counted by who reads this; here a version is up or it is not
            "state": "ready" if served.state == "degraded" else served.state,
            "problem": served.shown_problem if served.state == "failed" else None,
            "canary_percent": pointers.shares[version],
            "card": served.version.manifest.card(),
            "http": _addresses(served.replicas, "http"),
        }
    body: dict[str, Any] = {
        "default_models": list(default_models),
        "preprocessors": _addresses(child for child in preprocessors if child.is_ready),
        "preprocessors_http": _addresses(preprocessors, "http"),
        "models": models,
    }
    if kept := book.document():
        body[MEMBER] = kept
    return body


def _addresses(children: Iterable[Child], port: str = "channel") -> list[str]:
    return [f"{LOOPBACK}:{child.ports[port]}" for child in children if port in child.ports]
