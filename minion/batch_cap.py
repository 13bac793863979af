"""BatchCap: the largest batch that memory allows, learned from batches that found none, and tried upward again.

Pure. It knows nothing of time or of the promise to callers: that limit is the cost curve's.
"""

from __future__ import annotations

from typing import Final

# Full batches that must pass before a larger one is tried; twice as many after each try that failed.
FIRST_PATIENCE: Final = 100
MOST_PATIENCE: Final = 6400


class BatchCap:
    """Starts at `max_size`; half of what found no memory from then on; a quarter more after enough full batches."""

    def __init__(self, max_size: int) -> None:
        self.size = max_size
        """Items in a batch, at most."""
        self.is_trying = False
        """Whether the size was raised and no batch of that size has passed yet."""
        self._max_size = max_size
        self._patience = FIRST_PATIENCE
        self._passed = 0
        self._is_probing = False
        self._before: int | None = None

    def ran_out(self, n: int) -> None:
        """A batch of `n` found no memory."""
        self._passed = 0
        self.is_trying = False
        if n == 1:
            # it is this item that asks for too much, and no batch was too large
            if self._before is not None:
                self.size, self._before = self._before, None
            return
        if self._before is None:
            self._before = self.size
        self.size = min(self.size, n // 2)
        if self._is_probing:
            self._is_probing = False
            self._patience = min(MOST_PATIENCE, 2 * self._patience)

    def passed(self, n: int) -> None:
        """A batch of `n` gave outcomes."""
        if n < self.size:
            return
        self.is_trying = False
        if self.size >= self._max_size:
            return
        self._before = None
        self._passed += 1
        if self._passed >= self._patience:
            self._passed = 0
            self._is_probing = self.is_trying = True
            self.size = min(self._max_size, self.size + max(1, self.size // 4))
