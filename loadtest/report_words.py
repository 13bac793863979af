"""Words of a load run's report: figures as people read them, the same on a terminal and on a page. Pure."""

from __future__ import annotations

from typing import Any, Final

NOTHING: Final = "–"


def percent(share: float | None) -> str:
    """A share for people."""
    if share is None:
        return NOTHING
    return f"{share:.2%}" if share not in (0.0, 1.0) else f"{share:.0%}"


def ms(figure: float | None) -> str:
    """Milliseconds for people."""
    if figure is None:
        return NOTHING
    return f"{figure:,.0f} ms" if figure >= 100 else f"{figure:.1f} ms"


def knee_words(knee: dict[str, Any]) -> str:
    """Where the knee is, or what is known of it."""
    if knee["offered_per_s"] is None:
        return "below the lowest step"
    return f"{'≥ ' if knee['is_highest'] else ''}{knee['offered_per_s']:.4g}/s"


def code_words(codes: dict[str, int]) -> str:
    """`overloaded 3, model_failed 1`; a dash for none."""
    return ", ".join(f"{code} {count}" for code, count in codes.items()) or NOTHING
