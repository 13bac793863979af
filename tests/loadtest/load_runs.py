"""A load run that never took place: hand-made tallies, the same every time, for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

from loadtest.answer import Part, PartError, Timing
from loadtest.cluster_cpu import CpuSample
from loadtest.load_run import LoadRun, Settings
from loadtest.scenario import PhaseConfig, Scenario, ScenarioConfig, resolve
from loadtest.tally import Tally


def scenario() -> Scenario:
    """A warm-up, and three steps of a second each."""
    phase = PhaseConfig(seconds=1.0, rate=100.0, steps=(0.5, 1.0, 2.0), models=("tags", "captions"))
    return resolve(ScenarioConfig(warmup_s=1.0, phases=(phase,)), Path())


def part(model: str, *, batch_size: int = 4, code: str = "") -> Part:
    """What a model said."""
    if code:
        return Part("error", model, "3.1", None, PartError(code))
    return Part("ok", model, "3.1", Timing(1.0, 20.0, 25.0, batch_size))


def load_run(**changes: object) -> LoadRun:
    """The first two steps are answered in 40 ms; the third is refused in part, and in part too slow or broken."""
    plan = scenario()
    tallies = [Tally(plan.slo_s) for _ in plan.phases]
    for number, (phase, tally) in enumerate(zip(plan.phases, tallies, strict=True)):
        for call in range(round(phase.rate)):
            due_s = phase.begins_s + call / phase.rate
            tally.sent(0.001, 80_000, False)
            parts = {"tags": part("tags", batch_size=8 if number == 3 else 2), "captions": part("captions")}
            if number < 3 or call % 4 == 0:
                tally.ended(due_s, "ok", 0.04 + call / 10_000, "", parts)
            elif call % 4 == 1:
                tally.ended(due_s, "refused", 0.003, "overloaded", {})
            elif call % 4 == 2:
                parts["captions"] = part("captions", code="model_failed")
                tally.ended(due_s, "partial", 0.2, "", parts)
            elif call % 8 == 3:
                tally.ended(due_s, "failed", 2.0, "deadline_exceeded", {})
            else:
                tally.ended(due_s, "ok", 0.9, "", parts)
    cpu = [
        (CpuSample(n, {"coordinator": 1.0 * n, "tags": 2.0 * n}), CpuSample(n + 1, {"coordinator": 1.1 * n + 1, "tags": 2.0 * n + 3}))
        for n in range(len(tallies))
    ]  # fmt: skip
    run = LoadRun(
        plan, Settings("http://127.0.0.1:8000"), tallies, 2, 500, [[0.3, 0.4], [0.2]], 0.9, list(cpu), "the kernel", ""
    )  # fmt: skip
    for name, value in changes.items():
        object.__setattr__(run, name, value)
    return run
