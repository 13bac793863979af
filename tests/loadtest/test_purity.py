"""What the simulation shares with the live host is pure: no loop, no clock, no network behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLICIES = {
    *("coordinator.ejection", "coordinator.replica", "coordinator.router", "coordinator.second_try"),
    *("minion.batcher", "minion.cost_curve", "minion.gate", "minion.in_flight"),
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
        m for path in (ROOT / "loadtest").glob("*.py") for m in imported(path) if m.partition(".")[0] in tiers
    }
    assert used == POLICIES


def test_no_policy_knows_a_loop_or_a_clock() -> None:
    for policy in POLICIES:
        path = ROOT / (policy.replace(".", "/") + ".py")
        assert not {"asyncio", "time", "datetime", "threading", "socket"} & set(imported(path)), policy
