"""What the autoscaler wants to know of replicas, from their `/metrics`. Pure: texts in, a `Sample` per period out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.autoscaler import Sample

# Refusals for want of room; those of quotas, of draining and of bulk are none.
WANT_OF_ROOM: Final = ("full", "deadline")

_LINE = re.compile(r"^(crema_[a-z_]+)(?:\{(.*)\})? (\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class ReplicaFigures:
    """One replica as it shows itself; counters are since its start."""

    accepted: float = 0.0
    refused: float = 0.0
    """Interactive items, for want of room."""
    load_ratio: float = 0.0
    is_ready: bool = False
    is_starting: bool = False
    boots: float = 0.0
    boots_s: float = 0.0
    """How often its model was loaded, and how many seconds that took in all."""


def read_figures(text: str) -> ReplicaFigures:
    """The figures in one `/metrics` answer; what is missing in it is 0."""
    accepted = refused = load_ratio = ready = starting = boots = boots_s = 0.0
    for name, written, value in _LINE.findall(text):
        if name == "crema_items_total":
            labels = dict(_LABEL.findall(written))
            if labels.get("lane") == "interactive":
                decision = labels.get("decision")
                accepted += float(value) if decision == "accepted" else 0.0
                refused += float(value) if decision in WANT_OF_ROOM else 0.0
        elif name == "crema_load_ratio":
            load_ratio = float(value)
        elif name == "crema_ready":
            ready = float(value)
        elif name == "crema_starting":
            starting = float(value)
        elif name == "crema_model_load_seconds_count":
            boots = float(value)
        elif name == "crema_model_load_seconds_sum":
            boots_s = float(value)
    return ReplicaFigures(accepted, refused, load_ratio, ready > 0, starting > 0, boots, boots_s)


class Replicas:
    """The replicas of one version from period to period. They are told apart by any key that a new process does not share
    with an old one, such as the pid."""

    def __init__(self) -> None:
        self._before: dict[object, ReplicaFigures] = {}

    def sample(
        self, now: float, seen: Mapping[object, ReplicaFigures | None], unseen_starting: int = 0
    ) -> Sample:
        """The period that ends `now`. `seen` has each process that runs, None where it did not answer in time: then its
        last figures stand. `unseen_starting` counts processes that are starting and show nothing yet."""
        before, figures = self._before, {}
        for key, shown in seen.items():
            known = shown if shown is not None else before.get(key)
            if known is not None:
                figures[key] = known
        nothing = ReplicaFigures()
        ready = [each for each in figures.values() if each.is_ready]
        self._before = figures
        return Sample(
            at=now,
            accepted=sum(each.accepted - before.get(key, nothing).accepted for key, each in figures.items()),
            refused=sum(each.refused - before.get(key, nothing).refused for key, each in figures.items()),
            busy_ratio=sum(each.load_ratio for each in ready) / len(ready) if ready else 0.0,
            ready=len(ready),
            starting=sum(each.is_starting for each in figures.values()) + unseen_starting,
        )

    @property
    def boot_s(self) -> float:
        """How long a replica took to load, on average over those that were seen last; 0 when that is not known."""
        boots = sum(each.boots for each in self._before.values())
        return sum(each.boots_s for each in self._before.values()) / boots if boots else 0.0
