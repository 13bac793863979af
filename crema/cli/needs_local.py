"""What a verb says where the libraries of the extra `local` are not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click


@contextlib.contextmanager
def needs_local(verb: str) -> Iterator[None]:
    """Around the imports of a verb: one that is not there ends the command with what to install."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f"{error}\n  `crema {verb}` needs the extra `local`: pip install 'crema[local]'"
        ) from None
