"""A scenario's mistakes: all at once, each with its line and a way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from crema.host.config_parts import Replicas
from loadtest.simulator.scenario import Scenario, ScenarioError, read_scenario
from tests.loadtest.simulator.small_scenario import scenario

ROOT = Path(__file__).resolve().parents[3]


def mistakes(folder: Path, text: str, settings: dict[str, str] | None = None) -> str:
    path = folder / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path, settings)
    return str(caught.value)


WRONG = """\
simulate: 1
seconds: -5
traffic: {shape: sinus, rate_per_s: 10}
photos:
  - {megapixels: 2, kilobytes: 400}
models:
  tags: {curve: [[8, 20], [1, 5]], replicas: 0, machine: gpx}
  empty: {}
machines:
  gpu: {price_per_hour: 1}
losses:
  - {at_s: 5, share: 2, of: [tagz]}
autoscale: {}
"""


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    told = mistakes(tmp_path, WRONG)
    lines = [line for line in told.splitlines() if line.startswith("wrong.yaml:")]
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)
    for expected in (
        "wrong.yaml:2:1: seconds: must be more than 0 (got -5)",
        "traffic.shape: must be poisson, constant or bursts",
        "wrong.yaml:5:5: photos[0].decode_ms: is required",
        "models.tags.curve: sizes must ascend",
        "models.tags.machine: there is no such kind among machines (got gpx)",
        "wrong.yaml:8:3: models.empty: must have a curve, a curve_file or a package",
        "losses[0].of[0]: there is no such fleet (got tagz)",
        "losses[0].share",
        "autoscale: there is no such key",
    ):
        assert expected in told
    assert "try: autoscaler" in told


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"traffic": {}}, "exactly one of rate_per_s, steps and file"),
        ({"traffic": {"rate_per_s": 5, "wave": {"low_per_s": 9}}}, "low_per_s must be at most rate_per_s"),
        ({"traffic": {"file": "none.txt"}}, "there is no file none.txt"),
        ({"warm_up_s": 10}, "must be less than seconds"),
        ({"time_lapse": 4, "losses": [{"at_s": 1, "share": 0.5}]}, "a deadline has one speed only"),
        ({"models": {"steady": {"curve_file": "none.json"}}}, "there is no curve"),
        ({"models": {"steady": {"package": "none"}}}, "there is no usable package"),
        ({"models": {"preprocessor": {"curve": [[1, 5]]}}}, "is the name of a tier"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, more: dict[str, Any], expected: str) -> None:
    assert expected in mistakes(tmp_path, yaml.safe_dump(scenario(**more)))


def test_a_setting_takes_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(scenario(losses=[{"at_s": 1, "share": 0.5}])))
    found = read_scenario(
        path, {"boot_s": "600", "losses.0.share": "0.25", "models.steady.boot_s": "7"}
    ).scenario
    assert (found.boot_s, found.losses[0].share, found.models["steady"].boot_s) == (600, 0.25, 7)


def test_a_setting_that_has_no_place_or_a_wrong_value_is_a_mistake(tmp_path: Path) -> None:
    text = yaml.safe_dump(scenario())
    assert "--set photos.3.share" in mistakes(tmp_path, text, {"photos.3.share": "1"})
    assert "seconds: must be a number" in mistakes(tmp_path, text, {"seconds": "long"})


def test_a_curve_comes_from_a_file_that_bench_stored_or_printed(tmp_path: Path) -> None:
    (tmp_path / "stored.json").write_text(
        json.dumps({"model": "tags@3.1", "device": "cpu", "curve": [[1, 0.005], [8, 0.02]]})
    )
    (tmp_path / "printed.json").write_text(
        json.dumps({"model": "tags", "sizes": [{"n": 1, "ms": 5}, {"n": 8, "ms": 20}]})
    )
    path = tmp_path / "s.yaml"
    models = {name: {"curve_file": f"{name}.json"} for name in ("stored", "printed")}
    path.write_text(yaml.safe_dump(scenario(models=models)))
    curves = read_scenario(path).curves
    assert curves["stored"].points == curves["printed"].points == ((1, 0.005), (8, 0.02))
    assert curves["stored"].max_size == 8


def test_a_package_gives_its_settings_and_says_how_to_measure_it(tmp_path: Path) -> None:
    package = str(ROOT / "model_packages" / "tags" / "3.1")
    text = yaml.safe_dump(scenario(models={"tags": {"package": package, "curve": [[1, 5], [32, 60]]}}))
    path = tmp_path / "s.yaml"
    path.write_text(text)
    assert read_scenario(path).curves["tags"].max_size > 1
    path.write_text(yaml.safe_dump(scenario(models={"tags": {"package": package}})))
    with pytest.raises(ScenarioError, match=r"crema bench tags@3\.1"):
        read_scenario(path, curves_folder=tmp_path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "loadtest" / "scenarios").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_scenarios_of_the_repository_can_be_read(path: Path) -> None:
    assert read_scenario(path).scenario.models


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield name
        for part in (info.annotation, *flattened(info.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel) and part is not Replicas:
                yield from keys_of(part)


def flattened(annotation: object) -> Iterator[object]:
    for part in get_args(annotation):
        yield part
        yield from flattened(part)


@pytest.mark.parametrize("key", sorted(set(keys_of(Scenario))))
def test_every_key_is_documented(key: str) -> None:
    assert f"`{key}`" in (ROOT / "docs" / "capacity.md").read_text()
