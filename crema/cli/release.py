"""`crema release PKG`: check a package, start it beside what serves, and give it a canary's share, if one is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crema.cli.release_verb import edit, options, run

if TYPE_CHECKING:
    from deploy.routing_edit import RoutingEdit


@click.command()
@click.argument("package", metavar="PKG")
@click.option(
    "--canary",
    metavar="SHARE",
    help="Give it this share of the calls that name no exact version, for instance 5%. [default: none]",
)
@options
def release(
    package: str, canary: str | None, cluster: Path | None, routing: Path | None, as_document: bool
) -> int:
    """Serve PKG (a folder NAME/VERSION, or NAME@VERSION of the packages folder) beside what serves now.

    It is checked (`crema check`), built, started and warmed up first. Returns when callers reach it by NAME@VERSION and,
    with --canary, when it gets its share. A canary that does worse than the live version loses its share by itself.

    \b
    Example: crema release model_packages/tags/3.2 --canary 5%
    """
    percent = None if canary is None else _percent(canary)
    # the supervisor has a working directory of its own
    path = Path(package)
    meant = str(path.absolute()) if path.exists() else package
    if routing is not None:
        what = {"package": package, "canary_percent": percent}
        return edit(
            routing,
            "release",
            what,
            lambda file, record: _into(file, meant, percent, cluster, record),
            as_document=as_document,
        )
    return run(cluster, "release", {"package": meant, "canary_percent": percent}, as_document=as_document)


def _percent(written: str) -> float:
    number = written.strip().removesuffix("%").strip()
    try:
        percent = float(number)
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise click.UsageError(f"--canary {written}: must be more than 0% and at most 100%, for instance 5%")
    return percent


def _into(
    file: RoutingEdit, package: str, percent: float | None, cluster: Path | None, record: dict[str, Any]
) -> dict[str, Any]:
    import asyncio

    from crema.host.manifest import ManifestError, load_manifest
    from crema.host.package_paths import package_digest
    from deploy.handover import Handovers
    from deploy.package_intake import meant
    from deploy.pointers import ReleaseRefused
    from deploy.refusals import NotServed
    from deploy.running_cluster import state_folder_of

    cluster = (cluster or Path("cluster.yaml")).absolute()
    folder = meant(package, cluster.parent / "model_packages")
    try:
        manifest = load_manifest(folder)
    except ManifestError as error:
        raise ReleaseRefused(str(error)) from None
    digest = package_digest(folder)
    record["digest"] = digest
    handovers = Handovers(state_folder_of(cluster), cluster if cluster.is_file() else None)
    handover = asyncio.run(handovers.of(folder, digest, lambda text: None))
    if not handover.passed:
        raise NotServed(handover.problem, handover.detail)
    return file.release(manifest, percent)
