"""The toy `overlapping`'s imagined torch, for tests that need no package."""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path

TORCH = Path(__file__).parent.parent / "models" / "overlapping" / "1.0" / "torch.py"


def fake_torch() -> types.ModuleType:
    """A fresh one, with nothing written down yet."""
    spec = importlib.util.spec_from_file_location("torch", TORCH)
    assert spec is not None and spec.loader is not None
    torch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torch)
    return torch
