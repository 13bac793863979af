"""`releases:` in a `cluster.yaml`: what new versions get, and the canary's rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.config import ConfigError, ReleasesConfig, load_cluster


def releases(folder: Path, text: str) -> ReleasesConfig:
    (folder / "model_packages").mkdir(exist_ok=True)
    path = folder / "cluster.yaml"
    path.write_text(text)
    return load_cluster(path).releases


def test_without_the_section_new_versions_are_served_beside_and_the_rule_is_the_usual(tmp_path: Path) -> None:
    found = releases(tmp_path, "{}\n")
    assert (found.watch, found.new_version, found.canary_percent) == (True, "nothing", None)
    assert (found.window_s, found.min_answers) == (60, 50)
    assert (found.error_points, found.p99_ratio, found.refused_points) == (2, 1.5, 5)


@pytest.mark.parametrize(
    ("written", "percent"), [("canary 5%", 5.0), ("canary 2.5 %", 2.5), ("default", None), ("nothing", None)]
)
def test_the_three_policies(tmp_path: Path, written: str, percent: float | None) -> None:
    assert releases(tmp_path, f"releases: {{new_version: {written}}}\n").canary_percent == percent


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("releases: {new_version: canary}", "must be nothing, default, or canary with its share"),
        ("releases: {new_version: canary 0%}", "must be more than 0% and at most 100%"),
        ("releases: {new_version: 5%}", "try: new_version: canary 5%"),
        ("releases: {window_s: 0}", "releases.window_s"),
        ("releases: {windows: 60}", "window_s"),
    ],
)
def test_a_mistake_names_the_place_and_what_to_write(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        releases(tmp_path, text + "\n")
    assert reason in str(error.value)
