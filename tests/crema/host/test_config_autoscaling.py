"""`autoscaling:` and the preprocessor's `{min, max}` in a cluster file."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.config import ConfigError, load_cluster


def loaded(folder: Path, text: str) -> object:
    (folder / "model_packages").mkdir(exist_ok=True)
    (folder / "cluster.yaml").write_text(text)
    return load_cluster(folder / "cluster.yaml")


def test_periods_and_the_preprocessor_s_limits_are_read(tmp_path: Path) -> None:
    text = "preprocessor: {replicas: {min: 2, max: 4}}\nautoscaling: {period_s: 2.5, cooldown_s: 30}\n"
    config = loaded(tmp_path, text)
    assert (config.autoscaling.period_s, config.autoscaling.cooldown_s) == (2.5, 30)  # type: ignore[attr-defined]
    replicas = config.preprocessor.replicas  # type: ignore[attr-defined]
    assert (replicas.min, replicas.max) == (2, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("autoscaling: {period_s: 0}\n", "autoscaling.period_s: must be from 0.5 to 300 (got 0)\n  try: period_s: 5"),
        ("autoscaling: {cooldown: 60}\n", "autoscaling.cooldown: there is no such key; did you mean cooldown_s?"),
        ("preprocessor: {replicas: {min: 3, max: 2}}\n", "preprocessor.replicas.max: must be at least min, 3 (got 2)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_a_way_out(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert said in str(caught.value)
