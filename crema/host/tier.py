"""The life of one tier's process: arguments every tier takes, event loop, signals, and telling the parent the ports.

A tier's `__main__` reads as: `arguments(...)`, then `run(args, main)`. `main` gets a `Stop` and returns when drained.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from crema.host.image_signatures import image_formats
from crema.host.logs import configure_logs
from crema.host.loopback import is_loopback
from crema.host.process import (
    die_with_parent,
    forbid_core_dumps,
    raise_descriptor_limit,
    raise_malloc_thresholds,
)
from crema.names import OPTIONAL_FORMATS

TOKEN_VARIABLE: Final = "CREMA_CLUSTER_TOKEN"


class Stop:
    """Set once, by SIGTERM or SIGINT: begin to drain. A second signal ends the process at once."""

    def __init__(self) -> None:
        self.is_final = False
        """Whether it was SIGINT: everything around this process ends too, so nobody has to be turned away gently."""
        self._event = asyncio.Event()

    def request(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Begin to drain."""
        self.is_final = number == signal.SIGINT
        self._event.set()

    @property
    def is_requested(self) -> bool:
        """Whether draining has begun."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Until draining begins."""
        await self._event.wait()


def arguments(tier: str, description: str) -> argparse.ArgumentParser:
    """A parser with what every tier takes. Started by `crema up`, by Kubernetes or by hand alike."""
    parser = argparse.ArgumentParser(prog=f"python -m {tier}", description=description)
    parser.add_argument("--parent-pid", type=int, help="end when this parent process dies")
    parser.add_argument(
        "--announce-fd", type=int, help="write one JSON line with the ports to this descriptor, then close it"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen beyond loopback without keys or a cluster token"
    )
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="default: info"
    )
    return parser


def listener_argument(parser: argparse.ArgumentParser, flag: str, port: int, what: str) -> None:
    """An argument for where a tier listens for `what`; on loopback unless it is given, at a free port if `port` is 0."""
    shown = f"127.0.0.1:{port}" if port else "a free port of 127.0.0.1"
    parser.add_argument(
        flag,
        type=host_port,
        default=("127.0.0.1", port),
        metavar="HOST:PORT",
        help=f"{what}; default: {shown}",
    )


def formats_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """`--formats`, for the image formats that can be switched on."""
    parser.add_argument(
        "--formats",
        type=image_formats,
        default=(),
        metavar="NAME,…",
        help=f"{what} beside JPEG, PNG, WebP and GIF: {', '.join(OPTIONAL_FORMATS)}; default: none",
    )


def host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT` as an argument type; port 0 means a free one is chosen."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, for instance 127.0.0.1:7000 (got {text!r})")
    return host.strip("[]"), int(port)


def cluster_token() -> str | None:
    """The token that both sides of a channel must show, from the environment (never from the arguments)."""
    return os.environ.get(TOKEN_VARIABLE) or None


def check_listeners(
    args: argparse.Namespace, addresses: list[tuple[str, int]], *, has_secret: bool, how: str
) -> None:
    """End the process, with a reason, when an address lies beyond loopback and there is no secret to ask callers for.

    `how` says how to make one.
    """
    for host, port in addresses:
        if not (is_loopback(host) or has_secret or args.insecure):
            raise SystemExit(
                f"refusing to listen on {host}:{port}: beyond loopback anyone who reaches it may call the models\n"
                f"  try: {how}, listen on 127.0.0.1, or pass --insecure"
            )


def announce(args: argparse.Namespace, ports: dict[str, int]) -> None:
    """Tell whoever started this process which ports it listens on."""
    if args.announce_fd is not None:
        with os.fdopen(args.announce_fd, "w") as pipe:
            pipe.write(json.dumps(ports) + "\n")
        args.announce_fd = None


def is_orphan(args: argparse.Namespace) -> bool:
    """Whether the parent that this process was told to live with is gone: then a drain keeps nobody waiting."""
    return args.parent_pid is not None and os.getppid() != args.parent_pid


def run(tier: str, args: argparse.Namespace, main: Callable[[Stop], Awaitable[None]], **bound: str) -> None:
    """Run `main` on a fresh uvloop until it returns. `bound` stands in every log event."""
    if args.parent_pid is not None:
        die_with_parent(args.parent_pid)
    raise_malloc_thresholds()
    forbid_core_dumps()
    raise_descriptor_limit()
    configure_logs(tier, args.log_level, bound, secret=cluster_token())

    async def live() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()

        def on_signal(number: signal.Signals) -> None:
            if stop.is_requested:
                os._exit(1)
            stop.request(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        await main(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())
