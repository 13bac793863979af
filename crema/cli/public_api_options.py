"""The options that say which cluster's public API is meant, and with which key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

DEFAULT_URL: Final = "http://127.0.0.1:8000"

_OPTIONS: Final = (
    click.option(
        "--url",
        help=f"The cluster's public API. [default: the cluster started from this folder, else {DEFAULT_URL}]",
    ),
    click.option(
        "--cluster",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The cluster file of the cluster to send to.",
    ),
    click.option(
        "--key-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Holds the API key to show. [default: the key in CREMA_API_KEY, if there is one]",
    ),
)


def public_api_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """`--url`, `--cluster` and `--key-file` of a verb, in this order."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb
