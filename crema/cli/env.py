"""`crema env list|verify|prune`: the models' virtualenvs that were built here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crema.cli.package_argument import default_cluster
from crema.cli.table import aligned

if TYPE_CHECKING:
    from crema.host.packages import Packages
    from envs.store import Built

_DEFAULT_PACKAGES: Final = Path("model_packages")

_cluster_option = click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml whose packages count. [default: cluster.yaml here, else the folder model_packages]",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group()
def env() -> None:
    """The virtualenvs of the models: list, check, or remove those that no package uses."""


@env.command("list", short_help="List them with their size and users.")
@_cluster_option
@_json_option
def list_(cluster: Path | None, as_json: bool) -> None:
    """List the built virtualenvs with their size and the packages that use them."""
    from envs.store import all_built, default_root, users

    packages = _packages(cluster)
    rows = []
    for built in all_built(default_root()):
        using = users(built, packages)
        rows.append({"state": "ready" if using else "unused", **_described(built), "packages": using})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        _print(
            [row["state"].upper(), *_columns(row), ", ".join(row["packages"]) or "no package"] for row in rows
        )
    else:
        click.echo(f"nothing is built yet in {default_root()}; `crema up` builds what a cluster needs")


@env.command(short_help="Hash every file against its package's promise.")
@click.argument("fingerprints", nargs=-1, metavar="[FINGERPRINT]...")
@_json_option
def verify(fingerprints: tuple[str, ...], as_json: bool) -> None:
    """Hash every file of the virtualenvs (all, or those named) against what its package promised.

    A file that was edited in one virtualenv is edited in all that share it, and in uv's cache: verify finds it.
    """
    from envs.record import check_records
    from envs.store import all_built, default_root

    chosen = [
        built
        for built in all_built(default_root())
        if not fingerprints or built.path.name.startswith(fingerprints)
    ]
    if fingerprints and not chosen:
        raise click.ClickException(
            f"no virtualenv begins with {' or '.join(fingerprints)}; see `crema env list`"
        )
    rows: list[dict[str, Any]] = []
    for built in chosen:
        check = check_records(built.path)
        problems = list(check.problems)
        if check.digest != built.marker.records:
            problems.append("the RECORD files are not those of the build")
        rows.append({"state": "changed" if problems else "ok", **_described(built), "problems": problems})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        lines = []
        for row in rows:
            lines += [
                [row["state"].upper(), *_columns(row), problem]
                for problem in row["problems"] or ["every file is as promised"]
            ]
        _print(lines)
    if any(row["problems"] for row in rows):
        click.echo(
            "the next step: remove the folder, run `uv cache clean`, and let `crema up` build it again",
            err=True,
        )
        raise SystemExit(1)


@env.command(short_help="Remove those that no package uses.")
@_cluster_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_json_option
def prune(cluster: Path | None, dry_run: bool, as_json: bool) -> None:
    """Remove the virtualenvs that no lock of a package names, except where a process still runs in one."""
    from envs.store import default_root, running_in
    from envs.store import prune as prune_store

    packages = _packages(cluster)
    if not packages.by_name:
        raise click.ClickException(
            f"there are no packages in {packages.root}, so every virtualenv would go; name --cluster FILE"
        )
    removed, in_use = prune_store(default_root(), packages, dry_run=dry_run)
    rows = [{"state": "unused" if dry_run else "removed", **_described(built)} for built in removed]
    rows += [{"state": "running", **_described(built), "pids": running_in(built.path)} for built in in_use]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        _print(
            [
                str(row["state"]).upper(),
                *_columns(row),
                f"kept: pids {row['pids']} run in it" if "pids" in row else "no package",
            ]
            for row in rows
        )
    else:
        click.echo("every virtualenv is used by a package")


def _packages(cluster: Path | None) -> Packages:
    """The packages that count as users. An error here ends the command with what to do."""
    from crema.host.config import ConfigError, load_cluster
    from crema.host.packages import find_packages

    try:
        if (file := cluster or default_cluster()) is not None:
            return find_packages(load_cluster(file).packages_dir)
        return find_packages(_DEFAULT_PACKAGES)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except OSError:
        raise click.UsageError("no cluster.yaml and no model_packages here; name --cluster FILE") from None


def _described(built: Built) -> dict[str, Any]:
    marker = built.marker
    return {
        "fingerprint": marker.fingerprint,
        "profile": marker.profile,
        "python": marker.python,
        "bytes": marker.bytes,
        "path": str(built.path),
        "requirements": marker.requirements,
    }


def _columns(row: dict[str, Any]) -> list[str]:
    return [row["fingerprint"], row["profile"], f"Python {row['python']}", f"{row['bytes'] / 1e6:.0f} MB"]


def _print(rows: Iterable[list[str]]) -> None:
    for line in aligned(rows):
        click.echo(line)
