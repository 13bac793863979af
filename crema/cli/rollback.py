"""`crema rollback NAME`: bring back the state before the last release verb."""

from __future__ import annotations

from pathlib import Path

import click

from crema.cli.release_verb import edit, model_name, options, run


@click.command()
@click.argument("model", metavar="NAME")
@options
def rollback(model: str, cluster: Path | None, routing: Path | None, as_document: bool) -> int:
    """Undo the last release, promote or retire of the model NAME; again: the one before.

    \b
    Example: crema rollback tags
    """
    name = model_name(model, "rollback")
    asked = {"model": name}
    if routing is not None:
        return edit(routing, "rollback", asked, lambda file, _: file.rollback(name), as_document=as_document)
    return run(cluster, "rollback", asked, as_document=as_document)
