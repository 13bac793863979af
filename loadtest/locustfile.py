"""For those who have Locust: users that send photos to crema's public API. Needs `pip install locust`; crema itself does not.

    CREMA_PHOTOS=samples locust -f loadtest/locustfile.py --headless -u 50 -r 50 -t 30s --host http://127.0.0.1:8000

Locust is a closed loop: a user waits for its answer before it sends again, so a server that stalls is sent less and its
latency looks better than its callers find it. For figures to judge by, use `crema loadtest`.

Settings come from the environment: CREMA_PHOTOS (a photo or a folder), CREMA_MODELS, CREMA_LANE, CREMA_DEADLINE_MS,
CREMA_API_KEY, and CREMA_PER_USER_S (calls a second and user at most; 1 unless set).
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from urllib.parse import urlencode

from locust import FastHttpUser, constant_throughput, task

from crema.cli.photos import find_photos

_OPTIONS = {"models": "CREMA_MODELS", "lane": "CREMA_LANE", "deadline_ms": "CREMA_DEADLINE_MS"}
PATH = "/v1/analyze?" + urlencode(
    {name: os.environ[variable] for name, variable in _OPTIONS.items() if os.environ.get(variable)}, safe=",@"
)
PHOTOS = [path.read_bytes() for path in find_photos([Path(os.environ.get("CREMA_PHOTOS", "samples"))])]
HEADERS = {"Content-Type": "application/octet-stream"}
if os.environ.get("CREMA_API_KEY"):
    HEADERS["Authorization"] = f"Bearer {os.environ['CREMA_API_KEY']}"


class App(FastHttpUser):  # type: ignore[misc]
    """One caller."""

    wait_time = constant_throughput(float(os.environ.get("CREMA_PER_USER_S", "1")))

    @task  # type: ignore[untyped-decorator]
    def analyze(self) -> None:
        """One photo. A 429 and a partial answer are failures of their own, so that the table tells their shares."""
        photo = random.choice(PHOTOS)
        with self.client.post(
            PATH, data=photo, headers=HEADERS, name="/v1/analyze", catch_response=True
        ) as response:
            if response.status_code == 429:
                response.failure("429 refused")
            elif response.status_code != 200:
                response.failure(f"{response.status_code}")
            elif response.headers.get("X-Crema-Status") == "partial":
                response.failure("partial")
            else:
                response.success()
