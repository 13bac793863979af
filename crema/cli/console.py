"""Console: the supervisor's display. A spinner on a terminal, plain lines anywhere else; a closed output stops nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import click

from crema.cli.table import STATE_WIDTH, coloured

_WHAT_WIDTH = 16


class Console:
    """Implements `deploy.display.Display` on standard output."""

    def __init__(self) -> None:
        self._spinner: Any = None
        self._said: str | None = None
        if sys.stdout.isatty():
            with contextlib.suppress(ImportError):
                from rich.console import Console as Terminal

                self._spinner = Terminal(highlight=False).status("")

    def working(self, text: str | None) -> None:
        """Show what is being waited for; each text once where there is no terminal."""
        if self._spinner is not None:
            with contextlib.suppress(OSError):
                self._spin(text)
        elif text is not None and text != self._said:
            self._echo(f"{'…':<{STATE_WIDTH}} {text}")
        self._said = text

    def _spin(self, text: str | None) -> None:
        if text is None:
            self._spinner.stop()
            return
        from rich.text import Text

        self._spinner.update(Text(text))
        self._spinner.start()

    def line(self, state: str, what: str, detail: str = "", problem: str = "") -> None:
        """One aligned line; the further lines of a problem are indented under it."""
        first, *more = problem.splitlines() or [""]
        text = f"{state:<{STATE_WIDTH}} {what:<{_WHAT_WIDTH}} {'  '.join(part for part in (detail, first) if part)}".rstrip()
        self.text("\n".join([coloured(state, text), *(f"{'':{STATE_WIDTH + 1}}{line}" for line in more)]))

    def text(self, text: str) -> None:
        """Lines as they are, with the spinner out of the way."""
        with contextlib.suppress(OSError):
            if self._spinner is not None and self._said is not None:
                self._spinner.stop()
                self._echo(text)
                self._spinner.start()
            else:
                self._echo(text)

    def _echo(self, text: str) -> None:
        with contextlib.suppress(OSError):
            click.echo(text)


def spinner(*, is_document: bool) -> Callable[[str | None], None]:
    """`Console.working` on a terminal; elsewhere, and beside a document for programs, what is waited for is not shown."""
    if is_document or not sys.stdout.isatty():
        return lambda text: None
    return Console().working
