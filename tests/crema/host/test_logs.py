"""Log lines hold no API key and no token, whoever logged it."""

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


def test_the_cluster_s_token_is_blotted_out() -> None:
    stream = io.StringIO()
    before = structlog.get_config()
    try:
        configure_logs("minion", stream=stream, secret="hush-hush-hush")
        structlog.get_logger("planted").info("unexpected", header="Bearer hush-hush-hush")
        configure_logs("minion", stream=stream, secret="in")
        structlog.get_logger("planted").info("unexpected", header="inside")
    finally:
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
    assert [json.loads(line)["header"] for line in stream.getvalue().splitlines()] == ["Bearer ***", "inside"]
