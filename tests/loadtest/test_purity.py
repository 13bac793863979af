"""What the simulation shares with the live host is pure: no loop, no clock, no network behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLICIES = {
    *(
        "coordinator.ejection",
        "coordinator.gate",
        "coordinator.merge",
        "coordinator.replica",
        "coordinator.router",
    ),
    *("coordinator.second_try", "coordinator.wheel"),
    *("minion.batcher", "minion.cost_curve", "minion.gate", "minion.in_flight", "minion.load_time"),
    *("preprocessor.busy_share", "preprocessor.cost", "preprocessor.decode_budget", "preprocessor.gate"),
    *("preprocessor.header", "preprocessor.queue_ahead", "preprocessor.waiting"),
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_of_a_tier_the_simulation_imports_policies_only() -> None:
    tiers = {"coordinator", "minion", "preprocessor"}
    used = {
        m
        for path in (ROOT / "loadtest").rglob("*.py")
        for m in imported(path)
        if m.partition(".")[0] in tiers
    }
    assert used == POLICIES


def test_the_autoscaler_of_the_simulation_is_the_live_one_and_nothing_else_of_deploy() -> None:
    used = {m for path in (ROOT / "loadtest").rglob("*.py") for m in imported(path) if m.startswith("deploy")}
    assert used == {"deploy.autoscaler"}
    assert not {"asyncio", "time", "datetime", "threading"} & set(imported(ROOT / "deploy/autoscaler.py"))


def test_no_policy_knows_a_loop_or_a_clock() -> None:
    for policy in POLICIES:
        path = ROOT / (policy.replace(".", "/") + ".py")
        assert not {"asyncio", "time", "datetime", "threading", "socket"} & set(imported(path)), policy
