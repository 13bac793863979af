"""VersionFigures: how each version's parts ended and how long the good ones took."""

from __future__ import annotations

from coordinator.merge import Part
from coordinator.version_figures import VersionFigures
from crema.errors import CremaError
from crema.host.latency_steps import step_of


def test_parts_are_counted_by_version_and_code_and_good_ones_by_their_time() -> None:
    figures = VersionFigures()
    timing = {"queue_ms": 1.0, "inference_ms": 2.0, "total_ms": 47.9, "batch_size": 1}
    good = Part(key="a", model="tags", version="3.1", is_required=False, output={}, timing=timing)
    failed = Part(
        key="b", model="tags", version="3.2", is_required=True, error=CremaError("model_failed", "it raised")
    )
    figures.count([good, failed])
    figures.count([good])
    assert figures.document()["versions"] == {
        "tags@3.1": {"codes": {"200": 2}, "latency": {str(step_of(47.9)): 2}},
        "tags@3.2": {"codes": {"502": 1}, "latency": {}},
    }
