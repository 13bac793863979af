"""`crema try PKG PHOTO…`: what a package says to a photo, in its own environment and without a server."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crema.cli.answer_table import output_text
from crema.cli.main import FAILED, PARTIAL
from crema.cli.needs_local import needs_local
from crema.cli.package_argument import default_cluster, folder_of
from crema.cli.photos import find_photos
from crema.cli.table import aligned, as_json

if TYPE_CHECKING:
    from check.items import Item
    from check.trial import Trial


@click.command("try")
@click.argument("package", metavar="PKG")
@click.argument(
    "photos", metavar="PHOTO…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option(
    "-p",
    "--param",
    "written",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set a parameter; may be given again.",
)
@click.option(
    "--pdb", "debugs", is_flag=True, help="Stop in the debugger where the model raises (one photo)."
)
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml whose packages are meant. [default: cluster.yaml here]",
)
@click.option("--json", "as_document", is_flag=True, help="Print one JSON document for programs.")
def try_(
    package: str,
    photos: tuple[Path, ...],
    written: tuple[str, ...],
    debugs: bool,
    cluster: Path | None,
    as_document: bool,
) -> int:
    """Run PKG on each PHOTO (for a tensor model: a .npy file), without a server.

    PKG is a package's folder, or NAME@VERSION (or NAME, the newest) of the cluster's packages. The photo goes through
    the cluster's own preprocessor and the model runs in its own virtualenv, so the answers are those of the cluster.
    What the model prints is shown, too.

    \b
    Example: crema try tags@3.1 samples/coffee.jpg -p max_tags=5
    """
    with needs_local("try"):
        from check.failure import StepFailed
        from check.items import ExampleUnusable
        from check.params_given import ParamRefused, params_given
        from check.photos import Photos
        from check.trial import Trial
    from crema.cli.check import placed
    from crema.cli.console import spinner

    folder = folder_of(package, cluster or default_cluster())
    named = find_photos(photos)
    if debugs and len(named) != 1:
        raise click.UsageError(f"--pdb takes one photo (got {len(named)})")
    progress = spinner(is_document=as_document)
    with (
        tempfile.TemporaryDirectory(prefix="crema-try-", ignore_cleanup_errors=True) as work,
        Photos() as decoder,
    ):
        trial = Trial(folder, decoder, Path(work, "package"), progress=progress, place=placed)
        with closing(trial):
            try:
                trial.judge()
                params = params_given(trial.manifest, written)
                for note in trial.notes:
                    click.echo(aligned([["NOTE", note]])[0], err=True)
                if debugs:
                    item = trial.item(named[0])
                    progress(None)
                    return _debugged(trial, item, params)
                seconds = trial.load()
                answers = [_asked(trial, photo, params) for photo in named]
            except ParamRefused as error:
                raise click.UsageError(str(error)) from None
            except StepFailed as failed:
                raise click.ClickException(_words(f"{package}: {failed}", failed.detail)) from None
            except (ExampleUnusable, OSError) as error:
                raise click.ClickException(str(error)) from None
            finally:
                progress(None)
            printed = trial.subject.session.printed()
    if as_document:
        click.echo(as_json({"package": trial.label, "load_seconds": round(seconds, 3), "photos": answers}))
    else:
        for line in printed:
            click.echo(f"  | {line}", err=True)
        for line in _lines(trial.label, seconds, answers, package):
            click.echo(line)
    wrong = sum("error" in answer for answer in answers)
    return 0 if not wrong else FAILED if wrong == len(answers) else PARTIAL


def _debugged(trial: Trial, item: Item, params: dict[str, Any]) -> int:
    from check.debugging import debug

    return FAILED if debug(trial.subject, item, params) else 0


def _asked(trial: Trial, photo: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The answer to one photo as a document: `output` or `error`."""
    from check.failure import StepFailed
    from check.items import ExampleUnusable

    try:
        item = trial.item(photo)
        answer = trial.answer(item, params)
    except (ExampleUnusable, OSError) as error:
        return {"photo": str(photo), "error": {"code": "undecodable_image", "message": str(error)}}
    except StepFailed as failed:
        return {
            "photo": str(photo),
            "error": {"code": "worker_lost", "message": str(failed), "traceback": failed.detail},
        }
    if "error" in answer.outcome:
        return {"photo": str(photo), "error": answer.outcome["error"]}
    milliseconds = round(1000 * answer.seconds, 3)
    return {"photo": str(photo), "inference_ms": milliseconds, "output": answer.outcome["ok"]}


def _lines(label: str, seconds: float, answers: list[dict[str, Any]], package: str) -> list[str]:
    lines = aligned([["LOADED", label, f"{seconds:.1f} s"]])
    rows = [
        ["ERROR", answer["photo"], "", f"{answer['error']['code']}: {answer['error']['message']}"]
        if "error" in answer
        else ["OK", answer["photo"], f"{answer['inference_ms']:.1f} ms", output_text(answer["output"])]
        for answer in answers
    ]
    for line, answer in zip(aligned(rows), answers, strict=True):
        lines.append(line)
        if "error" in answer and answer["error"]["code"] != "undecodable_image":
            traceback = str(answer["error"].get("traceback") or "")
            lines += [f"{'':10}{more}" for more in traceback.splitlines()]
            lines.append(f"{'':10}try: crema try {package} {answer['photo']} --pdb")
    return lines


def _words(first: str, detail: str) -> str:
    return "\n".join([first, *(f"  {line}" for line in detail.splitlines())])
