"""What a caller is told of a simulated call is what `coordinator.merge` would tell."""

from __future__ import annotations

from itertools import product

import pytest

from coordinator.merge import Part, merge
from crema.errors import CremaError
from loadtest.simulator.attempt import Call, Photo
from loadtest.simulator.coordinator import verdict

CODES = (None, "overloaded", "not_ready", "deadline_exceeded")


@pytest.mark.parametrize("needs_all", [False, True])
@pytest.mark.parametrize("codes", list(product(CODES, repeat=3)))
def test_the_verdict_is_merge_s(codes: tuple[str | None, ...], needs_all: bool) -> None:
    errors = [None if code is None else CremaError(code, "", retry_after_ms=1) for code in codes]
    parts = [Part(str(index), "m", "1.0", needs_all, {}, {}, error) for index, error in enumerate(errors)]
    merged = merge("id", parts, None, {})
    call = Call(0.0, 0.0, 1.0, "interactive", Photo(1.0, 1, 0.001), 3)
    call.is_prepared = True
    call.failed = [error for error in errors if error is not None]
    kind, code = verdict(call, 3, needs_all)
    if merged.status == 200:
        assert (kind, code) == (merged.code, "")
    else:
        assert (kind, code) == ("refused" if merged.status == 429 else "failed", merged.code)
