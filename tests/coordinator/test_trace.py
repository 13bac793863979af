"""Trace context is checked, and passed on with a parent of our own."""

from __future__ import annotations

import pytest

from coordinator.trace import trace_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_valid_header_keeps_its_trace_and_flags_under_a_new_parent() -> None:
    found = trace_of(f"00-{TRACE}-{PARENT}-01")
    assert found is not None
    trace_id, onward = found
    assert trace_id == TRACE
    version, trace, parent, flags = onward.split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert parent != PARENT
    assert len(parent) == 16


def test_a_later_version_with_more_is_read_as_far_as_it_is_known() -> None:
    found = trace_of(f"01-{TRACE}-{PARENT}-00-more")
    assert found is not None
    assert found[0] == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"0-{TRACE}-{PARENT}-01",
    ],
)
def test_an_invalid_header_is_ignored(header: str) -> None:
    assert trace_of(header) is None
