"""Served: one version as the routing in force describes it. ServedModel: a model's versions, and what its names mean."""

from __future__ import annotations

from typing import Any

from coordinator.peer import Peer, Peers
from coordinator.routing_file import ModelRow, VersionRow
from crema.names import parse_version


class Served:
    """One version of a model as the routing in force describes it."""

    __slots__ = ("card", "model", "params", "peers", "revision", "row", "spec", "version", "version_text")

    def __init__(self, model: str, version: str, row: VersionRow, peers: Peers, revision: int) -> None:
        self.revision = revision
        """Of the directory, when this came into force."""
        self.model = model
        self.version_text = version
        self.version = parse_version(version)
        self.row = row
        self.card = row.card
        self.peers = peers
        self.params: dict[str, dict[str, Any]] = row.card.get("params") or {}
        spec = row.card["input"]
        self.spec: dict[str, Any] | None = None
        if spec["kind"] == "image":
            self.spec = {
                "size": spec["size"],
                "fit": spec.get("fit", "cover"),
                "filter": spec.get("filter", "bilinear"),
            }
            if spec.get("colour", "rgb") != "rgb":
                self.spec["colour"] = spec["colour"]

    @property
    def full_name(self) -> str:
        """`tags@3.1`."""
        return f"{self.model}@{self.version_text}"

    @property
    def open_peers(self) -> list[Peer]:
        """Those that can be sent to now."""
        return [peer for peer in self.peers.all if peer.replica.is_open]

    @property
    def is_ready(self) -> bool:
        """Whether it can take traffic."""
        return self.row.state == "ready" and self.peers.group.is_open

    @property
    def state(self) -> str:
        """As `/v1/models` shows it: the routing's state, corrected by the connections that really stand."""
        if self.row.state != "ready":
            return self.row.state
        connected = len(self.open_peers)
        return "ready" if connected and connected >= self.row.wanted else "degraded"


class ServedModel:
    """One model: its versions, newest last, and what its name and labels mean.

    `default` and `labels` move only onto a version that is ready: until it is, and as long as what they meant before
    can be reached, they stay (`settle`).
    """

    __slots__ = ("_row", "canaries", "default", "labels", "name", "versions")

    def __init__(
        self, name: str, row: ModelRow, versions: dict[str, Served], former: ServedModel | None
    ) -> None:
        self.name = name
        self.versions = dict(sorted(versions.items(), key=lambda each: each[1].version))
        self.canaries = tuple(each for each in self.versions.values() if each.row.canary_percent)
        """The versions that get a share of what is not pinned."""
        self._row = row
        self.labels: dict[str, str]
        self.default: Served
        meant = {} if former is None else former.labels
        self.labels = {label: self._still(meant.get(label), wanted) for label, wanted in row.labels.items()}
        before = None if former is None else former.default.version_text
        self.default = self.versions[self._still(before, row.default)]

    def settle(self) -> bool:
        """Move what had to wait for its version, if that is ready now. Returns whether anything moved."""
        has_moved = False
        if self.default.version_text != self._row.default and self.versions[self._row.default].is_ready:
            self.default = self.versions[self._row.default]
            has_moved = True
        for label, wanted in self._row.labels.items():
            if self.labels[label] != wanted and self.versions[wanted].is_ready:
                self.labels[label] = wanted
                has_moved = True
        return has_moved

    def _still(self, former: str | None, wanted: str) -> str:
        """What a pointer means as long as the version it is to move to is not ready."""
        if former is None or former == wanted or former not in self.versions:
            return wanted
        return former if self.versions[former].is_ready and not self.versions[wanted].is_ready else wanted

    @property
    def available(self) -> list[str]:
        """What may stand behind the @, newest first, then the labels."""
        return [*reversed(self.versions), *self.labels]

    def find(self, wanted: str) -> Served | None:
        """The version that `wanted` (what stands behind the @) means, or None."""
        if wanted in self.labels:
            return self.versions[self.labels[wanted]]
        if wanted in self.versions:
            return self.versions[wanted]
        if wanted.isascii() and wanted.isdigit() and str(int(wanted)) == wanted:
            return self._newest_promoted(int(wanted))
        return None

    def canaries_for(self, wanted: str) -> tuple[Served, ...]:
        """The canaries that may stand in for what `wanted` means: for the bare name and for a major version."""
        if not self.canaries or wanted in self.labels or wanted in self.versions:
            return ()
        if not wanted:
            return self.canaries
        return tuple(each for each in self.canaries if str(each.version.major) == wanted)

    def _newest_promoted(self, major: int) -> Served | None:
        promoted = [
            each
            for each in self.versions.values()
            if each.version.major == major and each.row.canary_percent is None
        ]
        # a version on its way out serves only when nothing else of its major does
        staying = [each for each in promoted if each.row.state != "draining"]
        best = staying or promoted
        return best[-1] if best else None
