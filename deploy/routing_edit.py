"""Release verbs on a routing file that no supervisor writes: in Kubernetes, the file of the routing's ConfigMap.

The file is replaced whole and atomically, with every revision kept in `FILE.history/`; what a step back needs is kept in
the file itself. Versions are started and ended by whoever runs the cluster: nothing here does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from crema.host.manifest import Manifest
from crema.names import parse_version
from deploy.pointers import Line, Pointers, ReleaseRefused
from deploy.release_book import MEMBER
from deploy.routing_file import RoutingFile, read_body

CHANNEL_PORT: Final = 7000
# Rows of versions that are not listed now, for a step back.
KEPT: Final = "kept_versions"


class RoutingEdit:
    """One routing file. Each verb writes it once, or raises ReleaseRefused and leaves it as it is."""

    def __init__(self, path: Path) -> None:
        body = read_body(path)
        if body is None:
            raise ReleaseRefused(
                f"{path} is not a routing file\n  try: the file that `crema render kubernetes` wrote"
            )
        self._file = RoutingFile(path, path.with_name(f"{path.name}.history"))
        self._body = {name: value for name, value in body.items() if name not in ("format", "revision")}

    def release(self, manifest: Manifest, percent: float | None, replicas: int = 1) -> dict[str, Any]:
        """List a version under its service's name, beside the others or with a canary's share."""
        name, version = manifest.name, manifest.version
        row = {
            "replicas": [f"dns://{name}-{version.replace('.', '-')}:{CHANNEL_PORT}"],
            "wanted": replicas,
            "state": "ready",
            "problem": None,
            "canary_percent": None,
            "card": manifest.card(),
        }
        if name not in self._body["models"]:
            return self._put(name, Line(Pointers(version, {version: None})), {version: row})

        def step(line: Line) -> Line:
            beside = line.now.beside(version)
            return line.moved(beside if percent is None else beside.canary(version, percent))

        return self._move(name, step, {version: row})

    def promote(self, name: str, version: str) -> dict[str, Any]:
        """Make the name mean a version that is listed."""
        return self._move(name, lambda line: line.moved(line.now.promote(version)))

    def retire(self, name: str, version: str) -> dict[str, Any]:
        """List a version no more."""
        return self._move(name, lambda line: line.moved(line.now.retire(version)))

    def rollback(self, name: str) -> dict[str, Any]:
        """Bring back the state before the last verb."""
        return self._move(name, Line.back)

    def _move(
        self, name: str, step: Callable[[Line], Line], rows: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        model = self._body["models"].get(name)
        if model is None:
            known = ", ".join(self._body["models"]) or "none"
            raise ReleaseRefused(
                f"the file has no model {name}; it has: {known}\n  try: crema release PATH --routing FILE"
            )
        kept = self._body.get(KEPT, {}).get(name, {})
        return self._put(name, step(self._line(name, model)), {**kept, **model["versions"], **(rows or {})})

    def _line(self, name: str, model: Mapping[str, Any]) -> Line:
        """What is kept of a model's states; a file that was changed by hand since then begins anew."""
        shares = {version: row.get("canary_percent") for version, row in model["versions"].items()}
        now = Pointers(model["default"], shares, dict(model.get("labels") or {}))
        try:
            line = Line.of(self._body[MEMBER][name])
        except (KeyError, TypeError, ValueError):
            return Line(now)
        return line if line.now == now else Line(now)

    def _put(self, name: str, line: Line, rows: Mapping[str, Any]) -> dict[str, Any]:
        now = line.now
        listed = sorted(now.shares, key=parse_version)
        missing = [version for version in listed if version not in rows]
        if missing:
            raise ReleaseRefused(
                f"the file does not know {name}@{missing[0]} any more\n  try: crema release PATH --routing FILE"
            )
        body = dict(self._body)
        versions = {version: {**rows[version], "canary_percent": now.shares[version]} for version in listed}
        model = {"default": now.default, "labels": dict(now.labels), "versions": versions}
        body["models"] = {**body["models"], name: model}
        body[MEMBER] = {**body.get(MEMBER, {}), name: line.document()}
        needed = {version for state in line.past for version in state.shares} - now.shares.keys()
        kept = {version: rows[version] for version in sorted(needed, key=parse_version) if version in rows}
        body[KEPT] = {**body.get(KEPT, {}), name: kept}
        try:
            self._file.publish(body)
        except OSError as error:
            raise ReleaseRefused(f"{self._file.path} cannot be written: {error.strerror}") from None
        self._body = body
        return now.told(name, self._file.revision, {})
