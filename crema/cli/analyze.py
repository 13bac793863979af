"""`crema analyze`: sends photos to a cluster and shows, or writes down, what the models say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crema.cli.main import FAILED, PARTIAL
from crema.cli.public_api_options import DEFAULT_URL, public_api_options

if TYPE_CHECKING:
    from crema.cli.api import Api, Reply

BULK_TRIES = 10
INTERACTIVE_TRIES = 3


@click.command()
@click.argument(
    "photos", metavar="PHOTO…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option(
    "--models",
    metavar="SELECTORS",
    help="Comma-separated, for instance tags,captions@1. [default: the cluster's]",
)
@click.option(
    "--deadline-ms",
    type=click.IntRange(1),
    metavar="MS",
    help="Time for each photo. [default: the cluster's]",
)
@click.option(
    "--lane",
    type=click.Choice(["interactive", "bulk"]),
    help="bulk gives way to people who wait. [default: bulk with -o, else interactive]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write one JSON line per photo; photos that FILE has an answer for are skipped. One FILE holds answers of one "
    "set of models.",
)  # fmt: skip
@click.option(
    "--in-flight", type=click.IntRange(1, 256), default=8, show_default=True, help="Photos sent at once."
)
@click.option("--json", "as_json", is_flag=True, help="Print each answer or problem as one line of JSON.")
@public_api_options
def analyze(
    photos: tuple[Path, ...],
    models: str | None,
    deadline_ms: int | None,
    lane: str | None,
    output: Path | None,
    in_flight: int,
    as_json: bool,
    url: str | None,
    cluster: Path | None,
    key_file: Path | None,
) -> int:
    """Send each PHOTO to the cluster and show what the models say.

    A PHOTO may be a folder: its photos (JPEG, PNG, WebP, GIF by their names) and those of the folders in it are sent.
    With -o FILE each photo becomes one line, {photo, status, answer|problem}, and the same command goes on where an
    interrupted one was: photos answered by every model are skipped, all others are sent again. A FILE with answers of
    other models than --models is refused and left as it is: give these another FILE, or delete it. Without --models one
    answered photo is sent again first, to see what the cluster's default models are now.

    A photo that the cluster refuses for now (429, 503) is sent again when the cluster says. The exit code is 0 when every
    photo was answered by every model, 3 when some were not, 1 when none was, 2 when nothing was sent for wrong use.

    \b
    Examples:
      crema analyze samples/coffee.jpg
      crema analyze ~/Pictures --lane bulk -o answers.jsonl
    """
    if url is not None and cluster is not None:
        raise click.UsageError("--url and --cluster both say which cluster to ask; give one of them")
    from crema.cli.api import Api
    from crema.cli.api_key import api_key
    from crema.cli.photos import find_photos

    lane = lane or ("bulk" if output is not None else None)
    options = {"models": models, "deadline_ms": deadline_ms, "lane": lane}
    try:
        api = Api(
            _url_of(url, cluster),
            {name: str(value) for name, value in options.items() if value is not None},
            api_key(key_file),
        )
    except ValueError as error:
        raise click.UsageError(f"{error}; for instance {DEFAULT_URL}") from None
    try:
        found = find_photos(photos)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename} cannot be read: {error.strerror}\n"
            "  make it readable, or name the folders and photos beside it"
        ) from None
    if not found:
        raise click.ClickException(
            f"no photos (.jpg, .png, .webp, .gif by their names) in {', '.join(map(str, photos))}\n"
            "  name another folder; a photo that is called otherwise is sent when you name the file itself"
        )
    tries = BULK_TRIES if lane == "bulk" else INTERACTIVE_TRIES
    if output is None:
        return _show(api, found, as_json, in_flight, tries)
    if as_json:
        raise click.UsageError("--json prints the answers and -o writes them; give one of them")
    from crema.cli.backfill import write_answers
    from crema.cli.output_place import check_place

    check_place(output)
    asked = None if models is None else [model.strip() for model in models.split(",")]
    return write_answers(api, found, output, asked, in_flight, tries)


def _url_of(url: str | None, cluster: Path | None) -> str:
    if url is not None:
        return url
    from deploy.running_cluster import NotRunning, find_cluster

    try:
        found = find_cluster(cluster)
    except NotRunning as error:
        if cluster is not None:
            raise click.ClickException(str(error)) from None
        return DEFAULT_URL
    if found.public_url is None:
        raise click.ClickException(
            f"the cluster of {found.state_folder.parent} is still starting\n  see how far it is: crema status"
        )
    return found.public_url


def _show(api: Api, photos: list[Path], as_json: bool, in_flight: int, tries: int) -> int:
    """Print each photo's answer, in the order given."""
    from crema.cli.answer_table import answer_lines
    from crema.cli.in_flight import sent
    from crema.cli.table import as_json as one_line

    statuses: list[str] = []
    for photo, reply in sent(api, photos, in_flight, tries):
        if as_json:
            click.echo(one_line({"photo": str(photo), **reply.body}))
        else:
            if statuses:
                click.echo()
            click.echo("\n".join(answer_lines(str(photo), reply)))
        statuses.append(reply.status)
        _hint(reply)
    return exit_code(statuses)


def _hint(reply: Reply) -> None:
    from crema.cli.send import NO_ANSWER, UNREADABLE

    if reply.body.get("title") == UNREADABLE:
        click.echo("  make the file readable, or leave it out", err=True)
    if reply.body.get("title") == NO_ANSWER:
        click.echo("  start a cluster with `crema up`, or name one with --url", err=True)
    if reply.code == 401:
        click.echo(
            "  put the API key into the variable CREMA_API_KEY, or into a file: --key-file FILE", err=True
        )


def exit_code(statuses: list[str]) -> int:
    """0 when all are ok, 1 when all failed, else 3."""
    kinds = set(statuses)
    return 0 if kinds <= {"ok"} else FAILED if kinds == {"failed"} else PARTIAL
