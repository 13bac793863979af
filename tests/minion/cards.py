"""Cards as `Manifest.card()` gives them, for tests that need no package on disk."""

from __future__ import annotations

from typing import Any


def tensor_card(**more: Any) -> dict[str, Any]:
    """A model that takes uint8 [4] and answers with a number."""
    return {
        "name": "toy",
        "version": "1.0",
        "input": {"kind": "tensor", "shape": [4], "dtype": "uint8"},
        "output": {"type": "json", "schema": {"type": "integer"}},
        "params": {},
        "batching": {"max_size": 4, "max_wait_ms": 0.0, "in_flight": 1},
        "gate": {"max_pending": 8},
        "slo": {"p99_ms": 500.0},
        "examples": [],
        **more,
    }


PARAMS: dict[str, Any] = {
    "words": {"type": "integer", "default": 20, "minimum": 1, "maximum": 100},
    "share": {"type": "number", "default": 0.5, "minimum": 0.0, "maximum": None},
    "loud": {"type": "boolean", "default": False},
    "tone": {"type": "string", "default": "kind", "enum": ["kind", "curt"], "max_length": 256},
    "note": {"type": "string", "default": "", "enum": None, "max_length": 5},
    "any": {"type": "integer", "default": 0, "minimum": None, "maximum": None},
}
