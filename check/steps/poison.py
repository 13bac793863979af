"""Step `poison`: a bad item costs its mates nothing but a split."""

from __future__ import annotations

from check.failure import StepFailed
from check.items import Item
from check.probe import BatchRaised
from check.session import error_of, is_rejected
from check.steps.answers import first_difference, spoken
from check.subject import Subject


def check_poison(subject: Subject) -> str:
    """[item, all 0, item]: mates answer as alone, or the whole batch raises and they answer afterwards."""
    session = subject.session
    dark = next(item for item in subject.probes if item.name == "all 0")
    mates = [item for item in subject.pool if item is not dark and not is_rejected(session.alone(item))]
    raised = 0
    for index, left in enumerate(mates):
        right = mates[(index + 1) % len(mates)]
        batch = [left, dark, right][: session.max_size]
        try:
            outcomes = session.run(batch)
        except BatchRaised as error:
            if error.code == "model_output_invalid":
                raise StepFailed(f"{_names(batch)}: {error.code}: {error}") from None
            raised += 1
            outcomes = [session.alone_now(item) for item in batch]
        for mate, outcome in zip(batch, outcomes, strict=True):
            if mate is dark:
                continue
            alone = session.alone(mate)
            if (found := first_difference(subject.manifest, alone, outcome, mate.tolerance)) is not None:
                what = "with an Exception in its place" if error_of(outcome) else "beside it"
                raise StepFailed(
                    f"an all-0 image spoils its mates: in [{_names(batch)}] {mate.name} {found}",
                    hint=f"a bad item fails alone; {mate.name} must not be answered otherwise {what}",
                )
    words = f"{spoken(len(mates), 'mate')} beside an all-0 image"
    return words + (f"; {raised} batches raised and are split by the host" if raised else "")


def _names(batch: list[Item]) -> str:
    return ", ".join(item.name for item in batch)
