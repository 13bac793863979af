"""`crema diff A B PHOTOS…`: how the answers of two versions differ, and a page with the worst cases."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crema.cli.answer_table import output_text
from crema.cli.main import PARTIAL
from crema.cli.needs_local import needs_local
from crema.cli.output_place import check_place
from crema.cli.package_argument import default_cluster, folder_of
from crema.cli.photos import find_photos
from crema.cli.table import aligned, as_json

if TYPE_CHECKING:
    from check.comparison import Comparison
    from check.photos import Photos
    from check.trial import Trial

Pair = tuple[Path, Any, Any]
"""A photo, the answer of the first version and that of the second."""


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.argument(
    "photos", metavar="PHOTOS…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option(
    "-o", "--html", type=click.Path(path_type=Path, dir_okay=False), default=Path("crema-diff.html"),
    show_default=True, metavar="FILE", help="The page with the worst cases.",
)  # fmt: skip
@click.option(
    "--worst", type=click.IntRange(1, 200), default=12, show_default=True, help="Cases on the page."
)
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml whose packages are meant. [default: cluster.yaml here]",
)
@click.option("--json", "as_document", is_flag=True, help="Print one JSON document for programs.")
def diff(
    before: str,
    after: str,
    photos: tuple[Path, ...],
    html: Path,
    worst: int,
    cluster: Path | None,
    as_document: bool,
) -> int:
    """Show how the answers of two versions differ: A and B are packages' folders or NAME@VERSION.

    Tags: which came and went, and how sure the model is; scores: how far they moved, and whether the photos keep their
    order; captions: which words. Both versions run here, each in its own virtualenv, without a server, on each photo and
    each photo in the folders named. The photos that changed most go on one HTML page.

    \b
    Example: crema diff tags@3.1 tags@3.2 samples -o changes.html
    """
    with needs_local("diff"):
        from check.comparison import compare
        from check.failure import StepFailed
        from check.photos import Photos
        from check.trial import Trial
    from crema.cli.check import placed
    from crema.cli.console import spinner

    check_place(html)
    folders = [folder_of(package, cluster or default_cluster()) for package in (before, after)]
    named = find_photos(photos)
    if not named:
        raise click.UsageError("there is no photo in the folders named")
    progress = spinner(is_document=as_document)
    with (
        tempfile.TemporaryDirectory(prefix="crema-diff-", ignore_cleanup_errors=True) as work,
        Photos() as decoder,
        closing(Trial(folders[0], decoder, Path(work, "a"), progress=progress, place=placed)) as left,
        closing(Trial(folders[1], decoder, Path(work, "b"), progress=progress, place=placed)) as right,
    ):
        try:
            for package, trial in ((before, left), (after, right)):
                _opened(package, trial)
            kind = left.manifest.output.type
            if right.manifest.output.type != kind:
                raise click.UsageError(
                    f"{left.label} answers with {kind} and {right.label} with {right.manifest.output.type};"
                    " name two versions of one model"
                )
            pairs, problems = _asked(left, right, named, progress)
            found = compare(kind, [(one, two) for _, one, two in pairs]) if pairs else None
            if found is not None:
                progress("drawing the page")
                _write_page(html, left.label, right.label, pairs, found, worst, decoder)
        except StepFailed as failed:
            raise click.ClickException(str(failed)) from None
        except OSError as error:
            raise click.ClickException(
                f"the comparison stopped: {error}\n  make room or name another place: -o FILE"
            ) from None
        finally:
            progress(None)
        labels = left.label, right.label
    if found is None:
        raise click.ClickException(
            "no photo was answered by both\n" + "\n".join(f"  {one}" for one in problems)
        )
    if as_document:
        click.echo(as_json(_document(labels, pairs, found, problems, html)))
    else:
        for line in _lines(labels, pairs, found, problems, html, worst):
            click.echo(line)
    return PARTIAL if problems else 0


def _opened(package: str, trial: Trial) -> None:
    from check.failure import StepFailed

    try:
        trial.judge()
        for note in trial.notes:
            click.echo(aligned([["NOTE", package, note]])[0], err=True)
        trial.load()
    except StepFailed as failed:
        raise click.ClickException(
            f"{package}: {failed}\n  {failed.detail or f'try: crema check {package}'}"
        ) from None


def _asked(left: Trial, right: Trial, named: Sequence[Path], progress: Any) -> tuple[list[Pair], list[str]]:
    """The photos that both answered, and what was wrong with the others. Raises StepFailed when a worker dies."""
    from check.items import ExampleUnusable

    pairs: list[Pair] = []
    problems: list[str] = []
    for number, photo in enumerate(named, start=1):
        progress(f"photo {number} of {len(named)}")
        outcomes = []
        for trial in (left, right):
            try:
                outcomes.append(trial.answer(trial.item(photo), {}).outcome)
            except (ExampleUnusable, OSError) as error:
                problems.append(f"{photo}: {error}")
                break
            if "error" in outcomes[-1]:
                said = outcomes[-1]["error"]
                problems.append(f"{photo}: {trial.label}: {said['code']}: {said['message']}")
                break
        else:
            pairs.append((photo, outcomes[0]["ok"], outcomes[1]["ok"]))
    return pairs, problems


def _worst(found: Comparison, most: int) -> list[int]:
    """The photos that changed, those that changed most first."""
    changed = [index for index, change in enumerate(found.changes) if change.amount > 0]
    return sorted(changed, key=lambda index: -found.changes[index].amount)[:most]


def _write_page(
    html: Path, before: str, after: str, pairs: Sequence[Pair], found: Comparison, worst: int, decoder: Photos
) -> None:
    from check.difference_page import Case, page
    from check.photos import PhotoRefused
    from check.thumbnail import thumbnail

    cases = []
    for index in _worst(found, worst):
        photo, one, two = pairs[index]
        try:
            picture = thumbnail(photo.read_bytes(), decoder)
        except PhotoRefused:
            picture = b""  # a tensor
        change = found.changes[index]
        cases.append(
            Case(str(photo), picture, change.amount, change.words, output_text(one), output_text(two))
        )
    html.write_text(page(before, after, found.facts, cases), encoding="utf-8")


def _lines(
    labels: tuple[str, str],
    pairs: Sequence[Pair],
    found: Comparison,
    problems: Sequence[str],
    html: Path,
    worst: int,
) -> list[str]:
    is_same = all(change.amount == 0 for change in found.changes)
    state = "SAME" if is_same else "DIFFERS"
    rows = [[state, f"{labels[0]} → {labels[1]}", found.facts[0]]]
    lines = aligned([*rows, *(["", "", fact] for fact in ([] if is_same else found.facts[1:]))])
    changed = [
        ["CHANGED", str(pairs[index][0]), found.changes[index].words] for index in _worst(found, worst)
    ]
    lines += aligned(changed)
    lines += aligned([["ERROR", problem] for problem in problems])
    return [*lines, *aligned([["PAGE", str(html)]])]


def _document(
    labels: tuple[str, str],
    pairs: Sequence[Pair],
    found: Comparison,
    problems: Sequence[str],
    html: Path,
) -> dict[str, Any]:
    photos = [
        {
            "photo": str(photo),
            "change": round(change.amount, 6),
            "words": change.words,
            "before": one,
            "after": two,
        }
        for (photo, one, two), change in zip(pairs, found.changes, strict=True)
    ]
    return {
        "before": labels[0],
        "after": labels[1],
        **asdict(found)["figures"],
        "facts": found.facts,
        "photos": photos,
        "problems": list(problems),
        "page": str(html),
    }
