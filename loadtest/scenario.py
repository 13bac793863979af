"""Scenario: a load run as a YAML file says it, or as options do. Every mistake in the file is told at once. It sends nothing.

What a phase does with its keys is the business of `phase`, what photos are of `photo_stock`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from crema.cli.photos import SUFFIXES, find_photos
from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, read_model, refuse
from crema.host.yaml_source import Location, Mistake, SourceError, YamlSource, shown_value
from crema.names import Lane, parse_selector
from loadtest.phase import ARRIVALS, Phase, in_turn
from loadtest.trace import TraceError, read_trace

DEFAULT_DRAWN: Final = (640, 480)
DEFAULT_SLO_MS: Final = 500.0
DEFAULT_SLO_PERCENT: Final = 99.0
MAX_RATE: Final = 1_000_000.0
MAX_SECONDS: Final = 7 * 86_400.0
_MAX_SIDE: Final = 10_000

_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "slo_ms": "slo_ms: 500",
        "slo_percent": "slo_percent: 99",
        "seed": "seed: 1",
        "warmup_s": "warmup_s: 2",
        "pause_s": "pause_s: 1",
        "models": "models: [tags, aesthetics@2], or remove the line for the cluster's default models",
        "models[]": "tags, tags@3, tags@3.1 or tags@candidate",
        "lane": "lane: bulk",
        "deadline_ms": "deadline_ms: 2000",
        "photos": "photos: [{draw: [640, 480]}]",
        "photos[]": "{draw: [640, 480], weight: 3}, or {folder: samples}",
        "photos[].draw": "draw: [640, 480]",
        "photos[].draw[]": "draw: [640, 480]",
        "photos[].folder": "folder: samples",
        "photos[].weight": "weight: 1",
        "phases": "phases: [{seconds: 30, rate: 50}]",
        "phases[]": "{seconds: 30, rate: 50}",
        "phases[].seconds": "seconds: 30",
        "phases[].rate": "rate: 50",
        "phases[].arrivals": f"one of {', '.join(ARRIVALS)}",
        "phases[].to_rate": "to_rate: 200",
        "phases[].factor": "factor: 3.4",
        "phases[].share": "share: 0.2",
        "phases[].burst_s": "burst_s: 0.5",
        "phases[].trace": "trace: calls.csv",
        "phases[].speed": "speed: 2",
        "phases[].steps": "steps: [0.5, 1, 2]",
        "phases[].steps[]": "steps: [0.5, 1, 2]",
        "phases[].models": "models: [tags]",
        "phases[].models[]": "tags, tags@3, tags@3.1 or tags@candidate",
        "phases[].lane": "lane: bulk",
        "phases[].deadline_ms": "deadline_ms: 2000",
    }
)


class ScenarioError(SourceError):
    """A scenario file was refused. `str()` is the block to print."""


def _selector(written: str) -> str:
    try:
        parse_selector(written)
    except ValueError:
        raise refuse("is not a selector") from None
    return written


Selectors = Annotated[
    tuple[Annotated[str, AfterValidator(_selector)], ...], AsTuple, Field(min_length=1, max_length=64)
]
Side = Annotated[int, Field(ge=8, le=_MAX_SIDE)]
Rate = Annotated[float, Field(ge=0, le=MAX_RATE)]
DeadlineMs = Annotated[float, Field(gt=0)]


class PhotoConfig(Strict):
    """One kind of photo: drawn at a size, or those of a folder."""

    draw: Annotated[tuple[Side, Side] | None, AsTuple] = None
    """[width, height] in pixels."""
    folder: str | None = Field(default=None, min_length=1)
    """Relative to the scenario's file. A photo's path stands for that one."""
    weight: float = Field(default=1.0, gt=0, le=1e6)
    """How often it is sent, beside the other kinds' weights."""


class PhaseConfig(Strict):
    """A stretch of the run."""

    name: str | None = Field(default=None, min_length=1, max_length=60)
    seconds: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    rate: Rate | None = None
    """Calls a second, on average."""
    arrivals: Literal["poisson", "constant", "bursts", "ramp", "trace"] | None = None
    to_rate: Rate | None = None
    factor: float = Field(default=3.4, gt=1, le=1000)
    share: float = Field(default=0.2, gt=0, lt=1)
    burst_s: float = Field(default=0.5, gt=0, le=3600)
    trace: str | None = Field(default=None, min_length=1)
    speed: float = Field(default=1.0, gt=0, le=1e6)
    steps: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1000)], ...] | None, AsTuple, Field(min_length=1, max_length=50)
    ] = None
    """Factors of `rate`: a step each."""
    models: Selectors | None = None
    lane: Lane | None = None
    deadline_ms: DeadlineMs | None = None


