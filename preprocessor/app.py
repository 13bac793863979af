"""The preprocessor: what it listens on, what it is built of, how it starts and drains.

    channel  `preprocess` {specs, remaining_ms, lane} + image bytes → {image, tensors, timing, load} + pixels   intake.py
             the same with a `url` for the image, where that is switched on                                    fetches.py
    HTTP     GET /livez /readyz /metrics                                                                       here
    parts    gate (places, predicted work) → pool (lanes) → decoder processes (decode.py, transforms.py)

Start: listeners first, then the decode processes; ready when the first of them is. Drain: no new requests, those let
in are finished, then everything is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from crema.host.channel_server import ChannelServer
from crema.host.fetch_hosts import parse_host_rule, parse_network
from crema.host.health_routes import health_routes, metrics_route
from crema.host.host_guard import HostGuard
from crema.host.image_signatures import cannot_be_read
from crema.host.loopback import is_loopback
from crema.host.metrics import Metrics
from crema.host.process import spare_collector
from crema.host.service import Service
from crema.host.tier import (
    Stop,
    announce,
    arguments,
    check_listeners,
    cluster_token,
    formats_argument,
    is_orphan,
    listener_argument,
    run,
)
from crema.names import OptionalFormat
from preprocessor.busy_share import BusyShare
from preprocessor.fetches import Fetches, FetchRules
from preprocessor.gate import Gate
from preprocessor.intake import Intake
from preprocessor.meters import Meters
from preprocessor.pool import Pool, cores

# Deep enough for a burst of callers, shallow enough that the last of them is served well within a default deadline:
# 32 photos of 12 megapixels are under a second's work of one core.
PLACES_PER_WORKER: Final = 32
DRAIN_S: Final = 25.0

log = structlog.get_logger(__name__)


class Preprocessor:
    """All parts of one preprocessor. Construct, `start()`, later `drain()`."""

    def __init__(
        self,
        workers: int,
        places: int,
        token: str | None,
        formats: tuple[OptionalFormat, ...] = (),
        fetch: FetchRules | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.meters = Meters(self.metrics)
        self.pool = Pool(workers, self.meters, formats=formats, on_busy=self._busy_changed)
        self.gate = Gate(places, workers, self.pool.cost)
        self.fetches = Fetches(fetch)
        self.intake = Intake(self.pool, self.gate, self.meters, formats=formats, fetches=self.fetches)
        self.channels = ChannelServer(self.intake, "preprocessor", frozenset({"coordinator"}), token=token)
        self._host_guard = HostGuard()
        routes = [*health_routes(self.health), metrics_route(self.metrics, self._refresh)]
        self.service = Service(map(self._host_guard.guarded, routes))
        self._busy = BusyShare(workers, time.monotonic())

    async def start(self, channel: tuple[str, int], http: tuple[str, int]) -> dict[str, int]:
        """Listen, then spawn the decode processes. Returns the ports as `{channel, http}`."""
        self._host_guard.is_on = is_loopback(http[0])
        ports = {"channel": await self.channels.start(*channel), "http": await self.service.start(*http)}
        self.pool.start()
        self.fetches.start()
        return ports

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether a request would be let in, and the body of `/readyz` beside that."""
        ready = self.intake.is_ready
        state = "draining" if self.intake.is_draining else "ready" if ready else "starting"
        more: dict[str, Any] = {"state": state, "workers": self.pool.decoders}
        if not ready and not self.intake.is_draining and self.pool.last_failure:
            more |= {"state": "degraded", "problem": self.pool.last_failure}
        if self.fetches.is_on:
            more["fetcher"] = self.fetches.health
        return ready, more

    async def drain(self, seconds: float) -> None:
        """Let nothing in any more, finish what was let in within `seconds`, then close everything."""
        self.intake.is_draining = True
        self.channels.stop_listening()
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while self.intake.pending and loop.time() < ends:
            await asyncio.sleep(0.02)
        await self.fetches.close()
        await self.pool.close()
        await self.channels.close()
        await self.service.close(timeout_s=1.0)

    def _busy_changed(self, busy: int) -> None:
        self._busy.change(busy, time.monotonic())

    def _refresh(self) -> None:
        """Figures are brought up to date when someone looks."""
        self.meters.fold()
        self.meters.pending.set(self.gate.pending)
        self.meters.places.set(self.gate.places)
        state = self.health()[1]["state"]
        self.meters.ready.set(1 if self.intake.is_ready else 0)
        self.meters.starting.set(1 if state == "starting" else 0)
        # a decoder does one thing at a time: it is busy for as much as it can do
        busy = self._busy.ratio(time.monotonic())
        self.meters.busy_ratio.set(busy)
        self.meters.load_ratio.set(busy)


def main(argv: list[str] | None = None) -> None:
    """`python -m preprocessor`."""
    args = _parser().parse_args(argv)
    token = cluster_token()
    check_listeners(
        args,
        [args.channel, args.http],
        has_secret=token is not None,
        how="set CREMA_CLUSTER_TOKEN to the same long random text on every tier (`openssl rand -hex 32`)",
    )
    for wanted in args.formats:
        if (reason := cannot_be_read(wanted)) is not None:
            raise SystemExit(
                f"{reason}\n  try: `uv pip install pillow-heif` into this virtualenv, or leave {wanted} out"
            )
    workers = cores() if args.workers == "auto" else args.workers
    places = args.places or PLACES_PER_WORKER * workers
    fetch = FetchRules(args.fetch_host, args.fetch_private, args.formats) if args.fetch_host else None

    async def serve(stop: Stop) -> None:
        preprocessor = Preprocessor(workers, places, token, args.formats, fetch)
        ports = await preprocessor.start(args.channel, args.http)
        log.info("preprocessor_started", **ports, workers=workers, places=places)
        announce(args, ports)
        spare_collector()
        await stop.wait()
        log.info("preprocessor_draining", pending=preprocessor.intake.pending)
        await preprocessor.drain(0.0 if is_orphan(args) else DRAIN_S)

    run("preprocessor", args, serve)


def _parser() -> argparse.ArgumentParser:
    parser = arguments(
        "preprocessor",
        "Decodes photos once, in processes that can be killed, and resizes them for every model.",
    )
    listener_argument(parser, "--channel", 7000, "for coordinators")
    listener_argument(parser, "--http", 7001, "health and metrics")
    parser.add_argument(
        "--workers",
        type=_workers,
        default="auto",
        metavar="N|auto",
        help="decode processes; default: auto, one per core",
    )
    parser.add_argument(
        "--places",
        type=_positive,
        metavar="N",
        help=f"images pending at once; default: {PLACES_PER_WORKER} per worker",
    )
    parser.add_argument(
        "--fetch-host",
        type=_as_written(parse_host_rule),
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="images may be fetched by URL from this host (*: any public one); may be repeated; default: none",
    )
    parser.add_argument(
        "--fetch-private",
        type=_as_written(parse_network),
        action="append",
        default=[],
        metavar="NETWORK",
        help="also at addresses of this private network; may be repeated; default: none",
    )
    formats_argument(parser, "image formats that it reads")
    return parser


def _as_written(parse: Callable[[str], object]) -> Callable[[str], str]:
    """An argument type that checks a text by `parse` and keeps it: the process that fetches reads it again."""

    def checked(text: str) -> str:
        try:
            parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
        return text

    return checked


def _workers(text: str) -> int | str:
    return "auto" if text == "auto" else _positive(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 4096):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 4096 (got {text!r})")
    return int(text)
