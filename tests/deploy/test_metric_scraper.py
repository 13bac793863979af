"""Scraper: all at once, nobody waited for longer than told, and whose metrics are where."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deploy.metric_scraper import Target, look_at, targets_of


class Metrics(BaseHTTPRequestHandler):
    """Wants a key where the server has one."""

    def do_GET(self) -> None:
        key = self.server.key  # type: ignore[attr-defined]
        is_let_in = key is None or self.headers["Authorization"] == f"Bearer {key}"
        body = b"crema_partial_total 7\n"
        self.send_response(200 if is_let_in else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Metrics)
    server.key = None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def coordinator(port: int) -> Target:
    return Target("coordinator", "", "", None, f"127.0.0.1:{port}")


def test_what_answers_is_read(server: HTTPServer) -> None:
    target = coordinator(server.server_port)
    look = look_at([target], 5.0)
    assert dict(look.scrapes[target].samples["crema_partial_total"]) == {(): 7.0}
    assert look.problems == {}


def test_one_that_hangs_is_not_waited_for_and_costs_the_others_nothing(server: HTTPServer) -> None:
    good = coordinator(server.server_port)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hangs = Target("minion", "tags", "3.1", 5, f"127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        look = look_at([hangs, good], 0.3)
        assert time.monotonic() - began < 5.0
    assert set(look.scrapes) == {good}
    assert "did not answer" in look.problems[hangs] or "timed out" in look.problems[hangs]


def test_one_that_is_gone_is_said_to_be(server: HTTPServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = coordinator(closed.getsockname()[1])
    look = look_at([gone], 5.0)
    assert "refused" in look.problems[gone]


def test_a_coordinator_that_wants_a_key_gets_it_and_nobody_else_does(server: HTTPServer) -> None:
    server.key = "crema_k"  # type: ignore[attr-defined]
    target = coordinator(server.server_port)
    assert "set CREMA_API_KEY" in look_at([target], 5.0).problems[target]
    assert target in look_at([target], 5.0, "crema_k").scrapes
    minion = Target("minion", "tags", "3.1", 5, f"127.0.0.1:{server.server_port}")
    assert minion in look_at([minion], 5.0, "crema_k").problems


def test_the_coordinators_are_one_and_each_inner_process_is_its_own() -> None:
    document: dict[str, Any] = {
        "urls": {"metrics": "http://127.0.0.1:8001"},
        "processes": [
            {"tier": "coordinator", "pid": 2, "ports": {"public": 8000, "http": 9}},
            {"tier": "coordinator", "pid": 3, "ports": {"public": 8000, "http": 10}},
            {"tier": "preprocessor", "pid": 4, "ports": {"channel": 1, "http": 41}},
            {"tier": "preprocessor", "role": "decoder", "pid": 5, "ports": {}},
            {"tier": "minion", "role": "host", "model": "tags", "version": "3.1", "pid": 6, "ports": {"http": 61}},
            {"tier": "minion", "role": "host", "model": "tags", "version": "3.1", "pid": None, "ports": {}},
        ],
    }  # fmt: skip
    assert targets_of(document) == [
        Target("coordinator", "", "", None, "127.0.0.1:8001"),
        Target("preprocessor", "", "", 4, "127.0.0.1:41"),
        Target("minion", "tags", "3.1", 6, "127.0.0.1:61"),
    ]
