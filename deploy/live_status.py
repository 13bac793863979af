"""LiveStatus: the status document with figures in it, from looks at every process's `/metrics`.

`crema status` looks twice and is done; `crema top` looks again and again.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

from deploy.metric_scraper import Look, look_at, targets_of
from deploy.running_cluster import RunningCluster
from deploy.status_figures import with_figures

LOOK_TIMEOUT_S: Final = 0.25
"""A process that has not shown its metrics by then is shown without figures: who asks wants to know now."""


class LiveStatus:
    """Looks at one running cluster. `key` is an API key for a coordinator whose operations listener wants one."""

    def __init__(
        self,
        cluster: RunningCluster,
        *,
        window_s: float,
        key: str | None = None,
        timeout_s: float = LOOK_TIMEOUT_S,
    ) -> None:
        self._cluster = cluster
        self._window_s = window_s
        self._timeout_s = timeout_s
        self._key = key
        self._looks: deque[tuple[float, Look]] = deque()

    def once(self) -> dict[str, Any]:
        """The document with the figures of the next `window_s` seconds. Raises NotRunning.

        Takes the window and one timeout at most: what did not answer at first is not asked again.
        """
        began = time.monotonic()
        first = look_at(targets_of(self._cluster.status()), self._timeout_s, self._key)
        time.sleep(max(0.0, began + self._window_s - time.monotonic()))
        second = look_at(first.scrapes, self._timeout_s, self._key)
        second.problems.update(first.problems)
        # asked for last: who lives is shown as it is now
        return with_figures(self._cluster.status(), first, second)

    def again(self) -> dict[str, Any]:
        """The document with figures since the last look that is `window_s` old, or the oldest there is. Raises NotRunning.

        The very first look has no rates.
        """
        document = self._cluster.status()
        look = look_at(targets_of(document), self._timeout_s, self._key)
        now = time.monotonic()
        while len(self._looks) > 1 and self._looks[1][0] <= now - self._window_s:
            self._looks.popleft()
        before = self._looks[0][1] if self._looks else None
        self._looks.append((now, look))
        return with_figures(document, before, look)
