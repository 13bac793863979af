"""Scenario: the file that says what to simulate. Read so that all its mistakes are told at once, each with its line.

Paths in it are relative to the file. It simulates nothing; `cluster` builds what it says.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from crema.host.config_parts import Replicas
from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, read_model, refuse
from crema.host.yaml_source import Mistake, SourceError, YamlSource
from loadtest.simulator.curve_source import CurveMissing, CurveSource
from loadtest.simulator.one_machine_setting import OneMachineSetting
from loadtest.simulator.quantities import Ms, PositiveMs, Scatter, Seconds
from loadtest.simulator.traffic_setting import TrafficSetting

_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "simulate": "simulate: 1",
        "seconds": "seconds: 600",
        "slo_ms": "slo_ms: 500",
        "traffic": "traffic: {shape: poisson, rate_per_s: 100}",
        "traffic.rate_per_s": "rate_per_s: 100",
        "traffic.shape": "shape: poisson",
        "traffic.steps": "steps: [{at_s: 0, rate_per_s: 100}, {at_s: 300, rate_per_s: 400}]",
        "traffic.steps[].at_s": "at_s: 300",
        "traffic.steps[].rate_per_s": "rate_per_s: 400",
        "traffic.wave": "wave: {low_per_s: 200, period_s: 86400, peak_at_s: 43200}",
        "traffic.wave.low_per_s": "low_per_s: 200",
        "photos": "photos: [{share: 1, megapixels: 2, kilobytes: 400, decode_ms: 5.4}]",
        "photos[].megapixels": "megapixels: 2",
        "photos[].kilobytes": "kilobytes: 400",
        "photos[].decode_ms": "decode_ms: 5.4",
        "models": "models: {tags: {curve: [[1, 5.5], [32, 21]]}}",
        "models.*": "tags: {curve: [[1, 5.5], [32, 21]]}",
        "models.*.curve": "curve: [[1, 5.5], [32, 21]], a list of [items, milliseconds]",
        "models.*.curve[]": "[32, 21], which is [items, milliseconds]",
        "models.*.replicas": "replicas: 1, or replicas: {min: 1, max: 4}",
        "preprocessor": "preprocessor: {replicas: 1, cores: 4}",
        "preprocessor.replicas": "replicas: 1, or replicas: {min: 1, max: 4}",
        "preprocessor.cores": "cores: 4",
        "one_machine": "one_machine: {cores: 2, coordinator: {message_ms: 0.1, wake_ms: 0.1}}",
        "one_machine.cores": "cores: 2",
        "machines": "machines: {gpu: {price_per_hour: 0.8}}",
        "machines.*": "gpu: {price_per_hour: 0.8}",
        "machines.*.price_per_hour": "price_per_hour: 0.8",
        "autoscaler": "autoscaler: {period_s: 15, cooldown_s: 300}, or remove it to keep every replicas.min",
        "losses": "losses: [{at_s: 300, share: 0.33}]",
        "losses[].at_s": "at_s: 300",
        "losses[].share": "share: 0.33",
    }
)

PREPROCESSOR: Final = "preprocessor"


class ScenarioError(SourceError):
    """A scenario was refused. `str()` is the block to print."""


def _replicas(written: object) -> object:
    if isinstance(written, int) and not isinstance(written, bool):
        if written < 1:
            raise refuse("must be at least 1")
        return {"min": written, "max": written}
    if not isinstance(written, (dict, Replicas)):
        raise refuse("must be a whole number or {min: …, max: …}")
    return written


class PhotoSetting(Strict):
    """A kind of photo: its share, what its header says, and what one core takes to decode and resize it."""

    share: float = Field(default=1, gt=0, le=1_000_000)
    megapixels: float = Field(gt=0, le=50)
    kilobytes: float = Field(gt=0, le=20 * 1024)
    decode_ms: PositiveMs
    format: Literal["jpeg", "png", "webp", "gif"] = "jpeg"
    progressive: bool = False


class CallSetting(Strict):
    """What apps ask for."""

    deadline_ms: float = Field(default=5000, ge=50, le=25_000)
    on_error: Literal["partial", "fail"] = "partial"


class NetworkSetting(Strict):
    """Milliseconds each way; `client_ms` is what a call spends outside the tiers, there and back."""

    client_ms: Ms = 1.0
    preprocessor_ms: Ms = 0.5
    minion_ms: Ms = 0.25


class CoordinatorSetting(Strict):
    """The tier that callers see: fixed in number."""

    processes: int = Field(default=1, ge=1, le=64)
    places: int = Field(default=512, ge=1, le=100_000)
    cpu_ms: Ms = 0.4
    """CPU of one call on a process's one thread."""
    machine: str | None = None


