"""A backfill: many photos into one JSONL file, resumable, with progress shown."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import click

from crema.cli.analyze import exit_code
from crema.cli.api import Api
from crema.cli.in_flight import sent
from crema.cli.main import FAILED, PARTIAL
from crema.cli.records import InUse, NotRecords, OtherModels, Records
from crema.cli.send import NO_ANSWER, send

_SAY_EVERY_S: Final = 10.0


class NoAnswer(Exception):
    """The cluster does not answer any more, also not after waiting: going on would only fail every photo that is left."""


class Progress(Protocol):
    """Told of every photo that is done."""

    def done(self, counts: Counter[str]) -> None:
        """`counts` has the photos by status so far."""


def write_answers(
    api: Api, photos: list[Path], output: Path, models: list[str] | None, in_flight: int, tries: int
) -> int:
    """Send what `output` has no answer for, and append a line for each. Returns the exit code.

    `models` are the keys that the results will have; None for the cluster's default models. Raises UsageError when
    `output` holds answers of other models, or something else altogether; it is unchanged then.
    """
    try:
        records = Records(output)
        with records:
            if models is not None:
                records.check(models)
            todo = [photo for photo in photos if str(photo) not in records.answered]
            skipped = len(photos) - len(todo)
            counts: Counter[str] = Counter()
            reason = None
            try:
                if models is None and skipped:
                    known = next(photo for photo in photos if str(photo) in records.answered)
                    records.check(_default_models(api, known, output, tries))
                with _progress(len(todo)) as progress:
                    for photo, reply in sent(api, todo, in_flight, tries, in_order=False):
                        if reply.body.get("title") == NO_ANSWER:
                            raise NoAnswer(str(reply.body.get("detail")))
                        records.add(str(photo), reply)
                        counts[reply.status] += 1
                        progress.done(counts)
            except NoAnswer as error:
                reason = str(error)
            except KeyboardInterrupt:
                reason = "stopped"
    except InUse as error:
        raise click.ClickException(str(error)) from None
    except OtherModels as error:
        raise click.UsageError(
            f"{error}\n  write these to another file (-o), or delete {output} to start anew"
        ) from None
    except NotRecords as error:
        raise click.UsageError(f"{error}, and is left as it is\n  write to another file (-o)") from None
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written: {error.strerror or error}\n"
            "  make room for it or choose another file (-o); the same command goes on where it was"
        ) from None
    if counts or skipped or not todo:
        click.echo(_summary(counts, skipped, output), err=True)
    if reason is not None:
        left = len(todo) - counts.total()
        click.echo(
            f"  {reason}; {left} photo{'s' * (left != 1)} to go: the same command goes on where it was",
            err=True,
        )
        return PARTIAL if counts["ok"] or counts["partial"] or skipped else FAILED
    if counts["partial"] or counts["failed"]:
        click.echo("  the reasons stand in the file; the same command sends these photos again", err=True)
    return exit_code(["ok"] * min(1, skipped) + list(counts))


def _default_models(api: Api, photo: Path, output: Path, tries: int) -> list[str]:
    """What the cluster asks when no models are named, seen by the answer for a photo that it has answered before."""
    reply = send(api, photo, tries=tries)
    if reply.code != 200:
        raise click.ClickException(
            f"whether {output} holds answers of the cluster's default models cannot be told: "
            f"{photo}: {reply.body.get('detail') or reply.body.get('title')}\n"
            "  name the models (--models), or try again when the cluster answers"
        )
    return list(reply.body.get("results") or ())


def _summary(counts: Counter[str], skipped: int, output: Path) -> str:
    said = [f"{counts[status]} {status}" for status in ("ok", "partial", "failed") if counts[status]]
    if skipped:
        said.append(f"{skipped} answered before")
    return f"{output}: {', '.join(said) or 'no photos'}"


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Progress]:
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            with _Bar(total) as bar:
                yield bar
            return
    yield _Lines(total)


class _Lines:
    """A line now and then, for logs."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = time.monotonic() + _SAY_EVERY_S

    def done(self, counts: Counter[str]) -> None:
        """Says where it is, at most every ten seconds."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SAY_EVERY_S
            click.echo(f"  {counts.total()} of {self._total} photos", err=True)


class _Bar:
    """A bar with the rate and the time left, on a terminal. Raises ImportError where rich is not installed."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[not_ok]}"),
            console=Console(stderr=True),
        )  # fmt: skip
        self._task = self._bar.add_task("photos", total=total, not_ok="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def done(self, counts: Counter[str]) -> None:
        """Moves the bar on."""
        not_ok = ", ".join(f"{counts[status]} {status}" for status in ("partial", "failed") if counts[status])
        self._bar.update(self._task, completed=counts.total(), not_ok=not_ok)
