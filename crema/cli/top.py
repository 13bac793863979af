"""`crema top`: what every tier and model version is doing, live."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crema.cli.table import as_json

if TYPE_CHECKING:
    from deploy.live_status import LiveStatus

WINDOW_S: Final = 10.0
"""Rates and latencies are those of the last so many seconds: shorter, and p99 jumps about."""
FIRST_LOOK_S: Final = 0.5
LEAST_WIDTH: Final = 80


@click.command()
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.2, 3600.0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option("--once", is_flag=True, help="Print one frame, over one interval, and end.")
@click.option("--replicas", "with_replicas", is_flag=True, help="Show every replica under its version.")
@click.option(
    "--sort",
    type=click.Choice(["name", "offered", "refused", "failed", "p99", "busy"]),
    default="offered",
    show_default=True,
    help="What the models are sorted by.",
)
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The cluster file of the cluster to watch.",
)
@click.option(
    "--json", "as_document", is_flag=True, help="Print a JSON document a line, as `crema status` has it."
)
def top(
    interval_s: float, once: bool, with_replicas: bool, sort: str, cluster: Path | None, as_document: bool
) -> int:
    """Show live what the cluster started from this folder is doing, tier by tier and model by model.

    Per second: requests offered, accepted, refused (429) and failed (5xx); latencies in ms; the mean batch; the replicas
    that the autoscaler wants, and why. Figures are of the last ten seconds. q or Ctrl-C ends it. Where the output is no
    terminal it prints one frame after another.

    \b
    Example: crema top
    """
    from crema.cli.api_key import api_key
    from deploy.live_status import LiveStatus
    from deploy.running_cluster import NotRunning, find_cluster

    shown: dict[str, Any] = {"sort": sort, "with_replicas": with_replicas, "as_document": as_document}
    try:
        running = find_cluster(cluster)
        if once:
            _print(LiveStatus(running, window_s=interval_s, key=api_key()).once(), **shown)
            return 0
        live = LiveStatus(running, window_s=max(WINDOW_S, interval_s), key=api_key())
        with contextlib.suppress(KeyboardInterrupt):
            # ended from outside, a terminal must look as it did before
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            live.again()
            time.sleep(min(FIRST_LOOK_S, interval_s))
            if sys.stdout.isatty() and not as_document:
                _watch(live, interval_s, sort=sort, with_replicas=with_replicas)
            else:
                while True:
                    _print(live.again(), **shown)
                    time.sleep(interval_s)
    except NotRunning as error:
        raise click.ClickException(str(error)) from None
    return 0


def _print(document: dict[str, Any], sort: str, with_replicas: bool, as_document: bool) -> None:
    import shutil

    from crema.cli.top_screen import frame

    if as_document:
        click.echo(as_json(document))
    else:
        width = max(LEAST_WIDTH, shutil.get_terminal_size((LEAST_WIDTH, 24)).columns)
        lines = frame(document, width, sort=sort, with_replicas=with_replicas)
        click.echo("\n".join([*lines, ""]))
    sys.stdout.flush()


def _watch(live: LiveStatus, interval_s: float, **shown: Any) -> None:
    """Frame after frame on the terminal's second screen, until q. A cluster that is gone may come back: it is said."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from crema.cli.top_screen import frame
    from deploy.running_cluster import NotRunning

    terminal = Console(highlight=False)
    with _keys() as pressed, Live(console=terminal, screen=True, auto_refresh=False) as screen:
        while True:
            try:
                width = max(LEAST_WIDTH, terminal.width)
                lines = frame(live.again(), width, note="q quits", **shown)
            except NotRunning as error:
                lines = [*str(error).splitlines(), "", "waiting for it; q quits"]
            text = Text.from_ansi("\n".join(lines[: terminal.height]))
            text.no_wrap, text.overflow = True, "crop"
            screen.update(text, refresh=True)
            until = time.monotonic() + interval_s
            while (left := until - time.monotonic()) > 0:
                if "q" in pressed(left):
                    return


class _Pressed:
    """The keys that are pressed within a time."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def __call__(self, within_s: float) -> str:
        if self._descriptor is None:
            time.sleep(within_s)
            return ""
        import select

        if not select.select([self._descriptor], [], [], within_s)[0]:
            return ""
        pressed = os.read(self._descriptor, 64)
        if not pressed:  # nobody can press anything any more
            self._descriptor = None
        return pressed.decode("ascii", "replace").lower()


@contextlib.contextmanager
def _keys() -> Iterator[_Pressed]:
    """Keys arrive as they are pressed, and unseen; afterwards the terminal is as it was."""
    if not sys.stdin.isatty():
        yield _Pressed(None)
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield _Pressed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