class ScenarioConfig(Strict):
    """A whole run, as the file says it."""

    slo_ms: float = Field(default=DEFAULT_SLO_MS, gt=0, le=3.6e6)
    slo_percent: float = Field(default=DEFAULT_SLO_PERCENT, gt=0, le=100)
    """A load holds the SLO when so many of a hundred calls are answered whole within `slo_ms`."""
    seed: int = Field(default=1, ge=0, le=2**31)
    warmup_s: float = Field(default=0.0, ge=0, le=3600)
    """Seconds at the first phase's rate that are sent before it and not counted."""
    pause_s: float = Field(default=1.0, ge=0, le=3600)
    """Between two steps."""
    models: Selectors | None = None
    lane: Lane | None = None
    deadline_ms: DeadlineMs | None = None
    photos: Annotated[tuple[PhotoConfig, ...], AsTuple, Field(max_length=100)] = ()
    phases: Annotated[tuple[PhaseConfig, ...], AsTuple, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, slots=True)
class PhotoKind:
    """Photos of one kind: `draw` is (width, height), else `files` are named. `weight` is its share beside the others'."""

    weight: float
    draw: tuple[int, int] | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run, ready to be sent."""

    phases: tuple[Phase, ...]
    photos: tuple[PhotoKind, ...]
    slo_s: float
    slo_share: float
    seed: int

    @property
    def seconds(self) -> float:
        """From the first phase's beginning to the last one's end."""
        return self.phases[-1].ends_s

    @property
    def counted_from_s(self) -> float:
        """When the warm-up is over."""
        return next((phase.begins_s for phase in self.phases if phase.is_counted), 0.0)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises ScenarioError with all mistakes."""
    source = YamlSource.read(path, shown_as=str(path))
    config = read_model(
        source,
        ScenarioConfig,
        _HINTS,
        context=None,
        raise_as=ScenarioError,
        also=_odd_phases(source, path.parent) if not source.is_broken else (),
    )
    return resolve(config, path.parent)


def resolve(config: ScenarioConfig, folder: Path) -> Scenario:
    """The run that a sound `config` means; its paths are relative to `folder`. Raises TraceError and OSError."""
    phases: list[Phase] = []
    for number, phase in enumerate(config.phases, 1):
        phases += _resolved(phase, config, folder, number)
    if config.warmup_s:
        first = phases[0]
        # a ramp may begin at nothing
        rate = first.rate or first.to_rate or 1.0
        phases.insert(0, Phase("warm-up", config.warmup_s, rate, query=first.query, is_counted=False))
    photos = tuple(_kind(photo, folder) for photo in config.photos) or (PhotoKind(1.0, draw=DEFAULT_DRAWN),)
    return Scenario(
        phases=tuple(in_turn(phases, config.pause_s)),
        photos=photos,
        slo_s=config.slo_ms / 1000,
        slo_share=config.slo_percent / 100,
        seed=config.seed,
    )


def _resolved(phase: PhaseConfig, config: ScenarioConfig, folder: Path, number: int) -> Iterator[Phase]:
    models, lane = phase.models or config.models, phase.lane or config.lane
    deadline_ms = phase.deadline_ms or config.deadline_ms
    options = {
        "models": ",".join(models) if models else None,
        "lane": lane,
        "deadline_ms": f"{deadline_ms:g}" if deadline_ms else None,
    }
    query = tuple((name, value) for name, value in options.items() if value is not None)
    arrivals = "trace" if phase.trace is not None else phase.arrivals or "poisson"
    seconds, rate, trace = phase.seconds, phase.rate, None
    if phase.trace is not None:
        trace = str((folder / phase.trace).absolute())
        moments = read_trace(Path(trace))
        # a trace ends with its last call; the one at that very moment is still part of it
        seconds = seconds or (moments[-1] - moments[0]) / phase.speed + 0.001
        rate = len(moments) * phase.speed / max(0.001, moments[-1] - moments[0])
    assert seconds is not None and rate is not None, "a bug of ours: the file was checked"
    for factor in phase.steps or (None,):
        name = phase.name or (f"phase {number}" if factor is None else "")
        yield Phase(
            name=name if factor is None else f"{name} {factor:g}x".strip(),
            seconds=seconds,
            rate=rate * (factor or 1.0),
            arrivals=arrivals,
            to_rate=phase.to_rate,
            factor=phase.factor,
            share=phase.share,
            burst_s=phase.burst_s,
            trace=trace,
            speed=phase.speed,
            query=query,
            is_step=factor is not None,
        )


