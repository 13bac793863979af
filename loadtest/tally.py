"""Tally: what a sender counts of each phase: how calls ended, by model and by second, and how punctual it was itself.

Constant memory per second of the run; tallies of several senders are merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from loadtest.answer import Part
from loadtest.figures import KINDS, Kind, Latencies, Outcomes


class ModelTally:
    """What one model version said, over all calls that asked for it."""

    __slots__ = ("batch_sizes", "codes", "inference", "ok", "queue", "total")

    def __init__(self) -> None:
        self.ok = 0
        self.codes: Counter[str] = Counter()
        self.total = Latencies()
        self.queue = Latencies()
        self.inference = Latencies()
        self.batch_sizes: Counter[int] = Counter()
        """How many items were in a batch of that size."""

    def add(self, part: Part) -> None:
        """One part of an answer."""
        if part.status != "ok":
            self.codes[part.error.code if part.error is not None else "no_reason"] += 1
            return
        self.ok += 1
        timing = part.timing
        if timing is not None:
            self.total.add(timing.total_ms / 1000)
            self.queue.add(timing.queue_ms / 1000)
            self.inference.add(timing.inference_ms / 1000)
            if timing.batch_size > 0:
                self.batch_sizes[timing.batch_size] += 1

    @property
    def mean_batch(self) -> float | None:
        """Items per batch: each of n items in a batch of n stands for 1/n batches."""
        batches = sum(count / size for size, count in self.batch_sizes.items())
        return sum(self.batch_sizes.values()) / batches if batches else None

    def merge(self, other: ModelTally) -> None:
        """Take over all of `other`."""
        self.ok += other.ok
        self.codes.update(other.codes)
        self.total.merge(other.total)
        self.queue.merge(other.queue)
        self.inference.merge(other.inference)
        self.batch_sizes.update(other.batch_sizes)

    def document(self) -> dict[str, Any]:
        """Plain data for JSON; `ModelTally.read` takes it."""
        return {
            "ok": self.ok,
            "codes": dict(self.codes),
            "total": self.total.document(),
            "queue": self.queue.document(),
            "inference": self.inference.document(),
            "batch_sizes": sorted(self.batch_sizes.items()),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ModelTally:
        """What `document` gave."""
        read = cls()
        read.ok = int(document["ok"])
        read.codes.update(document["codes"])
        read.total = Latencies.read(document["total"])
        read.queue = Latencies.read(document["queue"])
        read.inference = Latencies.read(document["inference"])
        read.batch_sizes.update({int(size): int(count) for size, count in document["batch_sizes"]})
        return read


class Second:
    """Calls that were due in one stretch of a second or more."""

    __slots__ = ("answered", "counts", "good")

    def __init__(self) -> None:
        self.counts: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.good = 0
        self.answered = Latencies()

    def merge(self, other: Second) -> None:
        """Take over all of `other`."""
        for kind in KINDS:
            self.counts[kind] += other.counts[kind]
        self.good += other.good
        self.answered.merge(other.answered)

    def document(self) -> list[Any]:
        """Plain data for JSON; `Second.read` takes it."""
        return [[self.counts[kind] for kind in KINDS], self.good, self.answered.document()]

    @classmethod
    def read(cls, document: list[Any]) -> Second:
        """What `document` gave."""
        read = cls()
        read.counts = dict(zip(KINDS, document[0], strict=True))
        read.good = int(document[1])
        read.answered = Latencies.read(document[2])
        return read


class Tally:
    """One phase, as one sender or all of them saw it. `bin_s` is how long a stretch of the plot over time is."""

    __slots__ = ("bin_s", "held", "lag", "models", "outcomes", "photo_bytes", "seconds")

    def __init__(self, slo_s: float, bin_s: float = 1.0) -> None:
        self.outcomes = Outcomes(slo_s)
        self.lag = Latencies()
        """How late each call was sent: the sender's own doing."""
        self.held = 0
        """Calls that were due when every connection the sender may open was taken."""
        self.photo_bytes = 0
        self.models: dict[str, ModelTally] = {}
        self.bin_s = bin_s
        self.seconds: dict[int, Second] = {}
        """By the number of the stretch, from the start of the run."""

    def sent(self, lag_s: float, photo_bytes: int, is_held: bool) -> None:
        """One call was sent, `lag_s` after it was due."""
        self.lag.add(lag_s)
        self.photo_bytes += photo_bytes
        if is_held:
            self.held += 1

    def ended(self, due_s: float, kind: Kind, seconds: float, code: str, parts: Mapping[str, Part]) -> None:
        """The call that was due `due_s` after the start of the run ended, `seconds` later."""
        outcomes = self.outcomes
        good, answered = outcomes.good, outcomes.answered.count
        outcomes.add(kind, seconds, code)
        number = int(due_s / self.bin_s)
        second = self.seconds.get(number)
        if second is None:
            second = self.seconds[number] = Second()
        second.counts[kind] += 1
        second.good += outcomes.good - good
        if outcomes.answered.count != answered:
            second.answered.add(seconds)
        for selector, part in parts.items():
            name = f"{part.model}@{part.version}" if part.version else part.model or selector
            model = self.models.get(name)
            if model is None:
                model = self.models[name] = ModelTally()
            model.add(part)

    def merge(self, other: Tally) -> None:
        """Take over all that another sender saw."""
        self.outcomes.merge(other.outcomes)
        self.lag.merge(other.lag)
        self.held += other.held
        self.photo_bytes += other.photo_bytes
        for name, model in other.models.items():
            self.models.setdefault(name, ModelTally()).merge(model)
        for number, second in other.seconds.items():
            self.seconds.setdefault(number, Second()).merge(second)

    def document(self) -> dict[str, Any]:
        """Plain data for JSON; `Tally.read` takes it."""
        return {
            "outcomes": self.outcomes.document(),
            "lag": self.lag.document(),
            "held": self.held,
            "photo_bytes": self.photo_bytes,
            "models": {name: model.document() for name, model in self.models.items()},
            "bin_s": self.bin_s,
            "seconds": {str(number): second.document() for number, second in self.seconds.items()},
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Tally:
        """What `document` gave."""
        outcomes = Outcomes.read(document["outcomes"])
        read = cls(outcomes.slo_s, float(document["bin_s"]))
        read.outcomes = outcomes
        read.lag = Latencies.read(document["lag"])
        read.held = int(document["held"])
        read.photo_bytes = int(document["photo_bytes"])
        read.models = {name: ModelTally.read(model) for name, model in document["models"].items()}
        read.seconds = {int(number): Second.read(second) for number, second in document["seconds"].items()}
        return read
