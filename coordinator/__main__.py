"""`python -m coordinator`: one coordinator process."""

from __future__ import annotations

import gc
from pathlib import Path

from coordinator.app import App
from coordinator.journal import Journal
from coordinator.keys import KeyRing
from coordinator.visit import TIER
from crema.host.key_file import KeyFileError
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
    args = parser.parse_args()
    keys = keys_of(args.keys)
    check_listeners(
        args,
        [args.listen, args.operations],
        has_secret=not keys.is_open,
        how="make an API key (crema keys new --name app --scopes infer) and name its file with --keys",
    )

    async def live(stop: Stop) -> None:
        journal = Journal(TIER, is_on=args.log_level in ("debug", "info"))
        app = App(
            args.routing,
            token=cluster_token(),
            journal=journal,
            keys=keys,
            hosts=args.host,
            processes=args.processes,
        )
        announce(args, await app.start(args.listen, args.operations, reuse_port=args.reuse_port))
        # what stands now stands for good, and a request leaves no cycles: the collector need not look at it again and again
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        await stop.wait()
        # on loopback no load balancer stands in front: without callers there is nobody to turn away gently
        is_unused = is_loopback(args.listen[0]) and app.is_quiet()
        await app.drain(0.0 if is_unused or stop.is_final else args.grace_s, lambda: is_orphan(args))

    run(TIER, args, live)


def keys_of(path: Path | None) -> KeyRing:
    """The keys to begin with. Ends the process, with a reason, when the file cannot be used."""
    ring = KeyRing(path)
    try:
        ring.read()
    except KeyFileError as error:
        raise SystemExit(f"refusing to start: {error}") from None
    return ring


if __name__ == "__main__":
    main()
