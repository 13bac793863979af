"""`crema simulate`: figures on the terminal, in JSON, and on a page that needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from crema.cli.main import run
from tests.loadtest.simulator.small_scenario import STEADY, scenario


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "<b>&.yaml"
    document = scenario(
        seconds=4,
        summary="<script>alert(1)</script>",
        traffic={"rate_per_s": 600},
        models={"steady": {**STEADY, "machine": "gpu"}},
        machines={"gpu": {"price_per_hour": 0.8}},
    )
    path.write_text(yaml.safe_dump(document))
    return path


def test_it_says_what_came_of_the_calls_and_what_they_cost(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", str(file)]) == 0
    shown = capsys.readouterr().out
    for word in ("CALLS", "429 3", "LATENCY", "FLEET", "steady", "COST", "machine-hours", "seed 1"):
        assert word in shown


def test_the_json_holds_the_same_and_the_timeline(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run(["simulate", str(file), "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["calls"]["refused_share"] > 0.2
    assert document["fleets"]["steady"]["ready"]["most"] == 1
    assert len(document["timeline"]) == 240
    assert sum(moment["offered_per_s"] for moment in document["timeline"]) / 240 == pytest.approx(
        600, rel=0.1
    )


def test_the_json_is_printed_instead_of_the_text(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(file), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 1


def test_a_seed_makes_another_run_and_a_setting_another_cluster(file: Path, tmp_path: Path) -> None:
    documents = []
    for more in ([], ["--seed", "2"], ["--set", "models.steady.replicas=2"]):
        out = tmp_path / "out.json"
        assert run(["simulate", str(file), "--json", str(out), *more]) == 0
        documents.append(json.loads(out.read_text()))
    assert documents[1]["seed"] == 2
    assert documents[1]["calls"] != documents[0]["calls"]
    assert documents[2]["calls"]["refused_share"] == 0


def test_the_page_needs_nothing_else_runs_nothing_and_escapes_what_it_shows(
    file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.html"
    assert run(["simulate", str(file), "--html", str(out)]) == 0
    page = out.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 4
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|http(?!://www\.w3\.org/2000/svg)", page)


def test_mistakes_end_it_with_all_of_them(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace("seconds: 4", "seconds: 0\nsedes: 1"))
    assert run(["simulate", str(file)]) == 1
    told = capsys.readouterr().err
    assert "seconds: must be more than 0" in told
    assert "sedes: there is no such key" in told
    assert "Traceback" not in told


def test_a_file_that_is_not_there_a_setting_without_a_value_and_a_place_that_cannot_be_written(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", str(tmp_path / "none.yaml")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert run(["simulate", str(file), "--set", "boot_s"]) == 2
    assert "must be KEY=VALUE" in capsys.readouterr().err
    assert run(["simulate", str(file), "--json", str(tmp_path / "no" / "where.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err
