"""`crema loadtest`: what its options mean, what is refused before anything is sent, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from crema.cli.load_plan import plan_of
from crema.cli.load_progress import LoadProgress, live_words
from crema.cli.load_report import report_lines
from crema.cli.main import run
from loadtest.figures import Latencies
from loadtest.load_run import Live, RunError
from loadtest.report import build
from tests.crema.cli.api_server import FULL, FakeApi
from tests.loadtest.load_runs import load_run, scenario

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "loadtest"
NOTHING: dict[str, Any] = dict.fromkeys(
    ("rate", "duration", "arrivals", "to_rate", "steps", "trace", "speed", "warmup", "models", "lane", "deadline_ms",
     "slo", "slo_percent", "seed")
)  # fmt: skip


def options(**given: Any) -> dict[str, Any]:
    return {**NOTHING, "photos": (), "draw": (), **given}


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_rate_alone_is_ten_seconds_of_poisson() -> None:
    (phase,) = plan_of(None, options(rate=50.0)).phases
    assert (phase.arrivals, phase.rate, phase.seconds, phase.is_step) == ("poisson", 50.0, 10.0, False)


def test_options_say_who_is_asked_for_what_and_how_long_it_may_take() -> None:
    plan = plan_of(
        None,
        options(rate=5.0, models="tags, captions@1", lane="bulk", deadline_ms=250.0, slo=0.2, seed=3, slo_percent=95.0),
    )  # fmt: skip
    assert dict(plan.phases[0].query) == {"models": "tags,captions@1", "lane": "bulk", "deadline_ms": "250"}
    assert (plan.slo_s, plan.slo_share, plan.seed) == (0.2, 0.95, 3)


def test_steps_are_factors_of_the_rate() -> None:
    plan = plan_of(None, options(rate=100.0, steps=(0.5, 2.0), duration=3.0))
    assert [(phase.name, phase.rate) for phase in plan.phases] == [("0.5x", 50.0), ("2x", 200.0)]


def test_options_of_the_judgement_go_before_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "load.yaml"
    path.write_text("slo_ms: 100\nphases: [{seconds: 1, rate: 1}]\n")
    plan = plan_of(path, options(slo=0.3, seed=9))
    assert (plan.slo_s, plan.slo_share, plan.seed) == (0.3, 0.99, 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say how many calls a second: --rate 50"),
        (["--rate", "0"], "--rate"),
        (["--rate", "5", "--duration", "soon"], "no duration; write it like 500ms, 30s"),
        (["--rate", "5", "--draw", "big"], "write it like 640x480"),
        (["--rate", "5", "--steps", "a,b"], "write them like 0.5,1,2"),
        (["--rate", "5", "--processes", "many"], "neither auto nor a number"),
        (["--rate", "5", "--arrivals", "ramp"], "--arrivals ramp and --to-rate go together"),
        (["--rate", "5", "--to-rate", "9"], "--arrivals ramp and --to-rate go together"),
        (["--rate", "5", "--speed", "2"], "--speed goes with --trace"),
        (["--rate", "5", "--trace", "t"], "leave out --rate"),
        (["--rate", "5", "--models", "tags@@"], "--models: "),
        (["--rate", "5", "--fail-if", "p98>1s"], "--fail-if: 'p98>1s': there is no figure p98"),
        (["--rate", "5", "--fail-if", "knee<5"], "give --steps 0.5,1,2"),
        (
            ["--rate", "5", "--steps", "1,2", "--fail-if", "3x:p99>1s"],
            "there is no phase 3x; there are 1x, 2x",
        ),
        (["--rate", "5", "--html", "nowhere/r.html"], "mkdir -p nowhere"),
        (["--rate", "5", "--url", "u", "--cluster", "c"], "give one of them"),
        (["load.yaml", "--rate", "5"], "--rate: the file load.yaml says what is sent"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_is_right(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["loadtest", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_mistakes_in_a_file_are_shown_and_nothing_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "load.yaml").write_text("phases: [{rate: 5}]\nseeds: 1\n")
    assert run(["loadtest", str(tmp_path / "load.yaml")]) == 2
    said = capsys.readouterr().err
    assert "phases[0].seconds: is required" in said and "seeds: there is no such key" in said


# -- to whom -----------------------------------------------------------------------------------------------------------


def test_a_cluster_that_does_not_answer_is_told_with_the_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["loadtest", "--rate", "5", "--url", "http://127.0.0.1:9", "--draw", "8x8"]) == 1
    assert "start a cluster with `crema up`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(401, "unauthenticated", "CREMA_API_KEY"), (404, "unknown_model", "404 unknown_model: there is no model tgas")],
)  # fmt: skip
def test_what_every_call_would_be_told_is_told_once(
    api: FakeApi, status: int, code: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.tell = lambda photo: (
        status,
        {"status": status, "code": code, "detail": "there is no model tgas"},
        {},
    )
    assert run(["loadtest", "--rate", "5", "--url", api.url, "--draw", "8x8", "--models", "tgas"]) == 1
    assert said in capsys.readouterr().err
    assert len(api.photos) == 1


@pytest.fixture
def _sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of sending anything: a run that never took place."""

    async def sent(*args: object, **more: object) -> Any:
        return load_run()

    monkeypatch.setattr("loadtest.load_run.run_load", sent)


