"""docs/loadtest.md: every option, key and figure has its word there, and its example is one that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crema.cli.loadtest import loadtest
from loadtest.scenario import PhaseConfig, PhotoConfig, ScenarioConfig, load_scenario
from loadtest.threshold import FIGURES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "loadtest.md").read_text()
OPTIONS = sorted(
    option for parameter in loadtest.params for option in parameter.opts if option.startswith("--")
)
KEYS = sorted({key for part in (ScenarioConfig, PhaseConfig, PhotoConfig) for key in part.model_fields})


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_documented(option: str) -> None:
    assert re.search(rf"`{option}[` ,]", TEXT)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_scenario_is_documented(key: str) -> None:
    assert re.search(rf"`(phases\[\]\.)?{key}[`:]", TEXT)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_of_a_condition_is_documented(figure: str) -> None:
    assert f"`{figure}`" in TEXT


def test_the_example_is_a_scenario(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "tuesday.csv").write_text("0\n30\n600\n")
    (tmp_path / "load.yaml").write_text(example)
    scenario = load_scenario(tmp_path / "load.yaml")
    assert [phase.name for phase in scenario.phases][-2:] == ["backfill", "tuesday"]
    assert scenario.phases[-1].seconds == pytest.approx(60, abs=0.01)
    assert len([phase for phase in scenario.phases if phase.is_step]) == 5
