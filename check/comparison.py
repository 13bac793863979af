"""Comparison: how the answers of two versions to the same photos differ, and by how much; pure.

Each photo gets a change from 0 (the same) to 1 (nothing in common), by which the worst cases are found, and words.
"""

from __future__ import annotations

import difflib
import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Output = Any
_SHOWN: int = 5


@dataclass(frozen=True, slots=True)
class Change:
    """How one photo's answer changed. `amount` is 0 to 1."""

    amount: float
    words: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All photos: one line per fact in `facts`, the same as numbers in `figures`, and each photo's change, in order."""

    changes: list[Change]
    facts: list[str]
    figures: dict[str, Any] = field(default_factory=dict)


def compare(kind: str, pairs: Sequence[tuple[Output, Output]]) -> Comparison:
    """The answers of the output type `kind`, before and after, photo by photo."""
    if kind == "tags":
        return _compare_tags(pairs)
    if kind == "score":
        return _compare_scores(pairs)
    if kind == "caption":
        return _compare_captions(pairs)
    if kind == "embedding":
        return _compare_embeddings(pairs)
    changes = [Change(float(a != b), "the same" if a == b else "another answer") for a, b in pairs]
    return _summed(changes, [], {})


def _summed(changes: list[Change], facts: list[str], figures: dict[str, Any]) -> Comparison:
    same = sum(change.amount == 0 for change in changes)
    first = f"{same} of {len(changes)} photos have the same answer"
    return Comparison(changes, [first, *facts], {"photos": len(changes), "same": same, **figures})


def _compare_tags(pairs: Sequence[tuple[Output, Output]]) -> Comparison:
    changes: list[Change] = []
    gone: Counter[str] = Counter()
    new: Counter[str] = Counter()
    sets = 0
    shifts: list[tuple[float, str]] = []
    for before, after in pairs:
        left = {tag["name"]: tag["confidence"] for tag in before["tags"]}
        right = {tag["name"]: tag["confidence"] for tag in after["tags"]}
        lost, more = (
            [name for name in left if name not in right],
            [name for name in right if name not in left],
        )
        gone.update(lost)
        new.update(more)
        sets += not lost and not more
        moved = [(right[name] - left[name], name) for name in left if name in right]
        shifts += moved
        words = [f"−{name} {left[name]:.2f}" for name in lost] + [
            f"+{name} {right[name]:.2f}" for name in more
        ]
        by, most = max(moved, key=lambda one: abs(one[0]), default=(0.0, ""))
        if abs(by) >= 0.005:
            words.append(f"{most} {left[most]:.2f} → {right[most]:.2f}")
        # what stands in one set only counts by how sure the model was of it
        total = sum(left.values()) + sum(right.values())
        apart = sum(left[name] for name in lost) + sum(right[name] for name in more)
        amount = apart + sum(abs(by) for by, _ in moved)
        changes.append(Change(min(1.0, amount / total) if total else 0.0, ", ".join(words) or "the same"))
    facts = [f"{sets} of {len(pairs)} photos have the same set of tags"]
    facts += [f"lost most often: {_counted(gone)}"] if gone else []
    facts += [f"new most often: {_counted(new)}"] if new else []
    by, name = max(shifts, key=lambda one: abs(one[0]), default=(0.0, ""))
    if by:
        facts.append(f"largest change of a confidence: {name} {by:+.3f}")
    return _summed(
        changes, facts, {"same_set": sets, "lost": dict(gone), "new": dict(new), "largest_shift": abs(by)}
    )


