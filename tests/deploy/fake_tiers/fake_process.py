"""A tier that does nothing but announce its ports, answer /readyz and end on SIGTERM. Standard library only.

What it answers is read from the file that FAKE_<TIER> names, at each request: a JSON body, or the word `silent`.
The file's `exit` member, looked at once at start, makes the process end with that status before it listens.
FAKE_DIARY names a file that gets a line `TIER started ARGUMENTS` and a line `TIER ended`.
"""

from __future__ import annotations

import argparse
import ctypes
import http.server
import json
import os
import signal
import sys
import time
from pathlib import Path


def behaviour(tier: str) -> dict[str, object]:
    path = os.environ.get(f"FAKE_{tier.upper()}")
    if path is None or not Path(path).exists():
        return {}
    return json.loads(Path(path).read_text())  # type: ignore[no-any-return]


def metrics(told: dict[str, object]) -> str:
    """What the member `per_s` ([accepted, refused]) makes of the counters; its load is full while anything is refused."""
    accepted, refused = told.get("per_s", (0, 0))  # type: ignore[misc]
    items = 'crema_items_total{lane="interactive",decision='
    return (
        f'{items}"accepted"}} {accepted * time.monotonic()}\n{items}"full"}} {refused * time.monotonic()}\n'
        f"crema_load_ratio {int(refused > 0)}\ncrema_ready 1\ncrema_starting 0\n"
    )


def run(tier: str, ports: tuple[str, ...], body: dict[str, object]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent-pid", type=int)
    parser.add_argument("--announce-fd", type=int)
    args, arguments = parser.parse_known_args()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != args.parent_pid:
        sys.exit(0)
    if "exit" in behaviour(tier):
        print("cannot start: told to fail", file=sys.stderr, flush=True)
        sys.exit(int(str(behaviour(tier)["exit"])))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told = behaviour(tier)
            if told.get("silent"):
                time.sleep(3)
                return
            answer = json.dumps({**body, **told}).encode()
            if self.path == "/metrics":
                answer = metrics(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    def end(*_: object) -> None:
        write("ended")
        os._exit(0)

    def write(text: str) -> None:
        if "FAKE_DIARY" in os.environ:
            with Path(os.environ["FAKE_DIARY"]).open("a") as diary:
                diary.write(f"{tier} {text}\n")

    write("started " + " ".join(arguments))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    announced = dict.fromkeys(ports, server.server_address[1])
    os.write(args.announce_fd, json.dumps(announced).encode() + b"\n")
    os.close(args.announce_fd)
    server.serve_forever()
