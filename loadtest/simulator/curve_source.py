"""CurveSource: where a simulated model's cost curve and its manifest's settings come from: the scenario, a file that
`crema bench` stored, or a package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crema.host.manifest import ManifestError, load_manifest
from crema.host.measured_curve import CurveFileInvalid, MeasuredCurve, curve_path
from loadtest.simulator.minion import Model, interpolated

if TYPE_CHECKING:
    from loadtest.simulator.scenario import ModelSetting

_DEFAULT_SLO_MS = 500.0
_DEFAULT_PLACES_PER_SIZE = 4


class CurveMissing(Exception):
    """There is no curve; `key` is the part of the model that says so, `hint` what to do."""

    def __init__(self, key: str, what: str, hint: str) -> None:
        super().__init__(what)
        self.key = key
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CurveSource:
    """Measured (n, seconds) points and what a manifest says."""

    points: tuple[tuple[int, float], ...]
    max_size: int
    max_wait_ms: float
    in_flight: int
    places: int
    slo_ms: float

    @classmethod
    def of(cls, model: ModelSetting, folder: Path, curves_folder: Path | None) -> CurveSource:
        """Of a model of a scenario in `folder`. Raises CurveMissing."""
        manifest = None
        if model.package is not None:
            try:
                manifest = load_manifest((folder / model.package).resolve())
            except (ManifestError, OSError) as error:
                what = f"there is no usable package: {str(error).splitlines()[0]}"
                raise CurveMissing("package", what, "a package's folder, relative to this file") from None
        if model.curve is not None:
            points = tuple((n, ms / 1000) for n, ms in model.curve)
        elif model.curve_file is not None:
            points = _stored(folder / model.curve_file, "curve_file")
        else:
            assert manifest is not None
            label = f"{manifest.name}@{manifest.version}"
            if curves_folder is None:
                hint = "--cluster FILE, beside which `crema bench` stores curves, or a curve here"
                raise CurveMissing("package", f"the stored curve of {label} is not known", hint)
            path = curve_path(curves_folder, manifest.digest, model.device)
            if not path.is_file():
                hint = f"crema bench {label}"
                raise CurveMissing("package", f"{label} was not measured on {model.device}", hint)
            points = _stored(path, "package")
        batching = manifest.batching if manifest is not None else None
        max_size = model.max_size or (batching.max_size if batching else points[-1][0])
        max_wait_ms = model.max_wait_ms
        if max_wait_ms is None:
            max_wait_ms = batching.max_wait_ms if batching else 0.0
        return cls(
            points=points,
            max_size=max_size,
            max_wait_ms=max_wait_ms,
            in_flight=model.in_flight or (batching.in_flight if batching else 1),
            places=model.max_pending
            or (manifest.gate.max_pending if manifest else _DEFAULT_PLACES_PER_SIZE * max_size),
            slo_ms=model.slo_ms or (manifest.slo.p99_ms if manifest else _DEFAULT_SLO_MS),
        )

    def model(self, name: str, scatter: float, host_ms: float) -> Model:
        """The model."""
        return Model(
            name=name,
            seconds=interpolated(self.points, self.max_size),
            points=self.points,
            scatter=scatter,
            max_wait_s=self.max_wait_ms / 1000,
            in_flight=self.in_flight,
            places=self.places,
            slo_s=self.slo_ms / 1000,
            host_s=host_ms / 1000,
        )


def _stored(path: Path, key: str) -> tuple[tuple[int, float], ...]:
    """A file that `crema bench` stored, or what its `--json` printed."""
    hint = "crema bench NAME@VERSION, whose file this is or whose --json it holds"
    try:
        document = json.loads(path.read_text())
        if isinstance(document, dict) and isinstance(rows := document.get("sizes"), list):
            points = tuple((int(row["n"]), float(row["ms"]) / 1000) for row in rows)
            if points and [n for n, _ in points] == sorted({n for n, _ in points}):
                return points
    except OSError as error:
        raise CurveMissing(key, f"there is no curve: {error}", hint) from None
    except (ValueError, KeyError, TypeError):
        pass
    try:
        return MeasuredCurve.read(path).points
    except CurveFileInvalid as error:
        raise CurveMissing(key, str(error), hint) from None
