"""CPU time of a cluster: from the kernel by process, from metrics by listener, and what is missing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from loadtest.cluster_cpu import LocalCpu, MetricsCpu, NoCpu

USED = {1: 5.0, 2: 1.0, 3: 7.0}


def shown(*pids: int) -> dict[str, Any]:
    tiers = {
        1: {"tier": "coordinator"},
        2: {"tier": "minion", "model": "tags"},
        3: {"tier": "minion", "model": "tags"},
    }
    return {"processes": [{**tiers[pid], "pid": pid} for pid in pids] + [{"tier": "minion", "pid": None}]}


def test_processes_are_summed_by_tier_and_model() -> None:
    cpu = LocalCpu(lambda: shown(1, 2, 3), dict(USED).get)
    sample = cpu.sample()
    assert sample is not None and sample.seconds == {"coordinator": 5.0, "tags": 8.0}


def test_a_process_that_was_replaced_still_counts_with_what_it_had_used() -> None:
    used, pids = dict(USED), [1, 2]
    cpu = LocalCpu(lambda: shown(*pids), used.get)
    before = cpu.sample()
    used[2] = 4.0
    cpu.sample()
    del used[2]
    pids[:] = [1, 3]
    used[3] = 0.5
    after = cpu.sample()
    assert before is not None and after is not None
    assert after.since(before) == {"coordinator": 0.0, "tags": 3.5}


def test_a_supervisor_that_is_gone_is_no_reason_to_stop() -> None:
    def gone() -> dict[str, Any]:
        raise OSError("gone")

    assert LocalCpu(gone).sample() is None


def test_where_nothing_is_known_it_says_what_to_do() -> None:
    assert NoCpu("name them: --operations URL").sample() is None
    assert "--operations" in NoCpu("name them: --operations URL").missing


@pytest.fixture
def listener() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = b"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5\n"
            self.send_response(200 if self.headers["Authorization"] == "Bearer k" else 401)
            self.end_headers()
            self.wfile.write(text if self.headers["Authorization"] == "Bearer k" else b"")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_listeners_tell_what_their_tier_has_used(listener: str) -> None:
    sample = MetricsCpu([listener], "k").sample()
    assert sample is not None and sample.seconds == {listener: 12.5}


def test_a_listener_that_does_not_answer_so_is_named(listener: str) -> None:
    cpu = MetricsCpu([listener], None)
    assert cpu.sample() is None
    assert listener in cpu.missing
