"""`crema status`: every process of the running cluster, what does not run and why, and what each model is doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

WINDOW_S: Final = 0.3


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print the whole status as JSON, with the same figures."
)
@click.option(
    "--window",
    "window_s",
    type=click.FloatRange(0.1, 60.0),
    default=WINDOW_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to watch for rates and latencies; longer is steadier.",
)
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The cluster file of the cluster to ask.",
)
def status(as_json: bool, window_s: float, cluster: Path | None) -> None:
    """Show every process of the cluster started from this folder: state, pid, ports, and the problem if there is one.

    Under them each tier and model version with what it did in the last moment: calls offered, accepted and refused
    (429), latency, batch size, and how many replicas the autoscaler wants and why.

    \b
    Example: crema status
    """
    from crema.cli.api_key import api_key
    from crema.cli.table import STATE_WIDTH, aligned
    from deploy.live_status import LiveStatus
    from deploy.running_cluster import NotRunning, find_cluster

    try:
        document = LiveStatus(find_cluster(cluster), window_s=window_s, key=api_key()).once()
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
    for line in aligned(_figure_rows(document)):
        click.echo(line)
    for silent in document["unanswered"]:
        click.echo(aligned([("NOTE", silent["process"], silent["problem"])])[0])


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


def _figure_rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """Of what was looked at: a version that does not run has its line above."""
    from crema.cli.figure_cells import figure, number, wanted

    rows: list[tuple[str, ...]] = []
    for row in [*document["tiers"], *document["models"]]:
        if not row.get("figures"):
            continue
        is_model = "model" in row
        rows.append(
            (
                row["state"].upper(),
                f"{row['model']}@{row['version']}" if is_model else row["tier"],
                f"ready {row['ready']}/{row['replicas']}",
                f"offered {number(figure(row, 'offered_per_s'))}/s",
                f"accepted {number(figure(row, 'accepted_per_s'))}/s",
                f"refused {number(figure(row, 'refused_per_s'))}/s",
                f"p50 {number(figure(row, 'p50_ms'))} ms",
                f"p99 {number(figure(row, 'p99_ms'))} ms",
                f"batch {number(figure(row, 'batch_size'))}" if is_model else "",
                f"wanted {wanted(row)}" if is_model or "wanted" in row else "",
                row.get("why") or "",
            )
        )
    return rows
