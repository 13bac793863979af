"""TrafficSetting: when the calls of a scenario are due."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, refuse
from loadtest.simulator.quantities import Rate, Seconds


class WaveSetting(Strict):
    """The rate swings between `low_per_s` and `rate_per_s`."""

    low_per_s: float = Field(ge=0, le=1_000_000)
    period_s: float = Field(default=86400, gt=0, le=31 * 86400)
    peak_at_s: Seconds | None = None
    """When the rate is highest; absent: after half a period."""


class StepSetting(Strict):
    """From `at_s` on it is `rate_per_s`."""

    at_s: Seconds
    rate_per_s: float = Field(ge=0, le=1_000_000)


class TrafficSetting(Strict):
    """When calls are due: at a rate, along a wave, in steps, or as recorded in a file."""

    shape: Literal["poisson", "constant", "bursts"] = "poisson"
    rate_per_s: Rate | None = None
    wave: WaveSetting | None = None
    steps: Annotated[tuple[StepSetting, ...], AsTuple] = ()
    file: str | None = Field(default=None, min_length=1)
    """A recorded trace: one time in seconds per line, ascending."""
    bulk_per_s: float = Field(default=0, ge=0, le=1_000_000)
    """Calls of the bulk lane, Poisson, beside the others."""

    @model_validator(mode="after")
    def _one_source(self) -> TrafficSetting:
        given = [name for name in ("rate_per_s", "steps", "file") if getattr(self, name)]
        if len(given) != 1:
            raise refuse("must have exactly one of rate_per_s, steps and file", show=False)
        if self.wave is not None and self.rate_per_s is None:
            raise refuse("must have a rate_per_s, which is the wave's highest", at="wave", show=False)
        if self.wave is not None and self.rate_per_s is not None and self.wave.low_per_s > self.rate_per_s:
            raise refuse(f"low_per_s must be at most rate_per_s, {self.rate_per_s:g}", at="wave", show=False)
        if self.shape == "bursts" and (self.wave is not None or self.rate_per_s is None):
            raise refuse("bursts go with a constant rate_per_s only", at="shape")
        times = [step.at_s for step in self.steps]
        if times != sorted(set(times)):
            raise refuse("must ascend in at_s", at="steps", show=False)
        if self.steps and not any(step.rate_per_s for step in self.steps):
            raise refuse("must have a rate above 0", at="steps", show=False)
        return self
