"""`crema simulate SCENARIO`: the whole cluster in virtual time: machines, 429s, latency, cost, before any of it is rented."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from crema.cli.needs_local import needs_local
from crema.cli.package_argument import default_cluster
from crema.cli.table import aligned

if TYPE_CHECKING:
    from loadtest.simulator.result import Result

_STDOUT: Final = Path("-")


@click.command()
@click.argument("scenario", metavar="SCENARIO", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", type=click.IntRange(0), help="Another one than the scenario's.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="A value in place of the scenario's, by its dotted key: boot_s=600. May be given several times.",
)
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The cluster.yaml beside which `crema bench` stored the curves of packages. [default: cluster.yaml here]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write all figures there; - prints them instead of the text.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one self-contained page with plots there.",
)
def simulate(
    scenario: Path,
    seed: int | None,
    settings: tuple[str, ...],
    cluster: Path | None,
    json_file: Path | None,
    html_file: Path | None,
) -> int:
    """Simulate the cluster of SCENARIO, a YAML file, with the live policies on measured cost curves.

    Shows the share of 429s and of partial answers, latency, goodput against the SLO, how many machines there were and what
    they cost. One seed gives one result. Nothing is started and nothing is sent.

    \b
    Example: crema simulate loadtest/scenarios/step.yaml --html step.html
    """
    with needs_local("simulate"):
        from loadtest.simulator.cluster import simulate as run
        from loadtest.simulator.scenario import ScenarioError, read_scenario
        from loadtest.trace import TraceError
    chosen = {}
    for each in settings:
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise click.UsageError(f"--set {each}: must be KEY=VALUE")
        chosen[key] = value
    if seed is not None:
        chosen["seed"] = str(seed)
    try:
        result = run(read_scenario(scenario, chosen, _curves_of(cluster)))
    except (ScenarioError, TraceError) as error:
        raise click.ClickException(f"{scenario} has mistakes\n{error}") from None
    _write(scenario, result, json_file, html_file)
    if json_file != _STDOUT:
        for line in _lines(result):
            click.echo(line)
    return 0


def _curves_of(cluster: Path | None) -> Path | None:
    """The folder of stored curves, None where there is no cluster file."""
    file = cluster or default_cluster()
    if file is None:
        return None
    from deploy.running_cluster import state_folder_of

    return state_folder_of(file) / "curves"


def _lines(result: Result) -> list[str]:
    from loadtest.simulator.text_report import rows

    return [line for table in rows(result) for line in aligned(table)]


def _write(scenario: Path, result: Result, json_file: Path | None, html_file: Path | None) -> None:
    import json

    from loadtest.simulator.page import page

    try:
        if json_file is not None:
            document = json.dumps(result.document(), indent=1)
            if json_file == _STDOUT:
                click.echo(document)
            else:
                json_file.write_text(document + "\n", encoding="utf-8")
        if html_file is not None:
            html_file.write_text(page(f"Simulation of {scenario.name}", result), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(
            f"{error.filename} cannot be written: {error.strerror}; name a file in a folder that is there"
        ) from None
