"""`autoscaling:` in a `cluster.yaml`: how often the supervisor decides how many replicas run, and how soon it takes any away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field

from crema.host.mistakes import Strict

HINTS: Final[Mapping[str, str]] = {
    "autoscaling": "autoscaling: {period_s: 5, cooldown_s: 60}",
    "autoscaling.period_s": "period_s: 5",
    "autoscaling.cooldown_s": "cooldown_s: 60",
}


class AutoscalingConfig(Strict):
    """On one machine replicas start in seconds, so both are shorter than those of the Prometheus rules."""

    period_s: float = Field(default=5.0, ge=0.5, le=300.0)
    """The control period: two in a row with 429s start replicas."""
    cooldown_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    """For how long a need is remembered before replicas go."""
