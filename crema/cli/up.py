"""`crema up`: starts a cluster on this machine, serves until Ctrl-C, and leaves no process behind."""

from __future__ import annotations

from pathlib import Path

import click

from crema.cli.needs_local import needs_local


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
        raise click.UsageError(
            f"there is no {path} {where}; name the file of your cluster: crema up path/to/cluster.yaml"
        )
    with needs_local("up"):
        from crema.cli.serving import serve
        from crema.host.config import ConfigError, load_cluster, resolve_cluster
        from deploy.ports import PortTaken
        from deploy.running_cluster import state_folder_of
        from deploy.state_folder import AlreadyRunning, StateFolder
        from deploy.supervisor import NothingToServe
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
        serve(resolved, folder, photos, log_level)
    except (PortTaken, NothingToServe) as error:
        raise click.ClickException(str(error)) from None
    finally:
        folder.release()
    return 0
