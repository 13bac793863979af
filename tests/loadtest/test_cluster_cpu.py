"""CPU time of a cluster: from the kernel by process, from metrics by listener, and what is missing."""

from __future__ import annotations

import contextlib
import http.server
import json
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


class Listeners:
    """A coordinator's operations listener that asks for a key, and a minion's that does not."""

    def __init__(self) -> None:
        self.coordinator, self.minion = "", ""
        self.used: dict[str, float | None] = {"coordinator": 12.5, "minion": 30.0}
        self.targets: Any = []
        self.keys: list[tuple[str, str | None]] = []


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    told = Listeners()

    def handler(tier: str) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key = self.headers["Authorization"]
                told.keys.append((tier, key))
                used = told.used[tier]
                text = f"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {used}\n"
                is_let_in = used is not None and (tier == "minion" or key == "Bearer k")
                self.send_response(200 if is_let_in else 401)
                self.end_headers()
                if is_let_in:
                    self.wfile.write((json.dumps(told.targets) if self.path == "/sd" else text).encode())

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    with contextlib.ExitStack() as stack:
        for tier in ("coordinator", "minion"):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(tier))
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            setattr(told, tier, f"http://127.0.0.1:{server.server_address[1]}")
        yield told


def test_a_listener_tells_what_its_tier_has_used(listeners: Listeners) -> None:
    sample = MetricsCpu([listeners.coordinator], "k").sample()
    assert sample is not None and sample.seconds == {listeners.coordinator: 12.5}


def test_the_tiers_that_a_coordinator_tells_of_are_asked_too_and_shown_no_key(listeners: Listeners) -> None:
    listeners.targets = [
        {"targets": [listeners.coordinator.removeprefix("http://")], "labels": {"tier": "coordinator"}},
        {
            "targets": [listeners.minion.removeprefix("http://")],
            "labels": {"tier": "minion", "model": "tags"},
        },
    ]
    sample = MetricsCpu([listeners.coordinator], "k").sample()
    assert sample is not None and sample.seconds == {"coordinator": 12.5, "tags": 30.0}
    assert {key for tier, key in listeners.keys if tier == "minion"} == {None}


def test_a_replica_that_has_gone_keeps_what_it_had_used(listeners: Listeners) -> None:
    cpu = MetricsCpu([listeners.coordinator, listeners.minion], "k")
    before = cpu.sample()
    listeners.used = {"coordinator": 13.0, "minion": None}
    after = cpu.sample()
    assert before is not None and after is not None
    assert after.since(before) == {listeners.coordinator: 0.5, listeners.minion: 0.0}
    assert cpu.missing == ""


def test_a_listener_that_does_not_answer_so_is_named(listeners: Listeners) -> None:
    cpu = MetricsCpu([listeners.coordinator], None)
    assert cpu.sample() is None
    assert listeners.coordinator in cpu.missing


@pytest.mark.parametrize("targets", [None, 3, {"targets": []}, [{"targets": ["a:1"]}], ["a"]])
def test_what_is_no_list_of_targets_is_passed_over(listeners: Listeners, targets: Any) -> None:
    listeners.targets = targets
    sample = MetricsCpu([listeners.coordinator], "k").sample()
    assert sample is not None and set(sample.seconds) == {listeners.coordinator}