def _compare_scores(pairs: Sequence[tuple[Output, Output]]) -> Comparison:
    left, right = [before["score"] for before, _ in pairs], [after["score"] for _, after in pairs]
    was, now = _places(left), _places(right)
    last = max(1, len(pairs) - 1)
    changes = []
    for index, (a, b) in enumerate(zip(left, right, strict=True)):
        rank = "" if was[index] == now[index] else f", place {was[index] + 1:g} → {now[index] + 1:g}"
        amount = 0.0 if a == b else max(abs(a - b), abs(was[index] - now[index]) / last)
        changes.append(Change(amount, "the same" if a == b else f"{a:.3f} → {b:.3f}{rank}"))
    moves = [abs(b - a) for a, b in zip(left, right, strict=True)]
    largest, mean = max(moves, default=0.0), statistics.fmean(b - a for a, b in zip(left, right, strict=True))
    order = _correlation(was, now)
    facts = [f"scores move by {mean:+.4f} on average, by {largest:.4f} at most"]
    if order is None:
        facts.append("order of the photos: nothing to compare")
    else:
        facts.append(f"order of the photos: rank correlation {order:.3f} (1: the same order, −1: reversed)")
    return _summed(changes, facts, {"mean_shift": mean, "largest_shift": largest, "rank_correlation": order})


def _compare_captions(pairs: Sequence[tuple[Output, Output]]) -> Comparison:
    changes: list[Change] = []
    gone: Counter[str] = Counter()
    new: Counter[str] = Counter()
    for before, after in pairs:
        one, two = before["caption"], after["caption"]
        left, right = _words(one["text"]), _words(two["text"])
        gone.update(Counter(left) - Counter(right))
        new.update(Counter(right) - Counter(left))
        amount = 1 - difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()
        if amount == 0:
            by = abs(two["confidence"] - one["confidence"]) or float(one["text"] != two["text"])
            said = (
                "the same"
                if by == 0
                else f"the same words, confidence {one['confidence']:.2f} → {two['confidence']:.2f}"
            )
            changes.append(Change(by / 100, said))  # less than any other word
        else:
            changes.append(Change(amount, marked(left, right)))
    words = sum(len(_words(before["caption"]["text"])) for before, _ in pairs)
    facts = [f"{sum(gone.values())} of {words} words are gone, {sum(new.values())} are new"]
    facts += [f"lost most often: {_counted(gone)}"] if gone else []
    facts += [f"new most often: {_counted(new)}"] if new else []
    return _summed(changes, facts, {"words": words, "lost": dict(gone), "new": dict(new)})


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'’-]+|[^\w\s]", text)


def marked(left: Sequence[str], right: Sequence[str]) -> str:
    """One sentence made of two: `a [−dog] [+cat] on a lake`."""
    parts: list[str] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind == "equal":
            parts += left[a:b]
            continue
        parts += [f"[−{' '.join(left[a:b])}]"] if b > a else []
        parts += [f"[+{' '.join(right[c:d])}]"] if d > c else []
    return " ".join(parts)


def _compare_embeddings(pairs: Sequence[tuple[Output, Output]]) -> Comparison:
    changes, cosines = [], []
    for before, after in pairs:
        left, right = before["embedding"], after["embedding"]
        if left == right:
            changes.append(Change(0.0, "the same"))
            cosines.append(1.0)
        elif len(left) != len(right):
            changes.append(Change(1.0, f"{len(left)} numbers → {len(right)}"))
        else:
            length = math.hypot(*left) * math.hypot(*right)
            cosine = sum(a * b for a, b in zip(left, right, strict=True)) / length if length else 0.0
            cosines.append(cosine)
            changes.append(Change(min(1.0, (1 - cosine) / 2), f"cosine {cosine:.4f}"))
    facts = [f"least cosine between before and after: {min(cosines):.4f}"] if cosines else []
    return _summed(changes, facts, {"least_cosine": min(cosines, default=None)})


def _places(scores: Sequence[float]) -> list[float]:
    """The place of each score, the highest first, from 0; equal ones share the mean of their places."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    places = [0.0] * len(scores)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and scores[order[end + 1]] == scores[order[start]]:
            end += 1
        for index in order[start : end + 1]:
            places[index] = (start + end) / 2
        start = end + 1
    return places


def _correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's, given the places; None where one side has no order."""
    if len(set(left)) < 2 or len(set(right)) < 2:
        return None
    return statistics.correlation(left, right)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counter.most_common(_SHOWN))
