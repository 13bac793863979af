"""What `crema loadtest` sends: the scenario of a file, or the one that its options describe. It sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from crema.names import parse_selector
from loadtest.scenario import (
    PhaseConfig,
    PhotoConfig,
    Scenario,
    ScenarioConfig,
    ScenarioError,
    load_scenario,
    resolve,
)
from loadtest.trace import TraceError

# What a scenario file says itself.
_OF_THE_LOAD: Final = (
    *("rate", "duration", "arrivals", "to_rate", "steps", "trace", "speed", "warmup"),
    *("models", "lane", "deadline_ms", "photos", "draw"),
)


def plan_of(path: Path | None, options: Mapping[str, Any]) -> Scenario:
    """What the file at `path` says, or what the options say when there is none. Raises click's errors."""
    if path is None:
        config = _config(options)
        try:
            return resolve(config, Path())
        except (TraceError, OSError) as error:
            raise click.ClickException(str(error)) from None
    beside = [f"--{name.replace('_', '-')}" for name in _OF_THE_LOAD if options[name] not in (None, ())]
    if beside:
        raise click.UsageError(
            f"{', '.join(beside)}: the file {path} says what is sent; write it there, or leave the file out"
        )
    try:
        plan = load_scenario(path)
    except ScenarioError as error:
        raise click.UsageError(f"{path} has mistakes\n{error}") from None
    if options["slo"] is not None:
        plan = replace(plan, slo_s=options["slo"])
    if options["slo_percent"] is not None:
        plan = replace(plan, slo_share=options["slo_percent"] / 100)
    if options["seed"] is not None:
        plan = replace(plan, seed=options["seed"])
    return plan


def _config(options: Mapping[str, Any]) -> ScenarioConfig:
    """The options as a scenario's configuration. Raises click's errors."""
    _check_load(options)
    models = None
    if options["models"] is not None:
        models = tuple(each.strip() for each in options["models"].split(","))
        for each in models:
            try:
                parse_selector(each)
            except ValueError as error:
                raise click.UsageError(f"--models: {error}") from None
    trace = options["trace"]
    phase = PhaseConfig(
        name="trace" if trace else None if options["steps"] else options["arrivals"] or "poisson",
        seconds=options["duration"] or (None if trace else 10.0),
        rate=options["rate"],
        arrivals="trace" if trace else options["arrivals"],
        to_rate=options["to_rate"],
        steps=options["steps"],
        trace=None if trace is None else str(trace),
        speed=options["speed"] or 1.0,
        models=models,
        lane=options["lane"],
        deadline_ms=options["deadline_ms"],
    )
    photos = [PhotoConfig(folder=str(folder)) for folder in options["photos"]]
    photos += [PhotoConfig(draw=size) for size in options["draw"]]
    return ScenarioConfig(
        slo_ms=(options["slo"] or 0.5) * 1000,
        slo_percent=options["slo_percent"] or 99.0,
        seed=1 if options["seed"] is None else options["seed"],
        warmup_s=options["warmup"] or 0.0,
        photos=tuple(photos),
        phases=(phase,),
    )


def _check_load(options: Mapping[str, Any]) -> None:
    rate, trace, arrivals = options["rate"], options["trace"], options["arrivals"]
    if rate is None and trace is None:
        raise click.UsageError(
            "say how many calls a second: --rate 50; or name a SCENARIO, or a --trace of recorded times"
        )
    if trace is not None and (rate is not None or arrivals is not None or options["steps"] is not None):
        raise click.UsageError("a --trace says when calls are due; leave out --rate, --arrivals and --steps")
    if trace is None and options["speed"] is not None:
        raise click.UsageError("--speed goes with --trace")
    if (arrivals == "ramp") != (options["to_rate"] is not None):
        raise click.UsageError(
            "--arrivals ramp and --to-rate go together: --rate 10 --arrivals ramp --to-rate 100"
        )
    if arrivals == "ramp" and options["steps"] is not None:
        raise click.UsageError("a ramp has no --steps; give one of them")
