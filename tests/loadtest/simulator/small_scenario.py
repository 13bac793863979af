"""Small scenarios, as text and simulated, for the tests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from loadtest.simulator.cluster import Cluster
from loadtest.simulator.scenario import Read, read_scenario

PHOTO = {"megapixels": 0.3, "kilobytes": 93, "decode_ms": 2.0}
STEADY = {"curve": [[1, 20], [8, 20]], "slo_ms": 500}
"""400 photos a second."""


def scenario(**more: Any) -> dict[str, Any]:
    """One model at 200 calls a second for 10 s; `more` replaces keys."""
    return {
        "simulate": 1,
        "seconds": 10,
        "traffic": {"rate_per_s": 200},
        "photos": [PHOTO],
        "models": {"steady": STEADY},
        **more,
    }


def read(document: dict[str, Any]) -> Read:
    """The scenario, through a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(yaml.safe_dump(document))
        return read_scenario(path)


def cluster(**more: Any) -> Cluster:
    """Built and not run."""
    return Cluster(read(scenario(**more)))
