"""Pointers: what a model's name and labels mean and who gets which share. Pure: one verb makes one new state.

A verb that would leave callers without a version, or that means nothing, is refused with the next step to take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from crema.names import parse_version

BESIDE: Final = 0.0
"""The share of a version that only callers who name it reach."""
KEEP: Final = 20


class ReleaseRefused(Exception):
    """A release verb cannot be done; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Pointers:
    """One model. `shares` has its versions: None is promoted, a number the percent of what is not pinned."""

    default: str
    shares: Mapping[str, float | None]
    labels: Mapping[str, str] = field(default_factory=dict)

    def beside(self, version: str) -> Pointers:
        """With `version` reachable by its number and nothing else moved."""
        return self if version in self.shares else self._with(version, BESIDE)

    def canary(self, version: str, percent: float) -> Pointers:
        """With `version` getting so much of what is not pinned."""
        self._check_listed(version)
        if version == self.default:
            raise ReleaseRefused(
                f"{version} is the default: it gets what the canaries leave\n  try: promote another version first"
            )
        others = sum(share or 0.0 for each, share in self.shares.items() if each != version)
        if others + percent > 100:
            raise ReleaseRefused(
                f"the other canaries have {others:g}% already\n  try: at most {100 - others:g}%, or take one back: crema rollback"
            )
        return self._with(version, percent)

    def promote(self, version: str) -> Pointers:
        """With the name, and the major version's number, meaning `version`. Newer minors of its major stand back."""
        self._check_listed(version)
        new = parse_version(version)
        shares = dict(self.shares)
        for other in shares:
            it = parse_version(other)
            if it.major == new.major and it > new and shares[other] is None:
                shares[other] = BESIDE
        shares[version] = None
        return replace(self, default=version, shares=shares)

    def retire(self, version: str) -> Pointers:
        """Without `version`."""
        self._check_listed(version)
        if version == self.default:
            others = [each for each in self.shares if each != version]
            step = (
                f"promote another one first: {', '.join(others)}"
                if others
                else "release and promote another one first: crema release PATH"
            )
            raise ReleaseRefused(f"{version} is the default, and a model keeps one\n  try: {step}")
        labels = [label for label, means in self.labels.items() if means == version]
        if labels:
            raise ReleaseRefused(
                f"the label {labels[0]} means {version}\n  try: move it in the cluster file, or roll back"
            )
        return replace(self, shares={each: share for each, share in self.shares.items() if each != version})

    def taken_back(self, version: str) -> Pointers:
        """With a canary's share gone; it stays reachable by its number."""
        return self._with(version, BESIDE) if self.shares.get(version) else self

    def back_to(self, former: Pointers) -> Pointers:
        """`former`, where a version that callers are taken off by this gets no share by it either."""
        if former.default == self.default:
            return former
        return former.taken_back(self.default)

    def _with(self, version: str, share: float | None) -> Pointers:
        return replace(self, shares={**self.shares, version: share})

    def _check_listed(self, version: str) -> None:
        if version not in self.shares:
            raise ReleaseRefused(
                f"there is no {version} that serves; there are {', '.join(self.shares)}\n  try: crema release PATH"
            )

    def gets(self, version: str) -> str:
        """In words, what a version that is listed gets of the traffic."""
        if version == self.default:
            return "default"
        share = self.shares[version]
        if share is None:
            return f"promoted: @{parse_version(version).major} may mean it"
        return f"canary {share:g}%" if share else "beside: only by its number"

    def told(self, name: str, revision: int, states: Mapping[str, str]) -> dict[str, Any]:
        """What a verb answers: where everything stands now. `states` has what runs, by version."""
        listed = sorted(self.shares, key=parse_version)
        others = (f", {version} {self.gets(version)}" for version in listed if version != self.default)
        return {
            "model": name,
            "default": self.default,
            "labels": dict(self.labels),
            "versions": [
                {
                    "version": version,
                    "state": states.get(version),
                    "gets": self.gets(version),
                    "canary_percent": self.shares[version],
                }
                for version in listed
            ],
            "revision": revision,
            "says": f"{name} is {self.default}" + "".join(others),
        }

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"default": self.default, "shares": dict(self.shares), "labels": dict(self.labels)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Pointers:
        """Raises KeyError, TypeError or ValueError for what is none."""
        shares = {str(version): share for version, share in document["shares"].items()}
        for version, share in shares.items():
            parse_version(version)
            if share is not None and not 0 <= float(share) <= 100:
                raise ValueError("a share is from 0 to 100 percent")
        if document["default"] not in shares:
            raise ValueError("the default is none of the versions")
        return cls(document["default"], shares, dict(document.get("labels") or {}))


@dataclass(frozen=True, slots=True)
class Line:
    """A model's state now, and the states before it, the latest last. `origin` says which cluster file it began from."""

    now: Pointers
    past: tuple[Pointers, ...] = ()
    origin: str = ""

    def moved(self, to: Pointers) -> Line:
        """One step further; the same line when nothing changes."""
        return self if to == self.now else Line(to, (*self.past, self.now)[-KEEP:], self.origin)

    def back(self) -> Line:
        """One step back. Raises ReleaseRefused when there is none."""
        past = list(self.past)
        while past:
            former = self.now.back_to(past.pop())
            if former != self.now:
                return Line(former, tuple(past), self.origin)
        raise ReleaseRefused("there is no state before this one\n  try: crema promote NAME@VERSION")

    def without_canary(self, version: str) -> Line:
        """A canary is taken back, and no step back brings its share again."""
        now = self.now.taken_back(version)
        past = [each.taken_back(version) for each in self.past]
        while past and past[-1] == now:
            past.pop()
        return Line(now, tuple(past), self.origin)

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "origin": self.origin,
            "now": self.now.document(),
            "past": [each.document() for each in self.past],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Line:
        """Raises KeyError, TypeError or ValueError for what is none."""
        return cls(
            Pointers.of(document["now"]),
            tuple(Pointers.of(each) for each in document["past"]),
            str(document["origin"]),
        )
