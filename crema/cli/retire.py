"""`crema retire NAME@VERSION`: take a version out of service."""

from __future__ import annotations

from pathlib import Path

import click

from crema.cli.release_verb import edit, name_and_version, options, run


@click.command()
@click.argument("selector", metavar="NAME@VERSION")
@options
def retire(selector: str, cluster: Path | None, routing: Path | None, as_document: bool) -> int:
    """Send nobody to VERSION any more. Its minions finish what they hold and end; `crema rollback` starts them again.

    \b
    Example: crema retire tags@3.1
    """
    name, version = name_and_version(selector, "retire")
    asked = {"model": name, "version": version}
    if routing is not None:
        return edit(
            routing, "retire", asked, lambda file, _: file.retire(name, version), as_document=as_document
        )
    return run(cluster, "retire", asked, as_document=as_document)