@pytest.mark.usefixtures("_sent")
def test_a_full_cluster_is_one_to_be_measured(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.tell = lambda photo: (429, FULL, {})
    assert run(["loadtest", "--rate", "5", "--url", api.url, "--draw", "8x8"]) == 0
    assert "KNEE" in capsys.readouterr().out


@pytest.mark.usefixtures("_sent")
def test_a_condition_that_holds_exits_with_1_and_is_told_last(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["loadtest", "--rate", "5", "--url", api.url, "--draw", "8x8"]
    assert run([*arguments, "--fail-if", "p99>5s", "--fail-if", "refused>1%"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED    refused>1%: it is 14.286%"
    assert run([*arguments, "--fail-if", "p99>5s"]) == 0


@pytest.mark.usefixtures("_sent")
def test_the_report_is_written_where_it_is_wanted(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["loadtest", "--rate", "5", "--url", api.url, "--draw", "8x8"]
    page, document = tmp_path / "r.html", tmp_path / "r.json"
    assert run([*arguments, "--html", str(page), "--json", str(document)]) == 0
    assert "</html>" in page.read_text() and '"crema_loadtest": 1' in document.read_text()
    capsys.readouterr()
    assert run([*arguments, "--json", "-"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("{") and len(printed.splitlines()) == 1


def test_a_run_that_breaks_off_is_an_error_without_a_traceback(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*args: object, **more: object) -> Any:
        raise RunError("a sender ended with exit code 9")

    monkeypatch.setattr("loadtest.load_run.run_load", broken)
    assert run(["loadtest", "--rate", "5", "--url", api.url, "--draw", "8x8"]) == 1
    assert capsys.readouterr().err.endswith("crema: a sender ended with exit code 9\n")


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_the_report_as_lines_is_the_stored_one() -> None:
    """To renew it: python -m tests.crema.cli.test_loadtest"""
    assert shown_report() == (GOLDEN / "report.txt").read_text()


def shown_report() -> str:
    report = build(load_run(is_cut_short=True), price_per_hour=0.9)
    return click.unstyle("\n".join(report_lines(report, ["p99>500ms: it is 900 ms"]))) + "\n"


def test_progress_is_one_line_with_what_is_worth_saying() -> None:
    counts = {"ok": 480, "partial": 0, "refused": 20, "failed": 1, "lost": 1}
    live = Live(
        12.3, scenario().phases[1], 502, counts, 99.6, Latencies([0.04] * 99 + [0.3]), Latencies(), 7, 0.4
    )  # fmt: skip
    assert live_words(live, 30.0) == (
        "  12 of 30 s  0.5x  99.6/s sent  p50 40.0 ms  p99 40.0 ms  ok 480  429 20  errors 2  in flight 7"
    )


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LoadProgress(scenario())
    counts = dict.fromkeys(("ok", "partial", "refused", "failed", "lost"), 0)
    for elapsed_s in range(1, 12):
        live = Live(elapsed_s, scenario().phases[1], 0, counts, 0.0, Latencies(), Latencies(), 0, 0.0)  # type: ignore[arg-type]
        progress.watch(live)
    progress.close()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 3


if __name__ == "__main__":
    (GOLDEN / "report.txt").write_text(shown_report())
