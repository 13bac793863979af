"""Which versions there are and which replicas serve them: the routing file in force, and a live connection per replica.

Resolves selectors. Chooses no replica and knows no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import structlog

from coordinator.router import Replica
from coordinator.routing_file import ModelRow, Routing, RoutingError, VersionRow, read_routing
from coordinator.violations import closest
from crema.errors import CremaError
from crema.host.channel_client import ChannelClient
from crema.names import Role, parse_version

WATCH_EVERY_S: Final = 0.2
# New replicas get this long to be connected before the routing that names them is in force.
CONNECT_WAIT_S: Final = 0.5
# A removed replica's connection is kept for the calls that were on their way to it when it was removed, and until its
# requests are answered, at most a drain's time.
LINGER_S: Final = 5.0
LINGER_MOST_S: Final = 30.0

log = structlog.get_logger(__name__)


class Peer:
    """One replica or preprocessor: its connection and what the router knows of it."""

    __slots__ = ("client", "replica")

    def __init__(self, client: ChannelClient) -> None:
        self.client = client
        self.replica = Replica(client.address)


class Served:
    """One version of a model as the routing in force describes it."""

    __slots__ = ("card", "model", "params", "peers", "row", "spec", "version", "version_text")

    def __init__(self, model: str, version: str, row: VersionRow, peers: list[Peer]) -> None:
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
    def open_peers(self) -> list[Peer]:
        """Those that can be sent to now."""
        peers = self.peers
        if len(peers) == 1 and peers[0].client.is_open:
            return peers
        return [peer for peer in peers if peer.client.is_open]

    @property
    def state(self) -> str:
        """As `/v1/models` shows it: the routing's state, corrected by the connections that really stand."""
        if self.row.state != "ready":
            return self.row.state
        connected = len(self.open_peers)
        return "ready" if connected and connected >= self.row.wanted else "degraded"


class ServedModel:
    """One model: its versions, newest last, and what its name and labels mean."""

    __slots__ = ("default", "labels", "name", "versions")

    def __init__(self, name: str, row: ModelRow, versions: dict[str, Served]) -> None:
        self.name = name
        self.labels = row.labels
        self.default = versions[row.default]
        self.versions = dict(sorted(versions.items(), key=lambda each: each[1].version))

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

    def _newest_promoted(self, major: int) -> Served | None:
        promoted = [
            each
            for each in self.versions.values()
            if each.version.major == major and each.row.canary_percent is None
        ]
        # a version on its way out serves only when nothing else of its major does
        staying = [each for each in promoted if each.row.state != "draining"]
        return (staying or promoted or [None])[-1]  # type: ignore[list-item]


