"""A public API that answers as it is told, for tests of the verbs that call it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

ANSWER = {
    "id": "req_1",
    "status": "ok",
    "image": {"format": "jpeg", "width": 4, "height": 3, "bytes": 5},
    "results": {
        "tags": {
            "status": "ok",
            "model": "tags",
            "version": "3.1",
            "output": {"tags": [{"name": "beach", "confidence": 0.98}]},
            "timing": {"total_ms": 12.0},
        }
    },
    "timing": {"total_ms": 20.0},
}
FULL = {"title": "Healthy, but full", "status": 429, "code": "overloaded", "detail": "8 of 8 places taken"}


def answer_of(*models: str) -> dict[str, Any]:
    """An answer of these models, whatever they say."""
    return {**ANSWER, "results": {model: {"status": "ok", "model": model} for model in models}}


# (status, body, headers) for the photo that was sent
Told = Callable[[bytes], tuple[int, Any, dict[str, str]]]


class FakeApi:
    """What was asked of it: `queries` in the order of arrival; `photos`, `headers`, `connections` likewise."""

    def __init__(self) -> None:
        self.url = ""
        self.tell: Told = lambda photo: (200, ANSWER, {})
        self.queries: list[dict[str, list[str]]] = []
        self.photos: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[Any] = set()


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """Listens on a free port of loopback until the end of the block."""
    api = FakeApi()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            api.queries.append(parse_qs(urlsplit(self.path).query))
            api.headers.append(dict(self.headers))
            api.connections.add(self.client_address)
            photo = self.rfile.read(int(self.headers["Content-Length"]))
            api.photos.append(photo)
            status, body, headers = api.tell(photo)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
