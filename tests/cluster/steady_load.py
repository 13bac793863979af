"""A steady stream of calls from threads, each with an id of its own, and a ledger of how every one ended."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Ended:
    """One call. `status` is the HTTP status, or None when the connection broke (`error` says how)."""

    request_id: str
    began: float
    seconds: float
    status: int | None
    body: dict[str, Any] | None
    error: str | None


class SteadyLoad:
    """`with SteadyLoad(url, photo) as load:` calls `per_s` times a second, whatever becomes of the calls before. Of several
    photos each call sends the next."""

    def __init__(
        self,
        url: str,
        photo: bytes | Sequence[bytes],
        *,
        path: str = "/v1/analyze",
        per_s: float = 20.0,
        timeout_s: float = 20.0,
    ) -> None:
        self.ended: list[Ended] = []
        self._address = urlsplit(url).netloc
        self._path = path
        self._photos = [photo] if isinstance(photo, bytes) else list(photo)
        self._interval_s = 1 / per_s
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self._calls: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SteadyLoad:
        self._clock.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._clock.join()
        for call in self._calls:
            call.join(self._timeout_s + 5)
        assert not any(call.is_alive() for call in self._calls), "a call never ended"

    def since(self, began: float) -> list[Ended]:
        """The calls that began then or later and have ended."""
        return [call for call in list(self.ended) if call.began >= began]

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            call = threading.Thread(target=self._call, args=(f"load-{number}", number), daemon=True)
            self._calls.append(call)
            call.start()
            number, due = number + 1, due + self._interval_s

    def _call(self, request_id: str, number: int) -> None:
        began = time.monotonic()
        status, body, error = None, None, None
        connection = http.client.HTTPConnection(self._address, timeout=self._timeout_s)
        try:
            photo = self._photos[number % len(self._photos)]
            connection.request("POST", self._path, body=photo, headers={"X-Request-Id": request_id})
            response = connection.getresponse()
            body = json.loads(response.read())
            status = response.status
        except (OSError, http.client.HTTPException) as broken:
            error = repr(broken)
        finally:
            connection.close()
        self.ended.append(Ended(request_id, began, time.monotonic() - began, status, body, error))
