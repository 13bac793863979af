"""The figures by which the reference packages are judged, from their answers and the scenes' truth. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model_packages.scenes.sentences import read
from model_packages.scenes.truth import Seen
from model_packages.scenes.vocabulary import TAGS


def average_precision(wanted: np.ndarray, scores: np.ndarray) -> float:
    """Mean of the precision at every hit, best score first. `wanted` is bool [n], `scores` float [n]."""
    hits = wanted[np.argsort(-scores, kind="stable")].astype(np.float64)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(1.0, hits.sum()))


def precision_per_tag(answers: Sequence[dict[str, Any]], truths: Sequence[Seen]) -> dict[str, float]:
    """Average precision of every tag that some scene has. A tag that an answer leaves out counts as confidence 0."""
    given = [{tag["name"]: tag["confidence"] for tag in answer["tags"]} for answer in answers]
    found = {}
    for tag in TAGS:
        wanted = np.array([tag in truth.tags for truth in truths])
        if wanted.any():
            found[tag] = average_precision(wanted, np.array([row.get(tag, 0.0) for row in given]))
    return found


def mean_average_precision(answers: Sequence[dict[str, Any]], truths: Sequence[Seen]) -> float:
    """Mean over the tags of `precision_per_tag`."""
    return float(np.mean(list(precision_per_tag(answers, truths).values())))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2)[place]


def spearman(answers: Sequence[dict[str, Any]], truths: Sequence[Seen]) -> float:
    """Rank correlation of the scores with the known quality."""
    given = np.array([answer["score"] for answer in answers])
    return float(np.corrcoef(ranks(given), ranks(np.array([truth.quality for truth in truths])))[0, 1])


def captions_right(answers: Sequence[dict[str, Any]], truths: Sequence[Seen]) -> dict[str, float]:
    """Shares of sentences that name the subject, the setting, both of them, the time of day, and all three, correctly."""
    claims = [read(answer["caption"]["text"]) for answer in answers]
    subject = np.array([claim.subject == truth.subject for claim, truth in zip(claims, truths, strict=True)])
    setting = np.array([claim.setting == truth.setting for claim, truth in zip(claims, truths, strict=True)])
    time = np.array([claim.time == truth.time for claim, truth in zip(claims, truths, strict=True)])
    shares = {
        "subject": subject,
        "setting": setting,
        "subject and setting": subject & setting,
        "time": time,
        "all three": subject & setting & time,
    }
    return {name: float(right.mean()) for name, right in shares.items()}
