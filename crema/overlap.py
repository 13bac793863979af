"""Overlap: two batches of one model at once, each in a thread and on a stream of its own. Light ring.

While one batch is computed, the other is received, copied to the GPU, and its answers are put together. Answers leave in the
order in which the batches came. What running and answering mean is the worker's business.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import traceback
from collections.abc import Callable

from crema.batch_array import BatchArray
from crema.device import CudaDevice

Answer = Callable[[], None]
"""Sends the answer of a batch."""
Work = Callable[[], Answer]
"""Runs a batch."""


class Overlap:
    """One thread per batch array."""

    def __init__(self, arrays: list[BatchArray], device: CudaDevice) -> None:
        self._device = device
        self._arrays = arrays
        self._free: queue.SimpleQueue[BatchArray] = queue.SimpleQueue()
        self._works: queue.SimpleQueue[tuple[int, BatchArray, Work] | None] = queue.SimpleQueue()
        self._put = self._answered = 0
        self._turn = threading.Condition()
        for array in arrays:
            self._free.put(array)
        self._threads = [
            threading.Thread(target=self._serve, name=f"batch-{number}", daemon=True)
            for number in range(len(arrays))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether a batch that was put here has not been answered."""
        return self._answered < self._put

    def take_array(self) -> BatchArray:
        """The array for the next batch; waits while there are batches in all of them."""
        return self._free.get()

    def put(self, array: BatchArray, work: Work) -> None:
        """Run the batch that lies in the array that was taken. Returns at once; `work` must not raise."""
        self._works.put((self._put, array, work))
        self._put += 1

    def try_at_once(self, run: Callable[[BatchArray], object]) -> BaseException | None:
        """Run something with every array at the same time, each in its thread; what one of them raised."""
        raised: list[BaseException] = []
        together = threading.Barrier(len(self._arrays))

        def work(array: BatchArray) -> Answer:
            together.wait()  # so that no thread takes two
            try:
                run(array)
            except BaseException as error:
                raised.append(error)
            return lambda: None

        for array in [self.take_array() for _ in self._arrays]:
            self.put(array, lambda array=array: work(array))  # type: ignore[misc]
        with self._turn:
            self._turn.wait_for(lambda: not self.is_busy)
        return raised[0] if raised else None

    def close(self) -> None:
        """Wait until everything that was put here is answered, and end the threads."""
        for _ in self._threads:
            self._works.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        try:
            with self._device.apart():
                while (item := self._works.get()) is not None:
                    number, array, work = item
                    answer = work()
                    with self._turn:
                        while self._answered != number:
                            self._turn.wait()
                        self._free.put(array)  # before the answer, which may bring the next batch at once
                        # an OSError is that the host is gone: the thread that reads sees it too
                        with contextlib.suppress(OSError):
                            answer()
                        self._answered += 1
                        self._turn.notify_all()
        except BaseException:
            # with a thread less the worker would hang at one of the next batches
            traceback.print_exc()
            os._exit(1)
