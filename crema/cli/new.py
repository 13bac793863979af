"""`crema new NAME`: a package that already passes `crema check`, to be made one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from crema.cli.needs_local import needs_local
from crema.cli.package_argument import default_cluster
from crema.cli.table import aligned, as_json


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--kind",
    type=click.Choice(["torch", "onnx", "numpy"]),
    default="torch",
    show_default=True,
    help="What the model runs on.",
)
@click.option("--version", default="1.0", show_default=True, help="MAJOR.MINOR of the first version.")
@click.option(
    "--packages",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of all packages. [default: that of cluster.yaml here, else model_packages]",
)
@click.option("--no-lock", is_flag=True, help="Write no lock now; `crema lock` makes it.")
@click.option("--json", "as_document", is_flag=True, help="Print one JSON document for programs.")
def new(name: str, kind: str, version: str, packages: Path | None, no_lock: bool, as_document: bool) -> int:
    """Write the package NAME: model, weights, examples, a test for plain pytest, CHANGES.md and a lock.

    It works as it is and imports nothing of crema.

    \b
    Example: crema new sunsets --kind numpy
    """
    with needs_local("new"):
        from check.scaffold import KINDS, ScaffoldRefused, write_scaffold
    chosen = next(each for each in KINDS if each == kind)
    try:
        folder = write_scaffold(packages or _packages_here(), name, version, chosen)
    except ScaffoldRefused as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        # copying a folder tells of each file by itself: (from, to, why)
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise click.ClickException(
            f"the package could not be written: {why}\n  make room, or name another folder: --packages"
        ) from None
    rows = [["WRITTEN", str(folder), f"{kind} package {name}@{version}"]]
    is_locked = not no_lock and _locked(folder, rows)
    next_step = f"crema {'check' if is_locked else 'lock'} {folder}"
    if as_document:
        locks = [row[1] for row in rows if row[0] == "LOCKED"]
        click.echo(as_json({"package": str(folder), "locks": locks, "next": next_step}))
        return 0
    rows.append(["NEXT", next_step])
    for line in aligned(rows):
        click.echo(line)
    return 0


def _packages_here() -> Path:
    """The folder that `packages` in cluster.yaml names. The rest of that file may still wait for this very package."""
    cluster = default_cluster()
    if cluster is not None:
        from crema.host.yaml_source import YamlSource

        data = YamlSource.read(cluster).data
        if isinstance(data, dict) and isinstance(named := data.get("packages"), str) and named:
            return Path(named)
    return Path("model_packages")


def _locked(folder: Path, rows: list[list[str]]) -> bool:
    """Makes the locks that can be made here, with a row for each; whether there is one."""
    from envs.lock import DEFAULT_PROFILES, LockError, lock_package

    made = False
    for profile in DEFAULT_PROFILES:
        try:
            path = lock_package(folder, profile)
        except LockError as error:
            rows.append(["NOTE", f"requirements.{profile}.lock", f"not made: {str(error).splitlines()[0]}"])
        else:
            made = True
            rows.append(["LOCKED", path.name, "pinned and hashed"])
    return made
