"""How much of a caller's time preprocessing may use. Pure."""

from __future__ import annotations

from typing import Final

MOST_LEFT_FOR_THE_REST_MS: Final = 250.0


def decode_budget_ms(remaining_ms: float) -> float:
    """How much of the caller's remaining time preprocessing may use: the models need the rest."""
    return max(remaining_ms / 2, remaining_ms - MOST_LEFT_FOR_THE_REST_MS)
