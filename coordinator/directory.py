"""Which versions there are and which replicas serve them: the routing file in force, and a live connection per replica.

Resolves selectors. Chooses no replica and knows no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from coordinator.discovery import EVERY_S, Discovery
from coordinator.ejection import Ejection
from coordinator.peer import Peer, Peers
from coordinator.replica import Replica
from coordinator.routing_file import ModelRow, Routing, RoutingError, read_routing
from coordinator.served import Served, ServedModel
from coordinator.violations import closest
from crema.errors import CremaError
from crema.names import Role

WATCH_EVERY_S: Final = 0.2
# New replicas get this long to be connected before the routing that names them is in force.
CONNECT_WAIT_S: Final = 0.4
# A removed replica's connection is kept for the calls that were on their way to it when it was removed, and until its
# requests are answered, at most a drain's time.
LINGER_S: Final = 5.0
LINGER_MOST_S: Final = 30.0
# For how long it is remembered that a replica was ejected: one that a health probe lists again is not healed by that.
REMEMBER_S: Final = 60.0
# An answer's time until one has been seen, for who prepares photos and for models that promise none.
EXPECTED_MS: Final = 500.0

log = structlog.get_logger(__name__)


class Directory:
    """The routing in force. `run()` follows the file until it is cancelled."""

    def __init__(
        self,
        path: Path,
        *,
        token: str | None = None,
        role: Role = "coordinator",
        discovery: Discovery | None = None,
    ) -> None:
        self.revision = 0
        """Grows with every routing that comes into force: whatever was resolved before is stale then."""
        self.file_revision = 0
        """The revision of the routing file that is in force."""
        self.is_loaded = False
        self.default_models: tuple[str, ...] = ()
        self.models: dict[str, ServedModel] = {}
        self.preprocessors = Peers([], Ejection(), EXPECTED_MS)
        self._path = path
        self._token = token
        self._role: Role = role
        self._peers: dict[tuple[Role, str], Peer] = {}
        self._leaving: dict[tuple[Role, str], tuple[Peer, asyncio.Task[None]]] = {}
        # replicas that were ejected when they left, and until when that is remembered
        self._ejected: dict[tuple[Role, str], tuple[Replica, float]] = {}
        # what is normal for a version outlives the routing that lists it
        self._ejections: dict[tuple[str, str], Ejection] = {("", ""): self.preprocessors.group.ejection}
        self.discovery = discovery or Discovery()
        self._routing: Routing | None = None
        self._is_applying = asyncio.Lock()
        self._seen: object = None

    @property
    def routing(self) -> Routing | None:
        """The file in force; None before there is one."""
        return self._routing

    @property
    def open_preprocessors(self) -> list[Peer]:
        """Those that can be sent to now."""
        return [peer for peer in self.preprocessors.all if peer.replica.is_open]

    def peers_of(self, served: Served) -> Peers:
        """Those that serve a version now. A routing newer than the plan may have moved them."""
        if served.revision != self.revision:
            model = self.models.get(served.model)
            moved = model.versions.get(served.version_text) if model is not None else None
            if moved is not None and moved.peers.group.is_open:
                return moved.peers
        return served.peers

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

    def canaries_for(self, selector: str) -> tuple[Served, ...]:
        """The canaries that have a share of what a known selector means."""
        name, _, wanted = selector.partition("@")
        return self.models[name].canaries_for(wanted)

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
        """Follow the routing file: a change is in force in less than a second, a broken file leaves the old in force.
        The names in it are looked up again and again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_names())
            while True:
                await self.refresh()
                await asyncio.sleep(WATCH_EVERY_S)

    async def _follow_names(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh_names()

    async def refresh_names(self) -> None:
        """Look the routing's names up once, and put what changed in force."""
        routing = self._routing
        if routing is not None and await self.discovery.refresh(_addresses(routing)):
            async with self._is_applying:
                # a file that came meanwhile has been put in force with what is known now
                await self._apply(self._routing or routing)

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
            self._settle()
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
        async with self._is_applying:
            await self.discovery.prepare(_addresses(routing))
            await self._apply(routing)

    async def _apply(self, routing: Routing) -> None:
        expand = self.discovery.expand
        wanted: set[tuple[Role, str]] = {("preprocessor", each) for each in expand(routing.preprocessors)}
        for row in routing.models.values():
            for version in row.versions.values():
                wanted.update(("minion", address) for address in expand(version.replicas))
        fresh = wanted - self._peers.keys()
        for key in fresh:
            self._peers[key] = self._take(key)
        if fresh:
            await asyncio.gather(*(self._peers[each].client.wait_open(CONNECT_WAIT_S) for each in fresh))
        self._routing = routing
        self.revision += 1
        self.preprocessors = Peers(
            self._of("preprocessor", expand(routing.preprocessors)), self._ejections["", ""], EXPECTED_MS
        )
        self.models = {name: self._serve(name, row) for name, row in sorted(routing.models.items())}
        self.default_models = routing.default_models
        self.file_revision = routing.revision
        self.is_loaded = True
        listed = {(name, version) for name, row in routing.models.items() for version in row.versions}
        for gone in self._ejections.keys() - listed - {("", "")}:
            del self._ejections[gone]
        for key in self._peers.keys() - wanted:
            self._let_go(key, self._peers.pop(key))
        log.info(
            "routing_in_force", revision=routing.revision, models=len(self.models), peers=len(self._peers)
        )

    def _settle(self) -> None:
        moved = [model.name for model in self.models.values() if model.settle()]
        if moved:
            self.revision += 1
            log.info("routing_settled", models=moved)

    async def close(self) -> None:
        """Drop every connection."""
        leaving = [task for _, task in self._leaving.values()]
        for task in leaving:
            task.cancel()
        peers = [*self._peers.values(), *(peer for peer, _ in self._leaving.values())]
        await asyncio.gather(*leaving, *(peer.close() for peer in peers), return_exceptions=True)
        self._peers = {}

    def _serve(self, name: str, row: ModelRow) -> ServedModel:
        versions = {}
        for version, each in row.versions.items():
            ejection = self._ejections.setdefault((name, version), Ejection())
            slo = each.card.get("slo")
            promised = slo.get("p99_ms") if isinstance(slo, dict) else None
            expected_ms = float(promised) if isinstance(promised, (int, float)) else EXPECTED_MS
            peers = Peers(self._of("minion", self.discovery.expand(each.replicas)), ejection, expected_ms)
            versions[version] = Served(name, version, each, peers, self.revision)
        return ServedModel(name, row, versions, self.models.get(name))

    def _of(self, role: Role, addresses: Iterable[str]) -> list[Peer]:
        return [self._peers[role, address] for address in addresses]

    # -- connections -----------------------------------------------------------------------------------------------

    def _take(self, key: tuple[Role, str]) -> Peer:
        """The peer at an address: one that was about to leave, or a new one."""
        leaving = self._leaving.pop(key, None)
        if leaving is not None:
            peer, task = leaving
            task.cancel()
            return peer
        role, address = key
        replica, until = self._ejected.pop(key, (None, 0.0))
        if replica is None or until < monotonic():
            replica = Replica(address)
        peer = Peer(address, self._role, role, self._token, replica)
        peer.client.start()
        return peer

    def _let_go(self, key: tuple[Role, str], peer: Peer) -> None:
        task = asyncio.get_running_loop().create_task(self._linger(key, peer))
        self._leaving[key] = peer, task

    async def _linger(self, key: tuple[Role, str], peer: Peer) -> None:
        """Keep a removed replica's connection until what is in flight on it is answered; cancelled to keep it for good."""
        start = monotonic()
        while peer.client.is_open and (
            monotonic() < start + LINGER_S
            or (peer.client.outstanding and monotonic() < start + LINGER_MOST_S)
        ):
            await asyncio.sleep(WATCH_EVERY_S)
        del self._leaving[key]
        now = monotonic()
        self._ejected = {each: kept for each, kept in self._ejected.items() if kept[1] > now}
        if peer.replica.is_ejected:
            self._ejected[key] = peer.replica, now + REMEMBER_S
        await peer.close()


def _addresses(routing: Routing) -> list[str]:
    return [
        *routing.preprocessors,
        *(
            address
            for row in routing.models.values()
            for version in row.versions.values()
            for address in version.replicas
        ),
    ]
