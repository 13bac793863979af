"""Log lines hold no API key, whoever logged it."""

from __future__ import annotations

import io
import json

import structlog

from crema.host.logs import configure_logs


def test_a_key_in_an_event_is_blotted_out() -> None:
    stream = io.StringIO()
    before = structlog.get_config()
    try:
        configure_logs("coordinator", stream=stream)
        structlog.get_logger("planted").info("unexpected", header="Bearer crema_0123456789ab_" + "A" * 43)
    finally:
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
    assert "AAAA" not in stream.getvalue()
    assert json.loads(stream.getvalue())["header"] == "Bearer crema_***"
