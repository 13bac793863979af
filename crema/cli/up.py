"""`crema up`: starts a cluster on this machine, serves until Ctrl-C, and leaves no process behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crema.cli.console import Console
    from crema.host.config import ResolvedCluster
    from deploy.state_folder import StateFolder


@click.command()
@click.argument("cluster", metavar="[CLUSTER]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--analyze",
    "photos",
    metavar="PHOTO",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Analyse this photo once the cluster is ready, and show the answer; may be given again.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of the logs in .crema/logs.",
)
def up(cluster: Path | None, photos: tuple[Path, ...], log_level: str) -> int:
    """Start the cluster of the file CLUSTER (default: ./cluster.yaml) and serve until Ctrl-C.

    Builds the models' virtualenvs that are missing, starts the preprocessor, the minions and the coordinator, and starts
    again what ends unexpectedly. Logs and state lie in .crema/ beside the file. A second Ctrl-C ends everything at once.

    \b
    Example: crema up
    """
    path = cluster or Path("cluster.yaml")
    if not path.is_file():
        where = "in this folder" if cluster is None else "at this path"
        raise click.UsageError(f"there is no {path} {where}; name the file of your cluster: crema up path/to/cluster.yaml")
    try:
        import uvloop

        from crema.cli.console import Console
        from crema.host.config import ConfigError, load_cluster, resolve_cluster
        from deploy.ports import PortTaken
        from deploy.running_cluster import state_folder_of
        from deploy.state_folder import AlreadyRunning, StateFolder
        from deploy.supervisor import NothingToServe
    except ImportError as error:
        raise click.ClickException(f"{error}\n  `crema up` needs the extra `local`: pip install 'crema[local]'") from None
    try:
        resolved = resolve_cluster(load_cluster(path))
    except ConfigError as error:
        raise click.ClickException(f"{path} has mistakes\n{error}") from None
    try:
        folder = StateFolder(state_folder_of(path))
        folder.hold()
    except AlreadyRunning as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"the state folder cannot be prepared: {error}") from None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(resolved, folder, Console(), photos, log_level))
    except (PortTaken, NothingToServe) as error:
        raise click.ClickException(str(error)) from None
    finally:
        folder.release()
    return 0


async def _serve(
    cluster: ResolvedCluster, folder: StateFolder, console: Console, photos: tuple[Path, ...], log_level: str
) -> None:
    from deploy.environments import environments_here
    from deploy.orphans import adopt_orphans
    from deploy.supervisor import Supervisor

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
    _stop_on_signals(supervisor.stop, supervisor.kill, folder)
    await supervisor.run()
    console.line("STOPPED", "crema")


def _first_answers(url: str, photos: tuple[Path, ...], console: Console) -> None:
    """Analyse the photos through the public API, as a caller would. A failure is shown; the cluster serves on."""
    from crema.cli.answer_table import answer_lines
    from crema.cli.api import Api
    from crema.cli.send import send

    api = Api(url, {})
    for photo in photos:
        console.text("\n" + "\n".join(answer_lines(str(photo), send(api, photo, tries=3))))


def _stop_on_signals(stop: Callable[[], None], kill: Callable[[], None], folder: StateFolder) -> None:
    """The first signal drains, the second ends everything at once."""
    loop = asyncio.get_running_loop()
    signals: list[int] = []

    def on_signal(number: int) -> None:
        signals.append(number)
        if len(signals) == 1:
            stop()
            return
        kill()
        folder.release()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # under nohup the end of the terminal is nothing to end for
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number)


def _log_to(folder: StateFolder, level: str) -> None:
    """This process's own log goes where those of its children are; the terminal is for what people need to know."""
    from crema.host.logs import configure_logs

    log_file = os.fdopen(folder.log_file("supervisor").open(), "a", buffering=1)
    with contextlib.redirect_stderr(log_file):  # where `configure_logs` writes is decided when it is called
        configure_logs("supervisor", level)
