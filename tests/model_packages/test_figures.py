"""The figures of the model cards, measured again: held-out scenes, the real preprocessor, each package's own environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml

from envs.builder import environment_for
from model_packages.scenes import TAGS, Seen, figures
from model_packages.scenes.evaluate import PACKAGES, VERSIONS, answers_of
from model_packages.scenes.heldout import Eye, heldout

pytestmark = pytest.mark.cluster

SCENES = 400
Views = tuple[np.ndarray, list[Seen]]
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def views() -> Views:
    return heldout(SCENES)


@pytest.fixture(scope="module")
def run() -> Run:
    """`run(name, pixels, params?)`: the package's answers, in its real environment (built if it is not there)."""

    def answers(name: str, pixels: np.ndarray, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return answers_of(name, environment_for(PACKAGES / name / VERSIONS[name]).python, pixels, params)

    return answers


@pytest.fixture(scope="module")
def measured(views: Views, run: Run) -> Callable[[str], dict[str, Any]]:
    """What one pass over the held-out scenes found, per package, kept for the whole module."""
    kept: dict[str, dict[str, Any]] = {}

    def of(name: str) -> dict[str, Any]:
        if name not in kept:
            kept[name] = run(name, views[0])
        return kept[name]

    return of


Measured = Callable[[str], dict[str, Any]]


def test_tags_reach_a_mean_average_precision_of_090_over_at_least_thirty_tags(
    views: Views, measured: Measured
) -> None:
    answers = measured("tags")["answers"]
    assert len(figures.precision_per_tag(answers, views[1])) >= 30
    assert {tag["name"] for tag in answers[0]["tags"]} == set(TAGS)
    assert figures.mean_average_precision(answers, views[1]) >= 0.90


def test_aesthetics_ranks_scenes_by_their_known_quality(views: Views, measured: Measured) -> None:
    assert figures.spearman(measured("aesthetics")["answers"], views[1]) >= 0.85


def test_nine_of_ten_captions_name_subject_and_setting(views: Views, measured: Measured) -> None:
    assert figures.captions_right(measured("captions")["answers"], views[1])["subject and setting"] >= 0.90


def test_sentences_end_by_themselves(views: Views, run: Run) -> None:
    pixels = views[0][:100]
    usual = run("captions", pixels)["answers"]
    assert run("captions", pixels, {"max_words": 40})["answers"] == usual
    assert max(len(answer["caption"]["text"].split()) for answer in usual) < 20


def test_two_versions_of_numpy_run_and_torch_only_where_it_is_wanted(measured: Measured) -> None:
    ran = {name: measured(name)["versions"] for name in VERSIONS}
    assert ran["aesthetics"]["numpy"].startswith("1.26.") and "torch" not in ran["aesthetics"]
    assert ran["tags"]["numpy"].startswith("2.") and ran["tags"]["torch"].startswith("2.13.")
    assert ran["captions"]["numpy"].startswith("2.")


@pytest.mark.parametrize("name", VERSIONS)
def test_an_item_gets_the_same_answer_alone_and_in_a_batch(name: str, measured: Measured) -> None:
    found = measured(name)
    for alone, batched in zip(found["alone"], found["answers"], strict=False):
        assert_close(alone, batched, 1e-3)


@pytest.mark.parametrize("name", VERSIONS)
def test_golden_examples_are_answered_within_tolerance(name: str, run: Run) -> None:
    package = PACKAGES / name / VERSIONS[name]
    manifest = yaml.safe_load((package / "model.yaml").read_text())
    eye = Eye()
    pixels = np.stack([eye.look((package / entry["image"]).read_bytes()) for entry in manifest["examples"]])
    defaults = {key: value["default"] for key, value in manifest.get("params", {}).items()}
    for entry, answer in zip(manifest["examples"], run(name, pixels, defaults)["answers"], strict=True):
        assert_close(answer, json.loads((package / entry["expect"]).read_text()), entry["tolerance"])


@pytest.mark.parametrize(
    ("name", "params"),
    [("tags", {"max_tags": 1}), ("tags", {"min_confidence": 1.0}), ("captions", {"max_words": 4})],
)
def test_a_parameter_changes_answers(
    name: str, params: dict[str, Any], views: Views, run: Run, measured: Measured
) -> None:
    short = run(name, views[0][:8], params)["answers"]
    assert all(one != other for one, other in zip(short, measured(name)["answers"][:8], strict=True))


def test_a_shortened_sentence_keeps_to_the_limit_and_ends_with_a_meaning(views: Views, run: Run) -> None:
    for answer in run("captions", views[0][:60], {"max_words": 4})["answers"]:
        words = answer["caption"]["text"].split()
        assert 2 <= len(words) <= 4
        assert words[-1] not in {"a", "on", "in", "the", "at", "by", "hot"} and not words[-1].endswith(",")


def assert_close(answer: Any, expected: Any, tolerance: float) -> None:
    """Equal in shape and words, numbers within `tolerance`; tags are compared by name."""
    if isinstance(expected, dict) and "tags" in expected:
        given, wanted = (
            {tag["name"]: tag["confidence"] for tag in one["tags"]} for one in (answer, expected)
        )
        assert set(given) == set(wanted)
        assert all(abs(given[name] - wanted[name]) <= tolerance for name in wanted)
    elif isinstance(expected, dict):
        assert set(answer) == set(expected)
        for key, value in expected.items():
            assert_close(answer[key], value, tolerance)
    elif isinstance(expected, float):
        assert abs(answer - expected) <= tolerance
    else:
        assert answer == expected
