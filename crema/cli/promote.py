"""`crema promote NAME@VERSION`: make a model's name mean a version that serves."""

from __future__ import annotations

from pathlib import Path

import click

from crema.cli.release_verb import edit, name_and_version, options, run


@click.command()
@click.argument("selector", metavar="NAME@VERSION")
@options
def promote(selector: str, cluster: Path | None, routing: Path | None, as_document: bool) -> int:
    """Make NAME (and NAME@MAJOR) mean VERSION. The version before it serves on by its number; `crema rollback` goes back.

    \b
    Example: crema promote tags@3.2
    """
    name, version = name_and_version(selector, "promote")
    asked = {"model": name, "version": version}
    if routing is not None:
        return edit(
            routing, "promote", asked, lambda file, _: file.promote(name, version), as_document=as_document
        )
    return run(cluster, "promote", asked, as_document=as_document)
