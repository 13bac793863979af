"""`crema models`: every version of the running cluster, what it gets of the traffic, and what keeps it from serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--json", "as_document", is_flag=True, help="Print them as one JSON document.")
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The cluster file of the cluster to ask.",
)
def models(as_document: bool, cluster: Path | None) -> None:
    """List the models' versions: state, replicas, what callers get it by, and the problem if there is one.

    \b
    Example: crema models
    """
    from crema.cli.table import STATE_WIDTH, aligned, as_json
    from deploy.running_cluster import NotRunning, find_cluster

    try:
        versions = find_cluster(cluster).status()["models"]
    except NotRunning as error:
        raise click.ClickException(str(error)) from None
    if as_document:
        click.echo(as_json({"models": versions}))
        return
    for version, line in zip(versions, aligned(map(_row, versions)), strict=True):
        click.echo(line)
        for further in version.get("traceback", "").splitlines():
            click.echo(f"{'':{STATE_WIDTH}} {further}")


def _row(version: dict[str, Any]) -> tuple[str, ...]:
    labels = "".join(f"@{label} " for label in version.get("labels", ())).strip()
    return (
        version["state"].upper(),
        f"{version['model']}@{version['version']}",
        f"{version['ready']} of {version['replicas']}",
        version.get("gets", "no traffic"),
        labels,
        version.get("problem") or version.get("note", ""),
    )
