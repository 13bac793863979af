"""Comparing outcomes, as several steps do it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from check.difference import Cut, difference
from check.probe import Outcome
from check.session import error_of, is_rejected
from crema.host.manifest import Manifest


def first_difference(
    manifest: Manifest,
    wanted: Outcome,
    got: Outcome,
    tolerance: float,
    params: Mapping[str, Any] | None = None,
) -> str | None:
    """How an outcome differs from the one that was wanted, to be read after "the item"; None when it does not."""
    if (error := error_of(wanted)) is not None:
        if is_rejected(wanted):
            return None if is_rejected(got) else f"is answered, and failed before with {error}"
        return None if error_of(got) == error else f"no longer fails with {error}"
    if (error := error_of(got)) is not None:
        return f"fails with {error}"
    defaults = {name: param.default for name, param in manifest.params.items()}
    cut = Cut.of({**defaults, **(params or {})})
    found = difference(manifest.output.type, wanted["ok"], got["ok"], tolerance, cut)
    return None if found is None else f"{found} (tolerance {tolerance:g})"


def spoken(count: int, noun: str) -> str:
    """`1 item`, `2 items`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
