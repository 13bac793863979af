"""`crema lock PKG`: pins and hashes what a package's `requirements.in` wants, one lock per platform profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crema.cli.main import FAILED
from crema.cli.package_argument import default_cluster, folder_of
from crema.cli.table import aligned, as_json


@click.command()
@click.argument("package", metavar="PKG")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    help="Lock this profile; may be given again. [default: cpu and pypi]",
)
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml whose packages are meant. [default: cluster.yaml here]",
)
@click.option("--upgrade", is_flag=True, help="Take the newest versions instead of those that are locked.")
@click.option("--json", "as_document", is_flag=True, help="Print one JSON document for programs.")
def lock(
    package: str, profiles: tuple[str, ...], cluster: Path | None, upgrade: bool, as_document: bool
) -> None:
    """Write requirements.<profile>.lock for PKG: a package's folder, or NAME@VERSION of the cluster's packages.

    cpu takes CPU builds from the folder or page in UV_FIND_LINKS (or PIP_FIND_LINKS, or pip's configuration); pypi
    takes the plain package index; any other name (cu130) takes what your uv is configured for.

    \b
    Example: crema lock model_packages/tags/3.1
    """
    from crema.host.manifest import ManifestError
    from envs.lock import DEFAULT_PROFILES, LockError, lock_package
    from envs.lock_file import LockFile

    rows: list[list[str]] = []
    made: list[dict[str, Any]] = []
    folder = folder_of(package, cluster or default_cluster())
    for profile in profiles or DEFAULT_PROFILES:
        try:
            path = lock_package(folder, profile, upgrade=upgrade, progress=_told)
        except ManifestError as error:
            raise click.ClickException(f"{package} has no usable manifest\n{error}") from None
        except LockError as error:
            made.append({"state": "failed", "profile": profile, "problem": str(error)})
            rows.append(["FAILED", str(error)])
        else:
            count = len(LockFile.read(path).requirements)
            made.append({"state": "locked", "profile": profile, "path": str(path), "packages": count})
            rows.append(["LOCKED", path.name, f"{count} packages"])
        if not as_document:
            click.echo(aligned(rows[-1:])[0])
    if as_document:
        click.echo(as_json({"package": str(folder), "locks": made}))
    if any(one["state"] == "failed" for one in made):
        raise SystemExit(FAILED)


def _told(line: str) -> None:
    click.echo(f"  {line}", err=True)
