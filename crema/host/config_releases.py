"""`releases:` in a `cluster.yaml`: what happens to packages that are dropped in, and when a canary is taken back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from crema.host.mistakes import Strict, refuse

NOTHING: Final = "nothing"
DEFAULT: Final = "default"

HINTS: Final[Mapping[str, str]] = {
    "releases": "releases: {new_version: canary 5%}",
    "releases.watch": "watch: true",
    "releases.new_version": "new_version: canary 5%",
    "releases.window_s": "window_s: 60",
    "releases.min_answers": "min_answers: 50",
    "releases.error_points": "error_points: 2",
    "releases.p99_ratio": "p99_ratio: 1.5",
    "releases.refused_points": "refused_points: 5",
}

_CANARY = re.compile(r"canary\s+([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%\Z")


def _policy(written: object) -> object:
    if written in (NOTHING, DEFAULT):
        return written
    match = _CANARY.match(written) if isinstance(written, str) else None
    if match is None:
        raise refuse("must be nothing, default, or canary with its share")
    if not 0 < float(match[1]) <= 100:
        raise refuse("must be more than 0% and at most 100%")
    return f"canary {float(match[1]):g}%"


class ReleasesConfig(Strict):
    """How new versions come in, and the rule for canaries."""

    watch: bool = True
    """Whether new folders in the packages folder are checked and served while the cluster runs."""
    new_version: Annotated[str, BeforeValidator(_policy)] = NOTHING
    """What a version that was dropped in and is ready gets: `nothing` (it serves beside the others), a canary's share, or
    `default`: its name's meaning, where it is the newest minor version of the default's major."""
    window_s: float = Field(default=60.0, ge=1.0, le=3600.0)
    """How far back the canary's rule looks."""
    min_answers: int = Field(default=50, ge=1, le=1_000_000)
    """Answers of the canary in the window before anything is decided."""
    error_points: float = Field(default=2.0, ge=0.0, le=100.0)
    """Failed answers: percentage points allowed above the live version's share."""
    p99_ratio: float = Field(default=1.5, ge=1.0, le=1000.0)
    """99th percentile: how many times the live version's is allowed."""
    refused_points: float = Field(default=5.0, ge=0.0, le=100.0)
    """Answers with 429: percentage points allowed above the live version's share."""

    @property
    def canary_percent(self) -> float | None:
        """The share of a version that is dropped in; None where the policy is another."""
        match = _CANARY.match(self.new_version)
        return float(match[1]) if match else None
