"""Step `batch`: the same item gives the same answer alone, in any batch, in any place."""

from __future__ import annotations

from collections.abc import Sequence

from check.failure import StepFailed
from check.items import Item
from check.params_sets import mixed_params
from check.probe import BatchRaised, Outcome
from check.session import Params, is_rejected
from check.steps.answers import first_difference, spoken
from check.subject import Subject

# Numbers that are as close as this are the same number computed in batches of other sizes.
_SAME = 1e-5


def check_batch(subject: Subject) -> str:
    """Every size from 1 to max_size with mixed params; then single items once more after the largest batch."""
    session, manifest = subject.session, subject.manifest
    sets = mixed_params(manifest)
    # what the model refuses alone may cost a batch its mates: that is the step `poison`
    pool = [item for item in subject.pool if not is_rejected(session.alone(item))]
    if not pool:
        raise StepFailed("there is nothing to make batches of: the model refuses every example and probe")
    for n in range(1, session.max_size + 1):
        subject.progress(f"a batch of {n}")
        # every item comes to stand in every place, beside others, with other params
        items = [pool[(n + place) % len(pool)] for place in range(n)]
        params = [sets[(n + place) % len(sets)] for place in range(n)]
        # params that the model fails with are found by the step `params`, with the one that is to blame
        params = [
            {} if is_rejected(session.alone(item, one)) else one
            for item, one in zip(items, params, strict=True)
        ]
        _compare(subject, items, params)
    largest = [pool[place % len(pool)] for place in range(session.max_size)]
    for item in pool:
        _outcomes(subject, largest, [{}] * len(largest))
        again = session.alone_now(item)
        if (found := first_difference(manifest, session.alone(item), again, item.tolerance)) is not None:
            raise StepFailed(
                f"after a batch of {session.max_size}, {item.name} alone {found}",
                hint="keep nothing of a batch for the next one; copy what must outlive the call",
            )
        largest = largest[1:] + largest[:1]
    return f"sizes 1 to {session.max_size}, {spoken(len(pool), 'item')}, {spoken(len(sets), 'set')} of params"


def _compare(subject: Subject, items: Sequence[Item], params: Sequence[Params]) -> None:
    n = len(items)
    outcomes = _outcomes(subject, items, params)
    for place, (item, one) in enumerate(zip(items, params, strict=True)):
        alone = subject.session.alone(item, one)
        found = first_difference(subject.manifest, alone, outcomes[place], item.tolerance, one)
        if found is not None:
            _refuse_another_order(subject, items, params, outcomes, _SAME)
            with_ = f" with {one}" if one else ""
            raise StepFailed(
                f"in a batch of {n}, {item.name}{with_} in place {place} {found}; alone it does not",
                hint="let no item's answer depend on its mates, its place or the batch's size",
            )
    # an order that went wrong among answers that lie within the tolerance of each other: here only equal ones count
    _refuse_another_order(subject, items, params, outcomes, 0.0)


def _refuse_another_order(
    subject: Subject,
    items: Sequence[Item],
    params: Sequence[Params],
    outcomes: Sequence[Outcome],
    tolerance: float,
) -> None:
    """Raises StepFailed when every answer that is not its item's own is that of another place."""

    def holds(place: int, item: int, with_params_of: int) -> bool:
        wanted = subject.session.alone(items[item], params[with_params_of])
        if tolerance == 0:
            return wanted == outcomes[place]
        return first_difference(subject.manifest, wanted, outcomes[place], tolerance, params[place]) is None

    places = range(len(items))
    wrong = [place for place in places if not holds(place, place, place)]
    moved = [
        # the item's answer moved, with its params or before they were applied
        next((at for at in places if at != place and (holds(place, at, at) or holds(place, at, place))), None)
        for place in wrong
    ]
    if wrong and None not in moved:
        raise StepFailed(
            f"a batch of {len(items)} is answered in another order: place {wrong[0]} holds the answer of place {moved[0]}",
            hint="return one output per item, in the order of the batch",
        )


def _outcomes(subject: Subject, items: Sequence[Item], params: Sequence[Params]) -> list[Outcome]:
    try:
        return subject.session.run(items, params)
    except BatchRaised as raised:
        raise StepFailed(f"a batch of {len(items)}: {raised.code}: {raised}", detail=raised.detail) from None
