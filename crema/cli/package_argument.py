"""What PKG means on a command line: a package's folder, or NAME@VERSION of the packages of a cluster file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

_DEFAULT_CLUSTER: Final = Path("cluster.yaml")


def default_cluster() -> Path | None:
    """The cluster.yaml here, if there is one."""
    return _DEFAULT_CLUSTER if _DEFAULT_CLUSTER.is_file() else None


def folder_of(package: str, cluster: Path | None) -> Path:
    """The folder that PKG means. An error here ends the command with what to do."""
    if (path := Path(package)).is_dir():
        return path
    name, at, version = package.partition("@")
    if "/" in package:
        raise click.UsageError(
            f"there is no folder {package}; name a package's folder or NAME@VERSION of the cluster's packages"
        )
    if cluster is None:
        raise click.UsageError(
            f"there is no folder {package} and no cluster.yaml here; name a package's folder, or --cluster FILE"
        )
    from crema.host.config import ConfigError, packages_dir_of
    from crema.host.packages import find_packages

    try:
        packages = find_packages(packages_dir_of(cluster))
    except ConfigError as error:
        raise click.ClickException(f"{cluster} has mistakes\n{error}") from None
    except OSError as error:
        raise click.ClickException(
            f"the packages of {cluster} cannot be read: {error}\n  repair `packages` in it, or name a package's folder"
        ) from None
    found = packages.find(name, version) if at else packages.newest(name)
    if found is None:
        there = ", ".join(each.label for each in packages.all) or "none"
        raise click.UsageError(f"there is no package {package}; there are: {there}")
    return found.path
