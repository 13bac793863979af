"""How figures are written for people: short, with three digits that mean something, and `-` where none can be told."""

from __future__ import annotations

from typing import Any

NOT_KNOWN = "-"


def number(value: float | None) -> str:
    """`0`, `0.03`, `3.14`, `31.4`, `314`, `3142`."""
    if value is None:
        return NOT_KNOWN
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | None) -> str:
    """Of 1."""
    return NOT_KNOWN if share is None else f"{100 * share:.0f}%"


def figure(row: dict[str, Any], name: str) -> float | None:
    """A figure of a row of the status document; None where it has none."""
    value = (row.get("figures") or {}).get(name)
    return None if value is None else float(value)


def wanted(row: dict[str, Any]) -> str:
    """How many replicas the autoscaler wants; `-` where nothing scales."""
    return str(row["wanted"]) if row.get("wanted") is not None else NOT_KNOWN
