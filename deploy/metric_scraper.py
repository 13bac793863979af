"""Scraper: looks at the `/metrics` of many processes at once, and waits for none of them longer than it was told.

Standard library only, so that the verbs that look are quick. It keeps nothing and decides nothing.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from deploy.metric_window import Scrape

_MAX_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """A process (or several that show one set of figures) and where its `/metrics` is."""

    tier: str
    model: str
    version: str
    pid: int | None
    """None: all coordinator processes together."""
    address: str
    """HOST:PORT."""

    @property
    def label(self) -> str:
        """As people are told of it."""
        what = f"{self.model}@{self.version}" if self.model else self.tier
        return what if self.pid is None else f"{what} (pid {self.pid})"


def targets_of(document: dict[str, Any]) -> list[Target]:
    """The processes of a status document that have a `/metrics`. The coordinator is one, in however many processes."""
    found = []
    operations = document.get("urls", {}).get("metrics")
    if operations and any(each["tier"] == "coordinator" and each["pid"] for each in document["processes"]):
        found.append(Target("coordinator", "", "", None, urlsplit(operations).netloc))
    for process in document["processes"]:
        if process["tier"] in ("preprocessor", "minion") and "http" in process["ports"]:
            model, version = process.get("model", ""), process.get("version", "")
            address = f"127.0.0.1:{process['ports']['http']}"
            found.append(Target(process["tier"], model, version, process["pid"], address))
    return found


@dataclass(frozen=True, slots=True)
class Look:
    """One look at many processes: what each showed, and why those that showed nothing did not."""

    scrapes: dict[Target, Scrape]
    problems: dict[Target, str]


def look_at(targets: Iterable[Target], timeout_s: float, key: str | None = None) -> Look:
    """Look at all of them at once; returns within `timeout_s`, with or without each. `key` is shown to coordinators."""
    wanted = list(targets)
    look = Look({}, {})
    lock, deadline = threading.Lock(), time.monotonic() + timeout_s

    def one(target: Target) -> None:
        try:
            scrape = _scrape(target, timeout_s, key if target.tier == "coordinator" else None)
        except (OSError, http.client.HTTPException, ValueError) as error:
            with lock:
                look.problems[target] = f"/metrics: {error or type(error).__name__}"
        else:
            with lock:
                look.scrapes[target] = scrape

    # one that hangs is left behind: its thread ends with its socket's timeout, or with this process
    threads = [threading.Thread(target=one, args=(target,), daemon=True) for target in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    with lock:
        found = Look(dict(look.scrapes), dict(look.problems))
    for target in wanted:
        if target not in found.scrapes and target not in found.problems:
            found.problems[target] = f"/metrics did not answer within {timeout_s:g} s"
    return found


def _scrape(target: Target, timeout_s: float, key: str | None) -> Scrape:
    host, _, port = target.address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        if answer.status in (401, 403):
            raise OSError(f"answered {answer.status}; set CREMA_API_KEY to a key that has the scope metrics")
        if answer.status != 200:
            raise OSError(f"answered {answer.status}")
        text = answer.read(_MAX_BYTES).decode()
        return Scrape.parse(time.monotonic(), text)
    finally:
        connection.close()
