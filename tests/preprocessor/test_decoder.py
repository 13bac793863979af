"""The decode process's own parts: heavy work runs behind what others want to do."""

from __future__ import annotations

import os
import threading

import pytest

from preprocessor.decoder import HEAVY_NICENESS, behind_others


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_heavy_work_gets_less_of_a_core_and_what_follows_gets_all_again() -> None:
    before = niceness()
    assert behind_others(niceness) == min(19, before + HEAVY_NICENESS)
    assert niceness() == before


def test_what_heavy_work_raises_reaches_the_caller() -> None:
    def broken() -> None:
        raise ValueError("not an image")

    with pytest.raises(ValueError, match="not an image"):
        behind_others(broken)
