"""Trial: a package asked for answers outside of a check: what `crema try` and `crema diff` run.

The manifest and the code are judged as in a check, before anything runs; a lock or weights that are not in order are
noted and do not stop it, because work on the package is under way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from check.failure import StepFailed
from check.items import Item, read_tensor, tensor_bytes
from check.photos import Photos
from check.probe import BatchRaised, Outcome, WorkerLost
from check.session import Params
from check.steps.environment import check_environment
from check.steps.load import refused_actions
from check.steps.lock import check_lock
from check.steps.manifest import check_manifest
from check.steps.weights import check_weights
from check.subject import Place, Progress, Subject, on_the_cpu
from crema.host.manifest import Manifest
from crema.host.manifest_parts import ImageInput


@dataclass(frozen=True, slots=True)
class Answer:
    """What a package said to one photo: an output or an error, and the seconds that it took."""

    outcome: Outcome
    seconds: float


class Trial:
    """One package, to be opened, asked and closed. `work` is a folder for temporary files."""

    def __init__(
        self, folder: Path, photos: Photos, work: Path, *, progress: Progress, place: Place = on_the_cpu
    ) -> None:
        work.mkdir()
        # without `..`: name and version are those of the folders
        self.subject = Subject(Path(os.path.abspath(folder)), None, work, photos, progress, place)  # noqa: PTH100
        self.notes: list[str] = []

    @property
    def manifest(self) -> Manifest:
        """The package's manifest, once it is judged."""
        return self.subject.manifest

    @property
    def label(self) -> str:
        """`tags@3.1`."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def judge(self) -> None:
        """Reads the manifest and the code, and gets the environment. Raises StepFailed."""
        check_manifest(self.subject)
        for step in (check_lock, check_weights):
            try:
                step(self.subject)
            except StepFailed as failed:
                self.notes.append(str(failed))
        check_environment(self.subject)

    def load(self) -> float:
        """Loads the model; returns the seconds that it took. Raises StepFailed."""
        self.subject.progress(f"loading {self.label}")
        session = self.subject.session
        try:
            _ = session.probe
        except WorkerLost as lost:
            raise StepFailed(str(lost), detail=lost.detail) from None
        if tried := refused_actions(session):
            self.notes.append(tried)
        return session.load_seconds

    def item(self, photo: Path) -> Item:
        """A photo (of a tensor model: a .npy file) as the model's input. Raises ExampleUnusable or OSError."""
        spec = self.manifest.input
        if isinstance(spec, ImageInput):
            array = self.subject.decode(photo.read_bytes(), spec)
        else:
            array = read_tensor(photo, str(photo))
        return Item(str(photo), tensor_bytes(array, spec, str(photo)), 0.0)

    def answer(self, item: Item, params: Params) -> Answer:
        """What the model says to one item. Raises StepFailed when its worker died or hung."""
        try:
            outcomes, seconds = self.subject.session.timed([item], [params])
        except BatchRaised as raised:
            error = {"code": raised.code, "message": str(raised), "traceback": raised.detail}
            return Answer({"error": error}, 0.0)
        return Answer(outcomes[0], seconds)

    def close(self) -> None:
        """Ends its worker."""
        self.subject.close()
