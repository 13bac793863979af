"""Every image of the tables of odd and hostile ones, and a cluster whose one model tells the colours of what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package
from tests.preprocessor.crafted_cases import CRAFTED, CRAFTED_HEAVY
from tests.preprocessor.foreign_cases import FOREIGN
from tests.preprocessor.image_cases import GIF, JPEG, OTHER, WEBP
from tests.preprocessor.png_cases import HEAVY, PNG

CASES = [*JPEG, *WEBP, *GIF, *PNG, *OTHER, *FOREIGN, *CRAFTED, *HEAVY, *CRAFTED_HEAVY]
CALL = "/v1/analyze?models=corners"

CORNERS = """
class Toy:
    def load(self, ctx):
        pass
    def predict(self, batch, params):
        found = []
        for item in batch:
            corners = [item[y : y + 8, x : x + 8].reshape(-1, 3).mean(0) for y, x in ((4, 4), (4, 20), (20, 4), (20, 20))]
            found.append({"embedding": [float(value) for corner in corners for value in corner], "dim": 12})
        return found
"""


@contextmanager
def corners_cluster(folder: Path) -> Iterator[RunningCluster]:
    """One model that tells the colours of the four corners of what it is given."""
    package = write_package(folder / "packages", "corners", size=32)
    card = (package / "model.yaml").read_text()
    card = card.replace("size: [32, 32]", "size: [32, 32], fit: stretch, filter: box")
    (package / "model.yaml").write_text(card.replace("type: score", "type: embedding"))
    (package / "model.py").write_text(CORNERS)
    (package / "examples" / "gray.json").write_text(json.dumps({"embedding": [51.0] * 12, "dim": 12}))
    with running_cluster(folder / "site", [package]) as running:
        yield running