class TierSetting(Strict):
    """What preprocessors and minions have in common."""

    replicas: Replicas = Field(default_factory=Replicas)
    boot_s: Seconds | None = None
    """From the decision to ready: machine, image, model. Absent: the scenario's."""
    scatter: Scatter = 0.05
    """Standard deviation of service times around their mean, as a share."""
    machine: str | None = None
    """The kind of machine that one replica has for itself; absent: nothing is paid."""

    @field_validator("replicas", mode="before")
    @classmethod
    def _as_in_a_cluster_file(cls, written: object) -> object:
        return _replicas(written)


class PreprocessorSetting(TierSetting):
    """The tier that decodes photos."""

    cores: int = Field(default=4, ge=1, le=256)
    places: int | None = Field(default=None, ge=1, le=100_000)


class ModelSetting(TierSetting):
    """One model: `curve` in milliseconds, or measured: a `package` whose curve `crema bench` stored, or a `file` of it."""

    curve: (
        Annotated[
            tuple[
                Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], PositiveMs], AsTuple],
                ...,
            ],
            AsTuple,
            Field(min_length=1),
        ]
        | None
    ) = None
    curve_file: str | None = Field(default=None, min_length=1)
    package: str | None = Field(default=None, min_length=1)
    device: str = "cpu"
    max_size: int | None = Field(default=None, ge=1, le=1024)
    max_wait_ms: float | None = Field(default=None, ge=0, le=1000)
    in_flight: int | None = Field(default=None, ge=1, le=2)
    max_pending: int | None = Field(default=None, ge=1, le=100_000)
    slo_ms: float | None = Field(default=None, gt=0, le=60_000)
    host_ms: Ms = 0.0

    @model_validator(mode="after")
    def _one_curve(self) -> ModelSetting:
        if self.curve is not None and self.curve_file is not None:
            raise refuse("must have one of curve and curve_file", show=False)
        if self.curve is None and self.curve_file is None and self.package is None:
            raise refuse("must have a curve, a curve_file or a package", show=False)
        return self

    @field_validator("curve")
    @classmethod
    def _sizes_ascend(
        cls, curve: tuple[tuple[int, float], ...] | None
    ) -> tuple[tuple[int, float], ...] | None:
        sizes = [n for n, _ in curve or ()]
        if sizes != sorted(set(sizes)):
            raise refuse("sizes must ascend", show=False)
        return curve


class MachineSetting(Strict):
    """A kind of machine."""

    price_per_hour: float = Field(ge=0, le=10_000)


class AutoscalerSetting(Strict):
    """How often it decides, and for how long a need is remembered. Its rule is the live one."""

    period_s: float = Field(default=15, gt=0, le=3600)
    cooldown_s: float = Field(default=300, ge=0, le=86_400)


class LossSetting(Strict):
    """At `at_s` a share of the ready machines of each fleet named (none: of every fleet) dies and is replaced."""

    at_s: Seconds
    share: float = Field(gt=0, le=1)
    of: Annotated[tuple[str, ...], AsTuple] = ()
    noticed_s: Seconds = 10
    """After how long it is taken out of the routing and replaced."""
    how: Literal["silent", "broken"] = "silent"
    """silent: a machine without power; broken: its connections end at once."""


class Scenario(Strict):
    """One run."""

    simulate: Literal[1]
    summary: str = ""
    seconds: float = Field(gt=0, le=31 * 86400)
    warm_up_s: Seconds = 0
    """Calls that are due before are not counted in the figures."""
    seed: int = Field(default=1, ge=0)
    time_lapse: float = Field(default=1, ge=1, le=100)
    """So many seconds of the day pass in each second in which calls are served: one of so many is simulated."""
    slo_ms: PositiveMs = 500
    boot_s: Seconds = 60
    traffic: TrafficSetting
    call: CallSetting = Field(default_factory=CallSetting)
    photos: Annotated[tuple[PhotoSetting, ...], AsTuple, Field(min_length=1)]
    network: NetworkSetting = Field(default_factory=NetworkSetting)
    coordinator: CoordinatorSetting = Field(default_factory=CoordinatorSetting)
    preprocessor: PreprocessorSetting = Field(default_factory=PreprocessorSetting)
    models: dict[str, ModelSetting] = Field(min_length=1)
    one_machine: OneMachineSetting | None = None
    machines: dict[str, MachineSetting] = Field(default_factory=dict)
    autoscaler: AutoscalerSetting | None = None
    losses: Annotated[tuple[LossSetting, ...], AsTuple] = ()

    @field_validator("warm_up_s")
    @classmethod
    def _something_is_counted(cls, warm_up_s: float, info: ValidationInfo) -> float:
        if warm_up_s >= info.data.get("seconds", float("inf")):
            raise refuse("must be less than seconds, or nothing is counted", hint="warm_up_s: 0")
        return warm_up_s

    @model_validator(mode="after")
    def _some_things_have_one_speed(self) -> Scenario:
        if self.time_lapse > 1 and (self.losses or self.traffic.file is not None):
            what = (
                "must be 1 where machines are lost or calls come from a file: a deadline has one speed only"
            )
            raise refuse(what, at="time_lapse", hint="time_lapse: 1")
        return self

    @model_validator(mode="after")
    def _one_machine_is_there_as_a_whole(self) -> Scenario:
        if self.one_machine is not None and self.losses:
            what = "must not be given where all run on one_machine: it is there as a whole, or not"
            raise refuse(what, at="losses", show=False, hint="remove losses, or one_machine")
        return self


