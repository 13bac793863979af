"""Subject: the package that is checked, and what the steps so far have found out about it for those that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from check.items import ExampleUnusable, Item, example_items, probe_items, shape_of
from check.photos import PhotoRefused, Photos
from check.probe import Plan
from check.session import Session
from crema.host.light_ring import make_light_ring
from crema.host.manifest import Manifest
from crema.host.manifest_parts import ImageInput

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Device:
    """Where a package runs: `cpu`, or `cuda:0` with the GPU that `visible` (CUDA_VISIBLE_DEVICES) names."""

    name: str = "cpu"
    visible: str = ""


Place = Callable[[Manifest, str | None], Device]
"""Chooses the device of a package whose environment is of a lock profile. Raises StepFailed where there is none for it."""


def on_the_cpu(manifest: Manifest, profile: str | None) -> Device:
    """The place where no other is known."""
    return Device()


@dataclass
class Subject:
    """One package under check. `work` is a folder for temporary files; `photos` decodes for all subjects of a check.

    What a step finds out stands in the fields after `place`; reading one too early is a mistake in the order of steps.
    """

    folder: Path
    packages: Path | None
    work: Path
    photos: Photos
    progress: Progress
    place: Place = on_the_cpu
    opened: list[Session] = field(default_factory=list)
    profile: str | None = None
    _manifest: Manifest | None = None
    _python: Path | None = None

    @property
    def manifest(self) -> Manifest:
        """The resolved manifest."""
        assert self._manifest is not None
        return self._manifest

    @manifest.setter
    def manifest(self, manifest: Manifest) -> None:
        self._manifest = manifest

    @property
    def python(self) -> Path:
        """The interpreter of the package's environment."""
        assert self._python is not None
        return self._python

    @python.setter
    def python(self, python: Path) -> None:
        self._python = python

    @cached_property
    def examples(self) -> list[Item]:
        """The golden examples as the model sees them. Raises ExampleUnusable."""
        return example_items(self.manifest, self.decode)

    @cached_property
    def probes(self) -> list[Item]:
        """All 0, all 255 and noise."""
        return probe_items(self.manifest)

    @property
    def pool(self) -> list[Item]:
        """Examples and probes."""
        return [*self.examples, *self.probes]

    @cached_property
    def session(self) -> Session:
        """The package, to be loaded by the step `load`."""
        return self.new_session()

    def new_session(self) -> Session:
        """Another one, with a process of its own."""
        device = self.place(self.manifest, self.profile)
        plan = Plan(
            python=self.python,
            package_dir=self.manifest.package_dir,
            card=self.manifest.card(),
            light_ring=make_light_ring(self.work / "light"),
            work=self.work,
            device=device.name,
            visible=device.visible,
        )
        session = Session(plan, self.manifest, self._warmup)
        self.opened.append(session)
        return session

    def decode(self, photo: bytes, spec: ImageInput) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """A photo as the model's input. Raises ExampleUnusable."""
        try:
            return self.photos.decode(photo, spec)
        except PhotoRefused as error:
            raise ExampleUnusable(str(error)) from None

    def close(self) -> None:
        """Ends all of its workers."""
        for session in self.opened:
            session.close()

    @cached_property
    def _warmup(self) -> Path | None:
        """The examples in a file, as minions get them; None where they cannot be used, which the step `golden` says."""
        try:
            items = self.examples
        except ExampleUnusable:
            return None
        shape, dtype = shape_of(self.manifest.input)
        path = self.work / f"warmup-{self.manifest.name}-{self.manifest.version}.npz"
        np.savez(path, items=np.stack([np.frombuffer(item.pixels, dtype).reshape(shape) for item in items]))
        return path
