"""The rules for Prometheus: sound, tested by promtool, documented, and the same rule as the autoscaler's."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from crema.host.metrics import TABLE
from deploy.autoscaler import (
    COOLDOWN_S,
    COOLDOWNS,
    PERIOD_S,
    SLOW_BOOT_SHARE,
    STARTING_SLACK,
    STEP,
    STEP_TIMES,
    TARGET_BUSY,
    TOLERATED_SHARE,
    Limits,
    decide,
)
from deploy.replica_figures import Replicas, read_figures
from tests.deploy.fluid_fleet import FluidFleet
from tests.prometheus_tools import PROMETHEUS, promtool, said

ROOT = Path(__file__).resolve().parents[2]
SCRAPE_S = 5


def test_the_rules_and_the_configuration_are_sound() -> None:
    for arguments in (
        ("check", "rules", str(PROMETHEUS / "rules.yml")),
        ("check", "config", str(PROMETHEUS / "prometheus.yml")),
    ):
        ended = promtool(*arguments)
        assert ended.returncode == 0, said(ended)


def test_the_rules_pass_their_own_tests() -> None:
    ended = promtool("test", "rules", str(PROMETHEUS / "rules_test.yml"))
    assert ended.returncode == 0, said(ended)


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_metric_that_a_rule_uses_exists() -> None:
    known = {f"crema_{row.name}" for row in TABLE}
    suffixes = {f"{name}{suffix}" for name in known for suffix in ("_sum", "_count", "_bucket")}
    for rule in rules():
        assert set(re.findall(r"\bcrema_\w+", rule["expr"])) <= known | suffixes, rule


def test_the_rule_has_the_numbers_of_the_function() -> None:
    text = (PROMETHEUS / "rules.yml").read_text()
    for written in (
        f"interval: {PERIOD_S:.0f}s",
        f"[{PERIOD_S:.0f}s]",
        f"offset {PERIOD_S:.0f}s",
        *(f"[{times * COOLDOWN_S - 1:.0f}s]" for times in COOLDOWNS),
        *(f"crema:boot_seconds > {SLOW_BOOT_SHARE * times * COOLDOWN_S:.0f}" for times in COOLDOWNS[:-1]),
        f"> {TOLERATED_SHARE}",
        f"/ {TARGET_BUSY}",
        f"{STARTING_SLACK} * crema:starting",
        f"+ {STEP}",
        f"{STEP_TIMES} * (crema:ready",
    ):
        assert written in text, written


def test_every_alert_has_its_section_and_its_test() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()
    tests = (PROMETHEUS / "rules_test.yml").read_text()
    alerts = [rule for rule in rules() if "alert" in rule]
    assert alerts
    for rule in alerts:
        name = rule["alert"]
        assert f"\n## {name}\n" in text, name
        assert f"alertname: {name}\n" in tests, name
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"  # type: ignore[index]
    assert set(re.findall(r"^## (\w+)$", text, re.M)) == {rule["alert"] for rule in alerts}


# -- the same decisions --------------------------------------------------------------------------------------------


def step(at: float, before: float, after: float) -> Callable[[float], float]:
    return lambda t: before if t < at else after


def sine(t: float) -> float:
    return 25 - 20 * math.cos(2 * math.pi * t / 900)


def rough(t: float) -> float:
    return random.Random(int(t / 20)).choice([2.0, 8.0, 20.0, 45.0, 70.0])


SERIES: dict[str, tuple[Callable[[float], float], dict[str, float]]] = {
    "threefold": (step(300, 7.0, 21.0), {}),
    "slow-boot": (lambda t: 40.0 if 150 <= t < 600 else 8.0, {"boot_s": 200.0}),
    "sine": (sine, {}),
    "rough": (rough, {"boot_s": 30.0}),
}


@pytest.mark.parametrize("name", sorted(SERIES))
def test_function_supervisor_and_prometheus_decide_alike(name: str, tmp_path: Path) -> None:
    """A fleet under the function; what it shows is scraped as the supervisor and as Prometheus do."""
    offered_per_s, options = SERIES[name]
    fleet = FluidFleet(offered_per_s, Limits(1, 1000), scrape_s=SCRAPE_S, **options)  # type: ignore[arg-type]
    fleet.run(1500)
    decided = {at: wanted for at, wanted, _ in fleet.wanted}
    assert len(set(decided.values())) > 1

    # the supervisor's way: the texts of the replicas, once per period
    live, samples, supervised = Replicas(), [], {}
    for at, text in fleet.shown:
        if at in decided:
            figures = {number: read_figures(each) for number, each in text.items()}
            samples.append(live.sample(at, dict(figures)))
            supervised[at] = decide(at, samples, Limits(1, 1000), live.boot_s).wanted
    assert supervised == decided

    # Prometheus's way
    series: dict[str, list[str]] = {}
    for index, (_, text) in enumerate(fleet.shown):
        for number, each in text.items():
            for line in each.splitlines():
                full, _, value = line.rpartition(" ")
                labelled = full.replace("{", f'{{instance="{number}",')
                values = series.setdefault(labelled, [])
                values += ["_"] * (index - len(values))
                values.append(value)
    test = {
        "rule_files": [str(PROMETHEUS / "rules.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": f"{SCRAPE_S}s",
                "input_series": [
                    {
                        "series": labelled,
                        "values": " ".join([*values, *["stale"] * (len(values) < len(fleet.shown))]),
                    }
                    for labelled, values in series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": "crema:replicas_wanted",
                        "eval_time": f"{at:.0f}s",
                        "exp_samples": [
                            {
                                "labels": 'crema:replicas_wanted{tier="minion",model="tags",version="3.1"}',
                                "value": wanted,
                            }
                        ],
                    }
                    for at, wanted in decided.items()
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    ended = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert ended.returncode == 0, said(ended)[:3000]
