"""`crema bench PKG`: what batches of a package take on this machine, and what its manifest should say for its promise."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crema.cli.needs_local import needs_local
from crema.cli.package_argument import default_cluster, folder_of
from crema.cli.table import aligned

if TYPE_CHECKING:
    from crema.cli.console import Console
    from crema.cli.suggestion import Suggestion
    from crema.host.manifest import Manifest
    from deploy.environments import Chosen
    from deploy.gpus import Placement


@click.command()
@click.argument("package", metavar="PKG")
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml whose packages are meant, and beside which the curve is stored. [default: cluster.yaml here]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for programs.")
def bench(package: str, cluster: Path | None, as_json: bool) -> int:
    """Measure batches of PKG: a package's folder, or NAME@VERSION (or NAME, the newest) of the cluster's packages.

    Runs the package's own worker in its own virtualenv on its own examples, one batch at a time, without a server, and
    shows seconds and memory per batch size, then the batching.max_size and gate.max_pending that fit slo.p99_ms. The
    measured curve is stored beside the cluster file: the minions of the next `crema up` start from it. Other work on
    this machine shows in the numbers; stop a running cluster first.

    \b
    Example: crema bench tags@3.1
    """
    with needs_local("bench"):
        from crema.cli.console import Console
        from crema.cli.suggestion import suggest
        from crema.host.manifest import ManifestError, load_manifest
        from crema.host.measured_curve import MeasuredCurve, curve_path
        from deploy.bench_run import BenchFailed
        from deploy.environments import EnvironmentFailed
        from deploy.gpus import DoesNotFit
        from deploy.running_cluster import state_folder_of
    cluster = cluster or default_cluster()
    folder = folder_of(package, cluster)
    console = Console() if sys.stdout.isatty() and not as_json else None
    try:
        manifest = load_manifest(folder)
        digest = manifest.digest
        # without a cluster file nothing is kept: nobody would look for it
        state = state_folder_of(cluster) if cluster is not None else None
        chosen, placement, found = _measured(manifest, state, console)
    except ManifestError as error:
        raise click.ClickException(f"{folder} has no usable manifest\n{error}") from None
    except EnvironmentFailed as error:
        raise click.ClickException(f"the environment of {package} cannot be had\n{error}") from None
    except DoesNotFit as error:
        raise click.ClickException(f"{package}: {error}") from None
    except BenchFailed as error:
        raise click.ClickException(
            f"{package} could not be measured: {error}\n  repair the model, then: crema bench {package}"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{package} could not be measured: {error}") from None
    finally:
        if console is not None:
            console.working(None)
    label = f"{manifest.name}@{manifest.version}"
    points = tuple((row["n"], row["seconds"]) for row in found["measured"])
    suggestion = suggest(
        points,
        manifest.slo.p99_ms / 1000,
        item_bytes=manifest.input.item_bytes,
        workers=manifest.workers,
    )
    stored = None
    if state is not None:
        path = curve_path(state / "curves", digest, placement.device)
        try:
            MeasuredCurve(label, placement.device, points).write(path)
            stored = path
        except OSError as error:
            found["notes"].append(f"the curve could not be stored: {error}")
    else:
        found["notes"].append("the curve is not stored: there is no cluster.yaml here; name --cluster FILE")
    if as_json:
        from crema.cli.table import as_json as one_line

        click.echo(one_line(_document(manifest, placement, found, suggestion, stored)))
    else:
        rows = [["MEASURED", label, placement.device, chosen.words]]
        for line in [*aligned(rows), *_lines(manifest, found, suggestion, stored)]:
            click.echo(line)
    return 0


def _measured(
    manifest: Manifest, state: Path | None, console: Console | None
) -> tuple[Chosen, Placement, dict[str, Any]]:
    """The Python that was taken, where it ran, and what was found: `load`, `measured` and `notes`.

    Raises EnvironmentFailed, DoesNotFit, BenchFailed and OSError.
    """
    import asyncio

    from crema.host.config import Ports, ResolvedVersion
    from deploy.bench_run import example_tensors, measurements
    from deploy.environments import environments_here
    from deploy.gpus import Gpus, find_gpus
    from deploy.tiers import bench_command
    from deploy.warmup import WarmupFailed

    def tell(text: str) -> None:
        if console is not None:
            console.working(text)
        else:
            click.echo(f"  {text}", err=True)

    version = ResolvedVersion(manifest.version, manifest.package_dir, manifest, 1, 1, None, Ports())
    chosen = asyncio.run(environments_here().python_of(version, tell))
    # as for a minion: a CPU build cannot use a GPU, whatever the machine has
    gpus = Gpus() if chosen.profile == "cpu" else find_gpus()
    placement = gpus.place(manifest.resources.device, manifest.resources.gpu_memory_mb)
    found: dict[str, Any] = {"load": None, "measured": [], "notes": []}
    with contextlib.ExitStack() as stack:
        kept = (
            state / "warmup" if state else Path(stack.enter_context(tempfile.TemporaryDirectory())) / "warmup"
        )
        tell("making the examples into tensors")
        warmup: Path | None = None
        try:
            warmup = example_tensors(manifest, kept)
        except WarmupFailed as error:
            found["notes"].append(f"measured on noise, the examples could not be used: {error}")
        tell("loading the model")
        for event in measurements(bench_command(manifest.package_dir, chosen.python, placement, warmup)):
            if "loaded" in event:
                found["load"] = event["loaded"]
                tell(f"measuring batches of 1 to {manifest.batching.max_size}")
            elif "measured" in event:
                row = event["measured"]
                found["measured"].append(row)
                if console is not None:
                    tell(f"a batch of {row['n']} takes {row['seconds'] * 1000:.1f} ms")
            elif "stopped" in event:
                found["notes"].append(f"no larger batches were measured: {event['stopped']['problem']}")
    return chosen, placement, found


def _lines(
    manifest: Manifest, found: dict[str, Any], suggestion: Suggestion, stored: Path | None
) -> list[str]:
    """One line per size, then the suggestion, then what else there is to know."""
    sizes = [
        [
            f"n={row['n']}",
            f"{row['seconds'] * 1000:9.2f} ms",
            f"worst {row['worst_seconds'] * 1000:9.2f} ms",
            f"{row['seconds'] * 1000 / row['n']:8.2f} ms/item",
            f"{row['n'] / max(row['seconds'], 1e-9):8.0f} items/s",
            f"{row['memory_bytes'] / 1e6:6.0f} MB",
        ]
        for row in found["measured"]
    ]
    p99 = manifest.slo.p99_ms
    twice = 2000 * suggestion.batch_s
    fits = f"2 x t({suggestion.max_size}) = {twice:.1f} ms, slo.p99_ms is {p99:g}"
    if not suggestion.keeps_promise:
        fits += f": not even single items keep it; promise {max(1, round(twice + 0.5))} or more"
    advice = [
        [
            "SUGGEST",
            f"batching: {{max_size: {suggestion.max_size}}}",
            f"now {manifest.batching.max_size}",
            fits,
        ],
        [
            "SUGGEST",
            f"gate: {{max_pending: {suggestion.max_pending}}}",
            f"now {manifest.gate.max_pending}",
            "items that are finished within slo.p99_ms",
        ],
    ]
    notes = [["NOTE", note] for note in found["notes"]]
    if stored is not None:
        notes.append(["STORED", f"{stored}: the next `crema up` starts from it"])
    return [*aligned(sizes), *aligned(advice), *aligned(notes)]


def _document(
    manifest: Manifest,
    placement: Placement,
    found: dict[str, Any],
    suggestion: Suggestion,
    stored: Path | None,
) -> dict[str, Any]:
    """What `--json` prints: milliseconds and bytes."""
    load = found["load"]
    return {
        "model": manifest.name,
        "version": manifest.version,
        "device": placement.device,
        "load": {"ms": round(load["seconds"] * 1000, 3), "memory_bytes": load["memory_bytes"]},
        "sizes": [
            {
                "n": row["n"],
                "ms": round(row["seconds"] * 1000, 3),
                "worst_ms": round(row["worst_seconds"] * 1000, 3),
                "runs": row["runs"],
                "memory_bytes": row["memory_bytes"],
            }
            for row in found["measured"]
        ],
        "slo": {"p99_ms": manifest.slo.p99_ms},
        "manifest": {
            "max_size": manifest.batching.max_size,
            "max_pending": manifest.gate.max_pending,
        },
        "suggestion": {
            "max_size": suggestion.max_size,
            "max_pending": suggestion.max_pending,
            "keeps_promise": suggestion.keeps_promise,
        },
        "curve": None if stored is None else str(stored),
        "notes": found["notes"],
    }
