"""`crema loadtest`: sends photos to a cluster as the clock says, and reports what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crema.cli.load_options import Duration, Factors, Processes, Size
from crema.cli.main import FAILED
from crema.cli.needs_local import needs_local
from crema.cli.output_place import check_place
from crema.cli.public_api_options import public_api_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.cluster_cpu import ClusterCpu
    from loadtest.load_run import LoadRun, Settings
    from loadtest.scenario import Scenario
    from loadtest.threshold import Threshold

_DURATION: Final = Duration()
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("scenario", metavar="[SCENARIO]", required=False, type=_FILE)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), metavar="PER_S", help="Calls a second, on average."
)
@click.option(
    "--duration", type=_DURATION, metavar="TIME", help="Of the run, or of each step. [default: 10s]"
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "constant", "bursts", "ramp"]),
    help="When calls are due. [default: poisson]",
)
@click.option("--to-rate", type=click.FloatRange(0), metavar="PER_S", help="Where a ramp ends.")
@click.option(
    "--steps", type=Factors(), metavar="FACTORS", help="Loads one after the other: 0.5,1,2 times --rate."
)
@click.option(
    "--trace", type=_FILE, metavar="FILE", help="Recorded times of calls, one a line, instead of --rate."
)
@click.option("--speed", type=click.FloatRange(0, min_open=True), help="Of a trace: 2 is twice as fast.")
@click.option("--warmup", type=_DURATION, metavar="TIME", help="Sent first and not counted.")
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="FOLDER",
    help="Photos to send; may be given again.",
)
@click.option(
    "--draw",
    multiple=True,
    type=Size(),
    metavar="WxH",
    help="Draw photos of this size; may be given again. [default: 640x480]",
)
@click.option("--models", metavar="SELECTORS", help="Comma-separated. [default: the cluster's]")
@click.option("--lane", type=click.Choice(["interactive", "bulk"]), help="bulk gives way to people who wait.")
@click.option(
    "--deadline-ms",
    type=click.FloatRange(1),
    metavar="MS",
    help="Time for each call. [default: the cluster's]",
)
@click.option(
    "--slo", type=_DURATION, metavar="TIME", help="A whole answer within it is goodput. [default: 500ms]"
)
@click.option(
    "--slo-percent",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="N",
    help="So many of a hundred calls must be goodput for a load to hold. [default: 99]",
)
@click.option("--seed", type=click.IntRange(0, 2**31), help="The same seed, the same run. [default: 1]")
@click.option("--processes", type=Processes(), metavar="auto|N", help="That send. [default: auto]")
@click.option(
    "--connections",
    type=click.IntRange(1, 60_000),
    default=1000,
    show_default=True,
    help="Most that are opened.",
)
@click.option(
    "--give-up",
    type=_DURATION,
    default="30s",
    show_default=True,
    metavar="TIME",
    help="When a call without an answer is lost.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the report as JSON; - prints it instead of the text.",
)
@click.option(
    "--html", "html_file", type=_FILE, metavar="FILE", help="Write the report as one page with plots."
)
@click.option(
    "--fail-if",
    multiple=True,
    metavar="CONDITION",
    help="Exit with 1 if it holds: 'p99>500ms', 'refused>1%', '2x:goodput<190', 'knee<200'; may be given again.",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(0),
    metavar="N",
    help="Of the whole cluster, for the cost of a million photos.",
)
@public_api_options
@click.option(
    "--operations",
    multiple=True,
    metavar="URL",
    help="An operations listener to read CPU time from, for clusters on other machines; may be given again.",
)
def loadtest(scenario: Path | None, **options: Any) -> int:
    """Send photos to a cluster when they are due, and report latency, goodput, refusals, and the highest load that held.

    Open loop: a call is sent at its time whatever became of those before, and its latency counts from that time. SCENARIO
    is a YAML file with phases (docs/loadtest.md); without one, the options say what is sent. The exit code is 0, or 1
    when a condition of --fail-if holds or nothing could be sent, or 2 for wrong use.

    \b
    Examples:
      crema loadtest --rate 50 --duration 30s --slo 500ms
      crema loadtest --rate 100 --steps 0.5,1,2 --html report.html
      crema loadtest scenario.yaml --json report.json --fail-if 'p99>500ms' --fail-if 'errors>0%'
    """
    if options["url"] is not None and options["cluster"] is not None:
        raise click.UsageError("--url and --cluster both say which cluster to send to; give one of them")
    for name in ("json_file", "html_file"):
        check_place(options[name])
    with needs_local("loadtest"):
        from crema.cli.load_plan import plan_of

        plan = plan_of(scenario, options)
        return _run(plan, _thresholds(options["fail_if"], plan), options)


def _thresholds(written: Sequence[str], plan: Scenario) -> list[Threshold]:
    """Before the run, too: what can only be missed is wrong use."""
    from loadtest.threshold import Threshold, ThresholdError

    try:
        thresholds = [Threshold.parse(each) for each in written]
    except ThresholdError as error:
        raise click.UsageError(f"--fail-if: {error}") from None
    names = [phase.name for phase in plan.phases if phase.is_counted]
    for each in thresholds:
        if each.phase is not None and each.phase not in names:
            raise click.UsageError(
                f"--fail-if: {each.written!r}: there is no phase {each.phase}; there are {', '.join(names)}"
            )
        if each.figure == "knee" and not any(phase.is_step for phase in plan.phases):
            raise click.UsageError(
                f"--fail-if: {each.written!r}: the knee is looked for among steps; give --steps 0.5,1,2"
            )
    return thresholds


def _run(plan: Scenario, thresholds: Sequence[Threshold], options: dict[str, Any]) -> int:
    import tempfile
    from datetime import datetime

    from crema.cli.api_key import api_key
    from crema.cli.load_progress import LoadProgress
    from crema.cli.load_target import target_of, try_once
    from loadtest.load_run import RunError, Settings
    from loadtest.photo_stock import PhotosError, prepare
    from loadtest.report import build

    key = api_key(options["key_file"])
    url, cpu = target_of(options, key)
    settings = Settings(url, key, options["processes"], options["connections"], options["give_up"])
    began = datetime.now().astimezone().isoformat(timespec="seconds")
    progress = LoadProgress(plan)
    try:
        with tempfile.TemporaryDirectory(prefix="crema-photos-") as folder:
            photos = prepare(plan.photos, Path(folder), plan.seed, progress.tell)
            try_once(url, key, plan, Path(photos[0].paths[0]).read_bytes())
            run = _sent(plan, settings, photos, cpu, progress)
    except (RunError, PhotosError, OSError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        progress.close()
    report = build(run, price_per_hour=options["price_per_hour"], began=began)
    missed = [said for threshold in thresholds if (said := threshold.missed(report)) is not None]
    _show(report, missed, options)
    return FAILED if missed or run.is_cut_short else 0


def _sent(plan: Scenario, settings: Settings, photos: Any, cpu: ClusterCpu, progress: Any) -> LoadRun:
    """The run; the first Ctrl-C stops sending and keeps what was counted, the second ends it."""
    import asyncio
    import signal

    from loadtest.load_run import run_load

    async def send() -> LoadRun:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.current_task()

        def interrupted() -> None:
            if stopping.is_set() and task is not None:
                task.cancel()
            stopping.set()

        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            return await run_load(plan, settings, photos, cpu, watch=progress.watch, stopping=stopping)
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    try:
        return asyncio.run(send())
    except asyncio.CancelledError:
        raise click.Abort from None


def _show(report: dict[str, Any], missed: Sequence[str], options: dict[str, Any]) -> None:
    import json

    from crema.cli.load_report import report_lines

    report = {**report, "missed": list(missed)}
    if options["html_file"] is not None:
        from loadtest.report_html import page

        options["html_file"].write_text(page(report, missed), encoding="utf-8")
    written = options["json_file"]
    if written is not None and str(written) == "-":
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    if written is not None:
        written.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    click.echo("\n".join(report_lines(report, missed)))
