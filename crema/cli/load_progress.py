"""How a load run is going, on standard error: one line that changes on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from loadtest.load_run import Live
    from loadtest.scenario import Scenario

_PLAIN_EVERY_S: Final = 5.0


class LoadProgress:
    """`watch` is told how it goes; `close` leaves the terminal as it was."""

    def __init__(self, scenario: Scenario) -> None:
        self._seconds = scenario.seconds
        self._shown_at = -_PLAIN_EVERY_S
        self._shown_phase = ""
        self._bar: Any = None
        self._task: Any = None
        if sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                from rich.console import Console
                from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

                self._bar = Progress(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(20),
                    TimeRemainingColumn(),
                    console=Console(stderr=True, highlight=False),
                    transient=True,
                )
                self._bar.start()
                self._task = self._bar.add_task("", total=self._seconds)

    def tell(self, text: str) -> None:
        """What is being waited for before anything is sent."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif text != self._shown_phase:
            self._shown_phase = text
            click.echo(text, err=True)

    def watch(self, live: Live) -> None:
        """How it goes."""
        text = live_words(live, self._seconds)
        phase = live.phase.name if live.phase is not None else ""
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=min(live.elapsed_s, self._seconds))
        elif live.elapsed_s - self._shown_at >= _PLAIN_EVERY_S or phase != self._shown_phase:
            self._shown_at, self._shown_phase = live.elapsed_s, phase
            click.echo(text, err=True)

    def close(self) -> None:
        """No more of it."""
        if self._bar is not None:
            self._bar.stop()


def live_words(live: Live, seconds: float) -> str:
    """One line."""
    from loadtest.report_words import ms

    def latency(percent: float) -> str:
        found = live.recent.percentile_s(percent)
        return ms(None if found is None else found * 1000)

    counts = live.counts
    phase = live.phase.name if live.phase is not None else "waiting"
    parts = [
        f"{min(live.elapsed_s, seconds):4.0f} of {seconds:.0f} s  {phase}",
        f"{live.recent_sent_per_s:.4g}/s sent",
        f"p50 {latency(50)}  p99 {latency(99)}",
        f"ok {counts['ok']}",
    ]
    parts += [
        f"{name} {count}"
        for name, count in (
            ("429", counts["refused"]),
            ("partial", counts["partial"]),
            ("errors", counts["failed"] + counts["lost"]),
            ("in flight", live.in_flight),
        )
        if count
    ]
    return "  ".join(parts)
