"""What the release verbs have in common: which cluster or routing file they are run on, and how they tell what became of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from deploy.routing_edit import RoutingEdit

Command = TypeVar("Command", bound=Callable[..., Any])


def options(command: Command) -> Command:
    """The options of every release verb."""
    for option in (
        click.option("--json", "as_document", is_flag=True, help="Print what was done as one JSON document."),
        click.option(
            "--routing",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            metavar="FILE",
            help="Change this routing file (in Kubernetes: of the routing's ConfigMap) instead of a running cluster.",
        ),
        click.option(
            "--cluster",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="The cluster file of the running cluster that is meant.",
        ),
    ):
        command = option(command)
    return command


def name_and_version(selector: str, verb: str) -> tuple[str, str]:
    """`tags@3.2` as its two parts. Raises UsageError."""
    from crema.names import is_name, parse_version

    name, at, version = selector.partition("@")
    try:
        parse_version(version)
    except ValueError:
        at = ""
    if not at or not is_name(name):
        raise click.UsageError(f"{selector!r} is not NAME@VERSION, for instance: crema {verb} tags@3.2")
    return name, version


def model_name(written: str, verb: str) -> str:
    """A model's name. Raises UsageError."""
    from crema.names import is_name

    if not is_name(written):
        raise click.UsageError(f"{written!r} is not a model's name, for instance: crema {verb} tags")
    return written


def run(cluster: Path | None, verb: str, asked: dict[str, Any], *, as_document: bool) -> int:
    """Run a verb on the running cluster, and tell. Returns the exit code."""
    from crema.cli.console import spinner
    from deploy.running_cluster import NotRunning, Refused, find_cluster

    progress = spinner(is_document=as_document)
    try:
        done = find_cluster(cluster).run(verb, asked, progress)
    except NotRunning as error:
        raise click.ClickException(str(error)) from None
    except Refused as error:
        return _refused(str(error), error.detail, asked, as_document)
    finally:
        progress(None)
    _tell(verb, done, as_document)
    return 0


def edit(
    routing: Path,
    verb: str,
    what: dict[str, Any],
    change: Callable[[RoutingEdit, dict[str, Any]], dict[str, Any]],
    *,
    as_document: bool,
) -> int:
    """Run a verb on a routing file, with one record of it beside the file, and tell. Returns the exit code. `change` adds
    to the record what it learns."""
    from crema.host.audit import AUDIT_FILE, Audit
    from deploy.pointers import ReleaseRefused
    from deploy.routing_edit import RoutingEdit

    try:
        with Audit(routing.with_name(AUDIT_FILE)).call(verb, **what, routing=routing.name) as record:
            done = change(RoutingEdit(routing), record)
    except ReleaseRefused as error:
        return _refused(str(error), getattr(error, "detail", ""), what, as_document)
    except OSError as error:
        raise click.ClickException(f"no record of this can be kept, so it was not done: {error}") from None
    _tell(verb, done, as_document)
    return 0


def _tell(verb: str, done: dict[str, Any], as_document: bool) -> None:
    from crema.cli.table import aligned, as_json

    if as_document:
        click.echo(as_json(done))
        return
    rows = [("DONE", verb, f"revision {done['revision']}", done["says"])]
    rows += [
        ((version["state"] or "listed").upper(), f"{done['model']}@{version['version']}", version["gets"], "")
        for version in done["versions"]
    ]
    for line in aligned(rows):
        click.echo(line)


def _refused(problem: str, detail: str, asked: dict[str, Any], as_document: bool) -> int:
    from crema.cli.table import aligned, as_json

    if as_document:
        click.echo(as_json({"refused": problem, "detail": detail}))
        return 1
    what = asked.get("package") or "@".join(str(asked[key]) for key in ("model", "version") if asked.get(key))
    first, *more = problem.splitlines() or [""]
    for line in aligned([("FAILED", str(what), first)]):
        click.echo(line, err=True)
    for further in [*more, *detail.splitlines()]:
        click.echo(f"{'':10}{further}", err=True)
    return 1
