"""`python -m coordinator`: one coordinator process."""

from __future__ import annotations

import gc
from pathlib import Path

from coordinator.app import App
from coordinator.journal import Journal
from coordinator.media import switch_on
from coordinator.visit import TIER
from crema.host.image_signatures import image_formats
from crema.host.tier import (
    Stop,
    announce,
    arguments,
    check_listeners,
    cluster_token,
    host_port,
    is_loopback,
    is_orphan,
    run,
)


def main() -> None:
    """Parse the arguments and run until drained."""
    parser = arguments("coordinator", "The public API in front of a cluster's minions.")
    parser.add_argument(
        "--routing", type=Path, required=True, metavar="FILE", help="the routing file; it is watched"
    )
    parser.add_argument(
        "--listen",
        type=host_port,
        default=("127.0.0.1", 8000),
        metavar="HOST:PORT",
        help="for callers; default: 127.0.0.1:8000",
    )
    parser.add_argument(
        "--operations",
        type=host_port,
        default=("127.0.0.1", 8001),
        metavar="HOST:PORT",
        help="metrics and health; default: 127.0.0.1:8001",
    )
    parser.add_argument(
        "--reuse-port", action="store_true", help="share the public port with other coordinator processes"
    )
    parser.add_argument(
        "--grace-s",
        type=float,
        default=5.0,
        help="on a stop, take calls for this long after becoming unready; default: 5",
    )
    parser.add_argument(
        "--formats",
        type=image_formats,
        default=(),
        metavar="NAME,…",
        help="image formats that its preprocessors read beside JPEG, PNG, WebP and GIF: avif, bmp, heic, tiff",
    )
    args = parser.parse_args()
    switch_on(args.formats)
    check_listeners(
        args, [args.listen, args.operations], secret=None, how="put a proxy in front that checks keys"
    )

    async def live(stop: Stop) -> None:
        journal = Journal(TIER, is_on=args.log_level in ("debug", "info"))
        app = App(args.routing, token=cluster_token(), journal=journal)
        announce(args, await app.start(args.listen, args.operations, reuse_port=args.reuse_port))
        # what stands now stands for good, and a request leaves no cycles: the collector need not look at it again and again
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        await stop.wait()
        # on loopback no load balancer stands in front: without callers there is nobody to turn away gently
        is_unused = is_loopback(args.listen[0]) and app.is_quiet()
        await app.drain(0.0 if is_unused or stop.is_final else args.grace_s, lambda: is_orphan(args))

    run(TIER, args, live)


if __name__ == "__main__":
    main()
