"""Session: a loaded package that can be asked for answers. Replaces its worker when one died, and remembers what each
item answers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from check.failure import StepFailed
from check.items import Item
from check.probe import BatchRaised, Note, Outcome, Plan, Probe, WorkerLost
from crema.host.manifest import Manifest

# How long a batch may take: the manifest's watchdog_s, or as much as the slowest honest batch seems to need.
_LEAST_BATCH_S: Final = 30.0
_LOADS_PER_BATCH: Final = 10.0

Params = Mapping[str, Any]


class Session:
    """One package, loaded. Close it: it holds a process."""

    def __init__(self, plan: Plan, manifest: Manifest, warmup: Path | None) -> None:
        self.plan = plan
        self.manifest = manifest
        self.warmup = warmup
        self.defaults: dict[str, Any] = {name: param.default for name, param in manifest.params.items()}
        self.load_seconds = 0.0
        self._notes: list[Note] = []
        self._probe: Probe | None = None
        self._alone: dict[tuple[str, tuple[tuple[str, Any], ...]], Outcome] = {}

    @property
    def max_size(self) -> int:
        """The largest batch that the package declares."""
        return self.manifest.batching.max_size

    @property
    def probe(self) -> Probe:
        """The worker, loaded now if there is none. Raises WorkerLost."""
        if self._probe is None:
            probe = Probe(self.plan)
            try:
                self.load_seconds = probe.load(self.manifest.load_s, self.warmup)
            except WorkerLost:
                self._notes += probe.notes()
                raise
            self._probe = probe
        return self._probe

    def run(self, items: Sequence[Item], params: Sequence[Params] | None = None) -> list[Outcome]:
        """One batch. Raises BatchRaised, or StepFailed when the worker died or hung."""
        return self.timed(items, params)[0]

    def timed(
        self, items: Sequence[Item], params: Sequence[Params] | None = None
    ) -> tuple[list[Outcome], float]:
        """One batch and its seconds. Raises as `run`."""
        filled = None if params is None else [{**self.defaults, **one} for one in params]
        try:
            limit_s = self.manifest.watchdog_s or max(_LEAST_BATCH_S, _LOADS_PER_BATCH * self.load_seconds)
            return self.probe.run([item.pixels for item in items], filled, limit_s)
        except WorkerLost as lost:
            self._drop()
            names = ", ".join(item.name for item in items[:4]) + (" …" if len(items) > 4 else "")
            raise StepFailed(f"{lost} on a batch of {len(items)} ({names})", detail=lost.detail) from None

    def alone(self, item: Item, params: Params | None = None) -> Outcome:
        """The outcome of an item in a batch of one, asked once. A model that raises gives it an error.

        Raises StepFailed when the worker died or hung.
        """
        key = (item.name, tuple(sorted((params or {}).items())))
        if key not in self._alone:
            self._alone[key] = self.alone_now(item, params)
        return self._alone[key]

    def alone_now(self, item: Item, params: Params | None = None) -> Outcome:
        """As `alone`, but asked now."""
        try:
            return self.run([item], None if params is None else [params])[0]
        except BatchRaised as raised:
            return {
                "error": {
                    "code": raised.code,
                    "message": str(raised),
                    "traceback": raised.detail,
                }
            }

    def notes_of(self, kind: str) -> list[Note]:
        """What the guard saw of one kind so far, in all workers of this session."""
        if self._probe is not None:
            self._notes += self._probe.notes()
        return [note for note in self._notes if note.kind == kind]

    def printed(self) -> list[str]:
        """What the package printed last."""
        return [] if self._probe is None else self._probe.printed

    def close(self) -> None:
        """Ends the worker."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def _drop(self) -> None:
        if self._probe is not None:
            self._notes += self._probe.notes()
            self._probe = None


def error_of(outcome: Outcome) -> str | None:
    """`code: message` of an outcome that is an error; None for an answer."""
    error = outcome.get("error")
    return None if error is None else f"{error['code']}: {error['message']}"


def is_rejected(outcome: Outcome) -> bool:
    """Whether the model refused the item or raised for it: its own word, and no broken output."""
    error = outcome.get("error")
    return error is not None and error["code"] != "model_output_invalid"
