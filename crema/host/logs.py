"""Structured logs: one JSON object per line on standard error. Sizes, formats and ids; never pixels or bodies."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, TextIO, cast

import structlog

from crema.host.log_stream import LogStream

# What is shorter is no secret, and would blot out half of what is said.
SHORTEST_SECRET: Final = 8
_API_KEY: Final = re.compile(r"crema_[0-9a-f]{12}_[A-Za-z0-9_-]+")


def configure_logs(
    tier: str,
    level: str = "info",
    bound: Mapping[str, str] | None = None,
    *,
    stream: TextIO | None = None,
    secret: str | None = None,
) -> None:
    """Set structlog up for this process; `tier` and `bound` stand in every event. Call once, in the entry point.

    `stream` is where the lines go; default: standard error. `secret` stands in no line, like API keys.
    """
    stream = cast(TextIO, LogStream(sys.stderr if stream is None else stream))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            partial(_blot_out_secrets, secret),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(tier=tier, **(bound or {}))
    # the HTTP library's own warnings and errors go the same way; its access log stays off
    logging.basicConfig(
        level=logging.WARNING,
        stream=stream,
        format='{"level": "%(levelname)s", "logger": "%(name)s", "event": "%(message)s"}',
    )


def _blot_out_secrets(secret: str | None, logger: Any, method: str, line: Any) -> Any:
    """Whatever was logged by mistake: an API key or the cluster's token does not get out."""
    if secret and len(secret) >= SHORTEST_SECRET:
        line = line.replace(secret, "***")
    return _API_KEY.sub("crema_***", line) if "crema_" in line else line
