"""Api: the public API as the verbs call it. Standard library only; one connection per thread, kept open.

It sends one photo and returns what came back. Whether to try again is decided by who calls it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

CONNECT_TIMEOUT_S: Final = 10.0
# The server answers within the deadline; this is for a server that does not.
ANSWER_MARGIN_S: Final = 30.0


class Unreachable(Exception):
    """Nothing answered; the text says what happened."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one photo: `body` is an answer when `code` is 200, else a problem document."""

    code: int
    body: dict[str, Any]
    retry_after_s: float | None = None

    @property
    def status(self) -> str:
        """`ok`, `partial` or `failed`."""
        return "failed" if self.code != 200 else "partial" if self.body.get("status") == "partial" else "ok"


class Api:
    """The API at `url`. `options` are the query of every call: models, deadline_ms, lane. `key` is an API key, if one is
    to be shown."""

    def __init__(self, url: str, options: Mapping[str, str], key: str | None = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an address of a cluster: {url}")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/v1/analyze?{urlencode(options, safe=',@')}".rstrip("?")
        self._timeout_s = int(options.get("deadline_ms") or 25_000) / 1000 + ANSWER_MARGIN_S
        # the server goes by the first bytes of the photo, not by its type
        self._headers = {"Content-Type": "application/octet-stream"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._kept = threading.local()

    def analyze(self, photo: bytes) -> Reply:
        """Send one photo. Raises Unreachable."""
        kept: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if kept is not None:
            try:
                return self._send(kept, photo)
            except (ConnectionError, http.client.RemoteDisconnected):
                pass  # a kept connection may have been closed meanwhile: that says nothing of the server
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
        try:
            return self._send(self._connect(), photo)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> Unreachable:
        self._kept.connection = None
        return Unreachable(f"{self.url} does not answer: {error or type(error).__name__}")

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        connection.sock.settimeout(self._timeout_s)
        self._kept.connection = connection
        return connection

    def _send(self, connection: http.client.HTTPConnection, photo: bytes) -> Reply:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # a server that refuses a photo for its size answers and closes before it has taken all of it
            connection.request("POST", self._path, body=photo, headers=self._headers)
        response = connection.getresponse()
        raw = response.read()
        if response.will_close:
            connection.close()
            self._kept.connection = None
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            body = {
                "title": "Not an answer of crema",
                "status": response.status,
                "detail": raw[:200].decode("utf-8", "replace"),
            }
            return Reply(response.status if response.status != 200 else 502, body)
        return Reply(response.status, body, _seconds(response.getheader("Retry-After")))


def _seconds(written: str | None) -> float | None:
    return float(written) if written is not None and written.isdigit() else None
