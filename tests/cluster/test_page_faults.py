"""P3: a 150 KB tensor costs no tier more than three minor page faults (an exact count, not a time)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.page_faults import MOST_FAULTS, faults_per_request


def test_no_tier_faults_more_than_three_times_per_request(tmp_path: Path) -> None:
    figures = faults_per_request(tmp_path / "site")
    assert max(figures.values()) <= MOST_FAULTS, f"faults per request: {figures}"
