"""Serving: the process of `crema up`, from its first line on the terminal to its last. What it runs is `deploy`'s."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import uvloop

from crema.cli.answer_table import answer_lines
from crema.cli.api import Api
from crema.cli.api_key import api_key
from crema.cli.console import Console
from crema.cli.send import send
from crema.host.config import ResolvedCluster
from crema.host.logs import configure_logs
from crema.host.process import forbid_core_dumps
from crema.host.tier import cluster_token
from deploy.environments import environments_here
from deploy.orphans import adopt_orphans
from deploy.state_folder import StateFolder
from deploy.supervisor import Supervisor


def serve(cluster: ResolvedCluster, folder: StateFolder, photos: tuple[Path, ...], log_level: str) -> None:
    """Run the cluster until a signal, and stop it. `folder` is held. Raises PortTaken or NothingToServe."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(cluster, folder, Console(), photos, log_level))


async def _serve(
    cluster: ResolvedCluster, folder: StateFolder, console: Console, photos: tuple[Path, ...], log_level: str
) -> None:
    forbid_core_dumps()
    _log_to(folder, log_level)
    adopt_orphans()

    async def once_ready(url: str) -> None:
        await asyncio.to_thread(_first_answers, url, photos, console)
        console.text("\nServing. Ctrl-C stops everything.")

    console.line("STARTING", "crema", str(cluster.config.path))
    supervisor = Supervisor(
        cluster, folder, environments_here(), console,
        once_ready=once_ready, started_from=Path.cwd(), log_level=log_level,
    )  # fmt: skip
    _stop_on_signals(supervisor, folder, console)
    await supervisor.run()
    console.line("STOPPED", "crema")


def _first_answers(url: str, photos: tuple[Path, ...], console: Console) -> None:
    """Analyse the photos through the public API, as a caller would. A failure is shown; the cluster serves on."""
    api = Api(url, {}, api_key())
    for photo in photos:
        console.text("\n" + "\n".join(answer_lines(str(photo), send(api, photo, tries=3))))


def _stop_on_signals(supervisor: Supervisor, folder: StateFolder, console: Console) -> None:
    """The first signal drains, the second ends everything at once."""
    loop = asyncio.get_running_loop()
    signals: list[int] = []

    def on_signal(number: int) -> None:
        signals.append(number)
        if len(signals) == 1:
            supervisor.stop()
            return
        supervisor.kill()
        folder.release()
        console.working(None)  # a spinner hides the cursor
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # under nohup the end of the terminal is nothing to end for
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number)


def _log_to(folder: StateFolder, level: str) -> None:
    """This process's own log goes where those of its children are; the terminal is for what people need to know."""
    log_file = os.fdopen(folder.log_file("supervisor").open(), "a", buffering=1)
    configure_logs("supervisor", level, stream=log_file, secret=cluster_token())