class Read:
    """A scenario, the folder that its paths are relative to, and its models' curves."""

    def __init__(self, scenario: Scenario, folder: Path, curves: Mapping[str, CurveSource]) -> None:
        self.scenario = scenario
        self.folder = folder
        self.curves = curves


def read_scenario(
    path: Path, settings: Mapping[str, str] | None = None, curves_folder: Path | None = None
) -> Read:
    """The scenario in a file, `settings` (dotted key → YAML value) in place of what it says.

    `curves_folder` is where `crema bench` stored its curves. Raises ScenarioError with every mistake.
    """
    source = YamlSource.read(path)
    also: list[Mistake] = []
    if settings and not source.is_broken:
        data, also = _overridden(source.data, settings)
        source = dataclasses.replace(source, data=data)
    also += _cross_mistakes(source)
    scenario = read_model(source, Scenario, _HINTS, context=None, raise_as=ScenarioError, also=also)
    curves: dict[str, CurveSource] = {}
    mistakes: list[Mistake] = []
    for name, model in scenario.models.items():
        try:
            curves[name] = CurveSource.of(model, path.parent, curves_folder)
        except CurveMissing as error:
            mistakes.append(source.mistake(("models", name, error.key), str(error), hint=error.hint))
    if scenario.traffic.file is not None and not (path.parent / scenario.traffic.file).is_file():
        what = f"there is no file {scenario.traffic.file}"
        mistakes.append(source.mistake(("traffic", "file"), what, hint="a path relative to this file"))
    if mistakes:
        raise ScenarioError(mistakes)
    return Read(scenario, path.parent, curves)


def _overridden(data: Any, settings: Mapping[str, str]) -> tuple[Any, list[Mistake]]:
    """The data with every setting put in its place, and the settings that have none."""
    data = copy.deepcopy(data) if isinstance(data, dict) else {}
    mistakes = []
    for key, text in settings.items():
        parts = key.split(".")
        at: Any = data
        for part in parts[:-1]:
            at = _child(at, part)
        if not _put(at, parts[-1], text):
            what = "there is nothing to set there"
            hint = "--set boot_s=600 --set models.tags.replicas.min=4 --set losses.0.share=0.5"
            mistakes.append(Mistake(f"--set {key}", 0, 0, "", what, try_=hint))
    return data, mistakes


def _child(at: Any, part: str) -> Any:
    if isinstance(at, dict):
        return at.setdefault(part, {})
    return at[int(part)] if isinstance(at, list) and part.isdigit() and int(part) < len(at) else None


def _put(at: Any, part: str, text: str) -> bool:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    if isinstance(at, dict):
        at[part] = value
    elif isinstance(at, list) and part.isdigit() and int(part) < len(at):
        at[int(part)] = value
    else:
        return False
    return True


def _cross_mistakes(source: YamlSource) -> Iterable[Mistake]:
    """Names that one part of the file uses and another has to define."""
    data = source.data
    if not isinstance(data, dict):
        return
    models = data.get("models")
    models = models if isinstance(models, dict) else {}
    names = list(models)
    kinds = data.get("machines")
    kinds = list(kinds) if isinstance(kinds, dict) else []
    places: list[tuple[tuple[str, ...], Any]] = [
        (("coordinator",), data.get("coordinator")),
        ((PREPROCESSOR,), data.get(PREPROCESSOR)),
        *((("models", name), part) for name, part in models.items()),
    ]
    for place, part in places:
        kind = part.get("machine") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind not in kinds:
            hint = (
                f"machines: {{{kind}: {{price_per_hour: 1}}}}" if not kinds else f"one of {', '.join(kinds)}"
            )
            yield source.mistake(
                (*place, "machine"), "there is no such kind among machines", got=kind, hint=hint
            )
    if PREPROCESSOR in names:
        yield source.mistake(("models", PREPROCESSOR), "is the name of a tier", hint="another name")
    losses = data.get("losses")
    for index, loss in enumerate(losses if isinstance(losses, list) else ()):
        of = loss.get("of") if isinstance(loss, dict) else None
        for number, name in enumerate(of if isinstance(of, list) else ()):
            if isinstance(name, str) and name not in names and name != PREPROCESSOR:
                hint = f"one of {', '.join([PREPROCESSOR, *names])}"
                yield source.mistake(
                    ("losses", index, "of", number), "there is no such fleet", got=name, hint=hint
                )
