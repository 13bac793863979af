"""What a sender counts: it survives a way as JSON, and several senders' make one."""

from __future__ import annotations

import json

from loadtest.tally import Tally
from tests.loadtest.load_runs import load_run


def test_tallies_survive_a_way_as_json() -> None:
    for tally in load_run().tallies:
        document = json.loads(json.dumps(tally.document()))
        assert json.loads(json.dumps(Tally.read(document).document())) == document
        assert Tally.read(document).outcomes.figures(1.0) == tally.outcomes.figures(1.0)


def test_merged_tallies_are_those_of_both() -> None:
    run, other = load_run(), load_run()
    tally = run.tallies[3]
    tally.merge(other.tallies[3])
    assert tally.outcomes.offered == 400
    assert tally.lag.count == 400 and tally.photo_bytes == 400 * 80_000
    assert tally.models["tags@3.1"].batch_sizes == {8: 250}
    assert sum(sum(second.counts.values()) for second in tally.seconds.values()) == 400
