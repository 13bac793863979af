"""The command line of a coordinator, and its process."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from coordinator.app import App, SharedListeners
from coordinator.journal import Journal
from coordinator.keys import KeyRing
from coordinator.media import switch_on
from coordinator.visit import TIER
from crema.host.key_file import KeyFileError
from crema.host.loopback import is_loopback
from crema.host.process import spare_collector
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


def _parser() -> argparse.ArgumentParser:
    parser = arguments("coordinator", "The public API in front of a cluster's minions.")
    parser.add_argument(
        "--routing", type=Path, required=True, metavar="FILE", help="the routing file; it is watched"
    )
    listener_argument(parser, "--listen", 8000, "for callers")
    listener_argument(parser, "--operations", 8001, "metrics and health")
    parser.add_argument(
        "--listen-fd", type=int, metavar="FD", help="an inherited socket that listens for callers already"
    )
    parser.add_argument(
        "--operations-fd",
        type=int,
        metavar="FD",
        help="an inherited socket that listens for operators already",
    )
    listener_argument(parser, "--http", 0, "health and figures of this process alone")
    parser.add_argument(
        "--log-sample",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="the share of requests that are logged, 0 to 1; those that fail always are; default: 1",
    )
    parser.add_argument(
        "--grace-s",
        type=float,
        default=5.0,
        help="on a stop, take calls for this long after becoming unready; default: 5",
    )
    parser.add_argument(
        "--fetch", action="store_true", help="the preprocessors fetch images by URL: `image.url` is taken"
    )
    formats_argument(parser, "image formats that its preprocessors read")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="the file of API keys; it is watched, and need not be there yet",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which callers reach a listener on loopback; may be given again",
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="of this coordinator, on one port; default: 1"
    )
    return parser


def main() -> None:
    """Run until drained."""
    args = _parser().parse_args()
    switch_on(args.formats)
    keys = keys_of(args.keys)
    check_listeners(
        args,
        [args.listen, args.operations],
        has_secret=not keys.is_open,
        how="make an API key (crema keys new --name app --scopes infer) and name its file with --keys",
    )

    async def live(stop: Stop) -> None:
        journal = Journal(TIER, is_on=args.log_level in ("debug", "info"), sample=args.log_sample)
        app = App(
            args.routing,
            token=cluster_token(),
            journal=journal,
            can_fetch=args.fetch,
            keys=keys,
            hosts=args.host,
            processes=args.processes,
        )
        shared = _inherited(args)
        announce(args, await app.start(args.listen, args.operations, http=args.http, shared=shared))
        spare_collector()
        await stop.wait()
        # on loopback no load balancer stands in front: without callers there is nobody to turn away gently
        # (siblings' callers may come here at any moment)
        is_unused = args.processes == 1 and is_loopback(args.listen[0]) and app.is_quiet()
        await app.drain(0.0 if is_unused or stop.is_final else args.grace_s, lambda: is_orphan(args))

    run(TIER, args, live)


def _inherited(args: argparse.Namespace) -> SharedListeners | None:
    if args.listen_fd is None or args.operations_fd is None:
        return None
    public, operations = (socket.socket(fileno=fd) for fd in (args.listen_fd, args.operations_fd))
    for each in (public, operations):
        each.setblocking(False)
        each.set_inheritable(False)
    return SharedListeners(public, operations)


def keys_of(path: Path | None) -> KeyRing:
    """The keys to begin with. Ends the process, with a reason, when the file cannot be used."""
    ring = KeyRing(path)
    try:
        ring.read()
    except KeyFileError as error:
        raise SystemExit(f"refusing to start: {error}") from None
    return ring
