"""`crema check PKG`: the handover checklist, one line per step, in the package's real environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crema.cli.needs_local import needs_local
from crema.cli.package_argument import default_cluster, folder_of
from crema.cli.table import aligned, as_json

if TYPE_CHECKING:
    from check.report import Report, Step
    from check.subject import Device
    from crema.host.manifest import Manifest

_STATES = {"ok": "OK", "failed": "FAILED", "skipped": "SKIPPED"}


@click.command()
@click.argument("package", metavar="PKG")
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml whose packages are meant, and beside which the report is stored, too. [default: cluster.yaml here]",
)
@click.option("--json", "as_document", is_flag=True, help="Print the report as one JSON document.")
def check(package: str, cluster: Path | None, as_document: bool) -> int:
    """Check PKG for handover: a package's folder, or NAME@VERSION (or NAME, the newest) of the cluster's packages.

    Runs the package in its own virtualenv, without network, on its examples and on probes: the first line says whether
    it passed, or why not; then one line per step. The report is stored under the package's digest, where
    `crema release` looks for it.

    \b
    Example: crema check tags@3.1
    """
    with needs_local("check"):
        from check.checklist import check_package
    from crema.cli.console import spinner
    from deploy.running_cluster import state_folder_of

    cluster = cluster or default_cluster()
    folder = folder_of(package, cluster)
    progress = spinner(is_document=as_document)
    try:
        report = check_package(folder, packages=None, on_progress=progress, place=placed)
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be checked: {error}") from None
    finally:
        progress(None)
    try:
        stored = str(report.store(None if cluster is None else state_folder_of(cluster)))
    except OSError as error:
        stored = f"the report could not be stored: {error}"
    if as_document:
        click.echo(as_json(report.document()))
    else:
        for line in lines_of(report, package, stored):
            click.echo(line)
    return 0 if report.passed else 1


def placed(manifest: Manifest, profile: str | None) -> Device:
    """Where a package runs on this machine, as `crema up` would place it. Raises StepFailed."""
    from check.failure import StepFailed
    from check.subject import Device
    from deploy.gpus import DoesNotFit, Gpus, find_gpus

    wanted = manifest.resources
    # a CPU build cannot use a GPU, whatever the machine has
    gpus = Gpus() if profile == "cpu" or wanted.device == "cpu" else find_gpus()
    try:
        placement = gpus.place(wanted.device, wanted.gpu_memory_mb)
    except DoesNotFit as error:
        raise StepFailed(str(error)) from None
    return Device(placement.device, placement.visible)


def lines_of(report: Report, package: str, stored: str) -> list[str]:
    """The verdict with its reason first, then the steps, each followed by what else there is to say of it."""
    label = f"{report.name}@{report.version}"
    seconds = f"{sum(step.seconds for step in report.steps):.1f} s"
    failed = report.first_failed
    if failed is None:
        head = aligned([["PASSED", label, seconds, f"{len(report.steps)} steps; report {stored}"]])
    else:
        head = aligned([["FAILED", label, failed.name, failed.message]])
    return [*head, *_step_lines(report.steps, package)]


def _step_lines(steps: tuple[Step, ...], package: str) -> list[str]:
    rows = [[_STATES[step.status], step.name, f"{step.seconds:6.2f} s", step.message] for step in steps]
    lines = []
    for line, step in zip(aligned(rows), steps, strict=True):
        lines.append(line)
        lines += [f"{'':10}{more}" for more in step.detail.splitlines()]
        if step.status == "failed" and "try: " not in step.detail + step.message:
            lines.append(f"{'':10}try: repair it, then crema check {package}")
    return lines