def _kind(photo: PhotoConfig, folder: Path) -> PhotoKind:
    if photo.folder is not None:
        return PhotoKind(photo.weight, files=tuple(find_photos([folder / photo.folder])))
    return PhotoKind(photo.weight, draw=photo.draw or DEFAULT_DRAWN)


# -- what keys mean beside each other ----------------------------------------------------------------------------------


def _odd_phases(source: YamlSource, folder: Path) -> Iterator[Mistake]:
    """Keys that are missing, or stand beside others that they do not go with: in every phase and kind of photo."""
    data = source.data if isinstance(source.data, dict) else {}
    for at, phase in _maps(data, "phases"):
        yield from _odd_phase(source, at, phase, folder)
    for at, photo in _maps(data, "photos"):
        yield from _odd_photo(source, at, photo, folder)


def _maps(data: Mapping[str, Any], key: str) -> Iterator[tuple[Location, dict[str, Any]]]:
    listed = data.get(key)
    for index, each in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(each, dict):
            yield (key, index), each


def _odd_phase(source: YamlSource, at: Location, phase: dict[str, Any], folder: Path) -> Iterator[Mistake]:
    def odd(key: str, what: str, hint: str) -> Mistake:
        return source.mistake((*at, key), what, got=source.written((*at, key)), hint=hint)

    arrivals = phase.get("arrivals", "trace" if "trace" in phase else "poisson")
    if arrivals not in ARRIVALS:
        return
    needs = {"trace": ("trace",), "ramp": ("seconds", "rate", "to_rate")}.get(arrivals, ("seconds", "rate"))
    for key in needs:
        if phase.get(key) is None:
            yield source.mistake(
                (*at, key), f"is required with arrivals: {arrivals}", hint=_HINTS[f"phases[].{key}"]
            )
    only_with = {
        "to_rate": "ramp",
        "trace": "trace",
        "speed": "trace",
        **dict.fromkeys(("factor", "share", "burst_s"), "bursts"),
    }
    for key, kind in only_with.items():
        if key in phase and arrivals != kind:
            yield odd(key, f"goes with arrivals: {kind} only", f"arrivals: {kind}, or remove the line")
    for key in ("rate", "steps") if arrivals == "trace" else ("steps",) if arrivals == "ramp" else ():
        if key in phase:
            yield odd(key, f"does not go with arrivals: {arrivals}", "remove the line")
    factor, share = phase.get("factor", 3.4), phase.get("share", 0.2)
    if arrivals == "bursts" and _numbers(factor, share) and 0 < share < 1 and factor * share > 1:
        yield source.mistake(
            (*at, "factor" if "factor" in phase else "share"),
            f"factor times share must be at most 1, or the bursts alone exceed the rate (it is {factor * share:g})",
            hint="factor: 3.4, share: 0.2",
        )
    if _numbers(phase.get("rate")) and phase["rate"] == 0 and not phase.get("to_rate"):
        yield odd("rate", "must be more than 0, or nothing is sent", "rate: 50")
    written = phase.get("trace")
    if isinstance(written, str) and written:
        try:
            read_trace(folder / written)
        except TraceError as error:
            what, _, hint = str(error).rpartition("\n")
            yield source.mistake((*at, "trace"), what, hint=hint.strip().removeprefix("try: "))


def _odd_photo(source: YamlSource, at: Location, photo: dict[str, Any], folder: Path) -> Iterator[Mistake]:
    if ("draw" in photo) == ("folder" in photo):
        yield source.mistake(
            at, "must have one of draw and folder", hint="{draw: [640, 480]}, or {folder: samples}"
        )
    written = photo.get("folder")
    if not isinstance(written, str) or not written:
        return
    path = folder / written
    try:
        found = bool(find_photos([path])) if path.exists() else None
    except OSError as error:
        found, what = False, f"{error.filename} cannot be read: {error.strerror}"
    else:
        what = (
            "there is no such folder" if found is None else f"holds no photos ({', '.join(SUFFIXES)} by name)"
        )
    if not found:
        yield source.mistake(
            (*at, "folder"), what, got=shown_value(written), hint="a path relative to this file"
        )


def _numbers(*values: object) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def counted(phases: Iterable[Phase]) -> list[Phase]:
    """Those that are in the report."""
    return [phase for phase in phases if phase.is_counted]
