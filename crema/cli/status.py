"""`crema status`: every process of the running cluster, and what does not run and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The cluster file of the cluster to ask.",
)
def status(as_json: bool, cluster: Path | None) -> None:
    """Show every process of the cluster started from this folder: state, pid, ports, and the problem if there is one.

    \b
    Example: crema status
    """
    from crema.cli.table import STATE_WIDTH, aligned
    from deploy.running_cluster import NotRunning, find_cluster

    try:
        document = find_cluster(cluster).status()
    except NotRunning as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        import json

        click.echo(json.dumps(document, indent=1))
        return
    rows, tracebacks = _rows(document)
    for line, traceback in zip(aligned(rows), tracebacks, strict=True):
        click.echo(line)
        for further in traceback.splitlines():
            click.echo(f"{'':{STATE_WIDTH}} {further}")


def _rows(document: dict[str, Any]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The rows of the table, and what stands under each of them."""
    rows: list[tuple[str, ...]] = []
    tracebacks = [process.get("traceback", "") for process in document["processes"]]
    for process in document["processes"]:
        named = process["tier"] if "model" not in process else f"{process['model']}@{process['version']}"
        # inner processes stand under the one that started them
        what = f"  {process['role']}" if process.get("role") in ("worker", "decoder") else named
        pid = f"pid {process['pid']}" if process["pid"] is not None else "not running"
        ports = "  ".join(f"{name} {port}" for name, port in process["ports"].items())
        rows.append((process["state"].upper(), what, pid, ports, process.get("problem", "")))
    shown = {(process.get("model"), process.get("version")) for process in document["processes"]}
    for version in document["models"]:
        if (version["model"], version["version"]) not in shown:
            label = f"{version['model']}@{version['version']}"
            why = version.get("problem") or version.get("note", "")
            rows.append((version["state"].upper(), label, "not running", "", why))
            tracebacks.append(version.get("traceback", ""))
        elif "note" in version:
            rows.append(("NOTE", f"{version['model']}@{version['version']}", "", "", version["note"]))
            tracebacks.append("")
    return rows, tracebacks
