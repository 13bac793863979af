"""A client in a process of its own: posts files one after the other, and says how each was answered.

    python -m tests.cluster.posting URL SECONDS < one JSON line each of {file, headers} > one JSON line each of {status, body, seconds}

In the process of a test it would share an interpreter with what that measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def posted(
    url: str, files: Iterable[tuple[Path, dict[str, str]]], timeout_s: float
) -> Iterator[dict[str, Any]]:
    """Post files with these headers, from another process; how each was answered, in turn."""
    command = [sys.executable, "-m", "tests.cluster.posting", url, str(timeout_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            for file, headers in files:
                process.stdin.write(json.dumps({"file": str(file), "headers": headers}) + "\n")
            process.stdin.close()
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()


def main() -> None:
    """Post what standard input names."""
    url, timeout_s = sys.argv[1], float(sys.argv[2])
    for line in sys.stdin.readlines():
        asked = json.loads(line)
        data = Path(asked["file"]).read_bytes()
        request = urllib.request.Request(url, data, asked["headers"])
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                status, body = response.status, json.loads(response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                status, body = refusal.code, json.loads(refusal.read())
        print(json.dumps({"status": status, "body": body, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
