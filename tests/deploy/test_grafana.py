"""The Grafana dashboard: valid, and every metric and label in it is one that the tiers show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from crema.host.metrics import TABLE

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "crema.json"
# recorded by Prometheus and not shown by a tier
RECORDED = {"crema:replicas_wanted"}


def labels_of() -> dict[str, set[str]]:
    """Every series' name as a scrape has it, and its labels."""
    found = {}
    for row in TABLE:
        name, labels = f"crema_{row.name}", set(row.labels)
        if row.kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, PromQL)."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def test_every_metric_in_it_exists(dashboard: dict[str, Any]) -> None:
    known = {*labels_of(), *RECORDED}
    used = {
        (where, name) for where, query in queries(dashboard) for name in re.findall(r"crema[_:]\w+", query)
    }
    assert used
    assert [each for each in sorted(used) if each[1] not in known] == []


def test_every_label_that_selects_or_groups_exists(dashboard: dict[str, Any]) -> None:
    known, bad = labels_of(), []
    for where, query in queries(dashboard):
        for name, selector in re.findall(r"(crema_\w+)\{([^}]*)\}", query):
            bad += [
                (where, label) for label in re.findall(r"(\w+)(?==|!=)", selector) if label not in known[name]
            ]
        grouped = {
            label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")
        }
        for name in re.findall(r"crema_\w+", query):
            bad += [(where, label) for label in grouped if label not in known[name]]
    assert bad == []


def test_a_quantile_is_taken_of_buckets_and_a_rate_of_counters(dashboard: dict[str, Any]) -> None:
    gauges = {f"crema_{row.name}" for row in TABLE if row.kind == "gauge"}
    for where, query in queries(dashboard):
        for name in re.findall(r"(?:rate|increase)\((crema_\w+)", query):
            assert name not in gauges, where
        if "histogram_quantile" in query:
            assert re.findall(r"crema_\w+", query)[0].endswith("_bucket"), where


def test_panels_have_a_name_an_explanation_and_a_place_of_their_own(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        assert (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
