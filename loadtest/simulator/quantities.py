"""Quantities: the numbers of a scenario, each with the range that makes sense."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Seconds = Annotated[float, Field(ge=0, le=31 * 86400)]
Ms = Annotated[float, Field(ge=0, le=600_000)]
PositiveMs = Annotated[float, Field(gt=0, le=600_000)]
Rate = Annotated[float, Field(gt=0, le=1_000_000)]
Scatter = Annotated[float, Field(ge=0, le=1)]
