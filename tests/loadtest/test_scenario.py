"""Scenario files: what a good one becomes, and the exact text of every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.scenario import Scenario, ScenarioError, load_scenario

GOOD = """\
slo_ms: 300
seed: 7
warmup_s: 2
models: [tags, aesthetics@2]
deadline_ms: 2000
photos:
  - {draw: [640, 480], weight: 3}
  - {folder: photos}
phases:
  - {name: calm, seconds: 30, rate: 50}
  - {seconds: 10, rate: 100, steps: [0.5, 1, 2], arrivals: constant}
  - {name: wave, seconds: 60, rate: 20, arrivals: ramp, to_rate: 200, lane: bulk}
  - {name: replay, trace: calls.csv, speed: 2, models: [tags@3.1]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "calls.csv").write_text("0\n1\n2\n8\n")
    return tmp_path


def read(folder: Path, text: str) -> Scenario:
    path = folder / "load.yaml"
    path.write_text(text)
    return load_scenario(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as refusal:
        read(folder, text)
    return str(refusal.value).replace(f"{folder}/", "")


def test_phases_follow_one_another_after_the_warm_up(folder: Path) -> None:
    scenario = read(folder, GOOD)
    assert [(phase.name, phase.begins_s, phase.rate) for phase in scenario.phases] == [
        ("warm-up", 0.0, 50.0),
        ("calm", 2.0, 50.0),
        ("0.5x", 32.0, 50.0),
        ("1x", 43.0, 100.0),
        ("2x", 54.0, 200.0),
        ("wave", 64.0, 20.0),
        ("replay", 124.0, 1.0),
    ]
    assert [phase.name for phase in scenario.phases if not phase.is_counted] == ["warm-up"]
    assert scenario.slo_s == 0.3 and scenario.seed == 7


def test_a_phase_s_options_go_before_those_of_the_file(folder: Path) -> None:
    queries = {phase.name: dict(phase.query) for phase in read(folder, GOOD).phases}
    assert queries["calm"] == {"models": "tags,aesthetics@2", "deadline_ms": "2000"}
    assert queries["wave"] == {"models": "tags,aesthetics@2", "deadline_ms": "2000", "lane": "bulk"}
    assert queries["replay"]["models"] == "tags@3.1"


def test_a_trace_lasts_as_long_as_it_takes_at_its_speed(folder: Path) -> None:
    replay = read(folder, GOOD).phases[-1]
    assert replay.seconds == pytest.approx(4.0, abs=0.01)
    assert list(replay.moments(1)) == [0.0, 0.5, 1.0, 4.0]


def test_the_warm_up_of_a_ramp_that_begins_at_nothing_sends_something(folder: Path) -> None:
    ramp = "{seconds: 5, rate: 0, to_rate: 20, arrivals: ramp}"
    warm_up = read(folder, f"warmup_s: 2\nphases: [{ramp}]").phases[0]
    assert list(warm_up.moments(1))


def test_photos_are_of_kinds_with_weights(folder: Path) -> None:
    drawn, found = read(folder, GOOD).photos
    assert (drawn.draw, drawn.weight) == ((640, 480), 3.0)
    assert [path.name for path in found.files] == ["a.jpg"]


def test_without_photos_they_are_drawn(folder: Path) -> None:
    assert [kind.draw for kind in read(folder, "phases: [{seconds: 1, rate: 1}]").photos] == [(640, 480)]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    assert (
        refused(
            folder,
            """\
slo_ms: 0
warmup: 2
models: [tags@@]
photos:
  - {draw: [640, 480], folder: nowhere}
phases:
  - {seconds: 30}
  - {seconds: 10, rate: 5, arrivals: ramp, steps: [1]}
  - {seconds: 10, rate: 5, arrivals: often}
  - {seconds: 10, rate: 5, factor: 6}
  - {seconds: 10, rate: 5, arrivals: bursts, factor: 6}
  - {trace: none.csv}
""",
        )
        == """\
load.yaml:1:1: slo_ms: must be more than 0 (got 0)
  try: slo_ms: 500
load.yaml:2:1: warmup: there is no such key; did you mean warmup_s?
  try: warmup_s
load.yaml:3:10: models[0]: is not a selector (got "tags@@")
  try: tags, tags@3, tags@3.1 or tags@candidate
load.yaml:5:5: photos[0]: must have one of draw and folder
  try: {draw: [640, 480]}, or {folder: samples}
load.yaml:5:24: photos[0].folder: there is no such folder (got "nowhere")
  try: a path relative to this file
load.yaml:7:5: phases[0].rate: is required with arrivals: poisson
  try: rate: 50
load.yaml:8:5: phases[1].to_rate: is required with arrivals: ramp
  try: to_rate: 200
load.yaml:8:44: phases[1].steps: does not go with arrivals: ramp
  try: remove the line
load.yaml:9:28: phases[2].arrivals: must be poisson, constant, bursts, ramp or trace (got "often")
  try: one of poisson, constant, bursts, ramp, trace
load.yaml:10:28: phases[3].factor: goes with arrivals: bursts only (got 6)
  try: arrivals: bursts, or remove the line
load.yaml:11:46: phases[4].factor: factor times share must be at most 1, or the bursts alone exceed the rate (it is 1.2)
  try: factor: 3.4, share: 0.2
load.yaml:12:6: phases[5].trace: none.csv cannot be read: No such file or directory
  try: name a file with one time a line"""
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "phases: is required"),
        ("phases: []", "phases: must have at least 1 entry"),
        ("phases: [{seconds: 10, rate: 0}]", "phases[0].rate: must be more than 0, or nothing is sent"),
        ("phases: [{seconds: 10, rate: '50'}]", "phases[0].rate: must be a number"),
        ("phases: [{trace: calls.csv, rate: 5}]", "phases[0].rate: does not go with arrivals: trace"),
        ("phases: [{seconds: 1, rate: 1, lane: slow}]", "phases[0].lane: must be interactive or bulk"),
        ("phases: 3", "phases: must be a list"),
        ("phases: [{seconds: 1, rate: 1}]\nphotos: [{folder: empty}]", "photos[0].folder: holds no photos"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key_and_a_way_out(folder: Path, text: str, said: str) -> None:
    (folder / "empty").mkdir()
    told = refused(folder, text)
    assert said in told and "\n  try: " in told


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no such file"):
        load_scenario(tmp_path / "none.yaml")