class Directory:
    """The routing in force. `run()` follows the file until it is cancelled."""

    def __init__(self, path: Path, *, token: str | None = None, role: Role = "coordinator") -> None:
        self.revision = 0
        """Grows with every routing that comes into force: whatever was resolved before is stale then."""
        self.is_loaded = False
        self.default_models: tuple[str, ...] = ()
        self.models: dict[str, ServedModel] = {}
        self.preprocessors: list[Peer] = []
        self._path = path
        self._token = token
        self._role: Role = role
        self._peers: dict[tuple[Role, str], Peer] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._seen: object = None

    @property
    def open_preprocessors(self) -> list[Peer]:
        """Those that can be sent to now."""
        peers = self.preprocessors
        if len(peers) == 1 and peers[0].client.is_open:
            return peers
        return [peer for peer in peers if peer.client.is_open]

    # -- selectors -------------------------------------------------------------------------------------------------

    def resolve(self, selector: str) -> Served:
        """The version that a selector means. Raises CremaError `unknown_model` or `unknown_version`."""
        name, at, wanted = selector.partition("@")
        model = self.model(name)
        if not at:
            return model.default
        served = model.find(wanted)
        if served is None:
            raise self._unknown_version(model, wanted)
        return served

    def model(self, name: str) -> ServedModel:
        """The model of that name. Raises CremaError `unknown_model`."""
        model = self.models.get(name)
        if model is None:
            if not self.is_loaded:
                raise CremaError(
                    "not_ready",
                    "this coordinator has not read its routing yet; come back in a second",
                    retry_after_ms=1000,
                )
            near = closest(name, self.models)
            known = ", ".join(self.models) or "none is served here yet"
            advice = f"did you mean {near[0]}?" if near else f"there are: {known}"
            raise CremaError(
                "unknown_model",
                f"there is no model {name[:64]!r}; {advice}",
                did_you_mean=near,
                available=list(self.models),
            )
        return model

    @staticmethod
    def _unknown_version(model: ServedModel, wanted: str) -> CremaError:
        available = model.available
        near = closest(wanted, available)
        if not near and wanted.isascii() and wanted.isdigit():
            near = [each for each in available if each.startswith(wanted[:1])][:3]
        advice = f"did you mean {model.name}@{near[0]}?" if near else f"there are: {', '.join(available)}"
        return CremaError(
            "unknown_version",
            f"{model.name} has no version {wanted[:64]!r}; {advice}",
            did_you_mean=near,
            available=available,
        )

    # -- the file --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the routing file: a change is in force in less than a second, a broken file leaves the old in force."""
        while True:
            await self.refresh()
            await asyncio.sleep(WATCH_EVERY_S)

    async def refresh(self) -> None:
        """Look at the file once and put what changed in force."""
        try:
            found = self._path.stat()
        except OSError:
            # the file in force stays in force; a file that is replaced by rename is never missing for long
            if self._seen != "missing":
                self._seen = "missing"
                log.warning("routing_missing", file=self._path.name)
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            routing = read_routing(self._path)
        except RoutingError as error:
            log.error("routing_refused", file=self._path.name, problem=str(error)[:500])
            return
        await self.apply(routing)

    async def apply(self, routing: Routing) -> None:
        """Put a routing in force once its new replicas are connected, or after `CONNECT_WAIT_S`."""
        wanted: set[tuple[Role, str]] = {("preprocessor", address) for address in routing.preprocessors}
        for row in routing.models.values():
            for version in row.versions.values():
                wanted.update(("minion", address) for address in version.replicas)
        fresh = wanted - self._peers.keys()
        for role, address in fresh:
            client = ChannelClient(address, self._role, role, token=self._token)
            client.start()
            self._peers[role, address] = Peer(client)
        if fresh:
            await asyncio.gather(*(self._peers[each].client.wait_open(CONNECT_WAIT_S) for each in fresh))
        self.preprocessors = self._of("preprocessor", routing.preprocessors)
        self.models = {name: self._serve(name, row) for name, row in sorted(routing.models.items())}
        self.default_models = routing.default_models
        self.is_loaded = True
        self.revision += 1
        for key in self._peers.keys() - wanted:
            self._let_go(self._peers.pop(key))
        log.info(
            "routing_in_force", revision=routing.revision, models=len(self.models), peers=len(self._peers)
        )

    async def close(self) -> None:
        """Drop every connection."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(
            *(peer.client.close() for peer in self._peers.values()), *self._leaving, return_exceptions=True
        )
        self._peers = {}

    def _serve(self, name: str, row: ModelRow) -> ServedModel:
        versions = {
            version: Served(name, version, each, self._of("minion", each.replicas))
            for version, each in row.versions.items()
        }
        return ServedModel(name, row, versions)

    def _of(self, role: Role, addresses: Iterable[str]) -> list[Peer]:
        return [self._peers[role, address] for address in addresses]

    def _let_go(self, peer: Peer) -> None:
        task = asyncio.get_running_loop().create_task(self._linger(peer))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    @staticmethod
    async def _linger(peer: Peer) -> None:
        """Keep a removed replica's connection until what is in flight on it is answered."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            while peer.client.is_open and (
                loop.time() < start + LINGER_S
                or (peer.client.outstanding and loop.time() < start + LINGER_MOST_S)
            ):
                await asyncio.sleep(WATCH_EVERY_S)
        finally:
            await peer.client.close()
