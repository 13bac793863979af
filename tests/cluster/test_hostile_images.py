"""Every odd and hostile image through the public API of a real cluster, while good photos flow beside them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.process_figures import PeakMemory, children
from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.steady_load import Ended, SteadyLoad
from tests.cluster.toy_packages import write_package
from tests.preprocessor import image_files as f
from tests.preprocessor.crafted_cases import CRAFTED, CRAFTED_HEAVY
from tests.preprocessor.foreign_cases import FOREIGN
from tests.preprocessor.image_cases import GIF, JPEG, OTHER, WEBP, Bad, Case, Good
from tests.preprocessor.png_cases import HEAVY, PNG

CASES = [*JPEG, *WEBP, *GIF, *PNG, *OTHER, *FOREIGN, *CRAFTED, *HEAVY, *CRAFTED_HEAVY]
CALL = "/v1/analyze?models=corners"
GOOD_PER_S = 20.0
ROUNDS = 3
SLOWEST_S = 5.0
MOST_MB = 1000

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


@pytest.fixture(scope="module")
def images() -> list[tuple[Case, bytes]]:
    """Made once: two seconds and 60 MB."""
    return [(case, case.make()) for case in CASES]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    """One model that tells the colours of the four corners of what it is given."""
    package = write_package(tmp_path / "packages", "corners", size=32)
    card = (package / "model.yaml").read_text()
    card = card.replace("size: [32, 32]", "size: [32, 32], fit: stretch, filter: box")
    (package / "model.yaml").write_text(card.replace("type: score", "type: embedding"))
    (package / "model.py").write_text(CORNERS)
    (package / "examples" / "gray.json").write_text(json.dumps({"embedding": [51.0] * 12, "dim": 12}))
    with running_cluster(tmp_path / "site", [package]) as running:
        yield running


def wrong(case: Case, status: int, body: dict[str, object]) -> str | None:
    """What is not as the table says, or None."""
    if status >= 500:
        return f"{status} {body.get('code')}"
    if isinstance(case.expected, Bad):
        # at the door an object of JSON is a request, and not a good one
        codes = ("invalid_request",) if case.name == "json" else case.expected.codes
        return None if body.get("code") in codes else f"{status} {body.get('code')}"
    if status != 200:
        return f"refused: {body.get('detail')}" if isinstance(case.expected, Good) else None
    if isinstance(case.expected, Good):
        image, results = body["image"], body["results"]
        assert isinstance(image, dict) and isinstance(results, dict)
        if (image["width"], image["height"]) != case.expected.size:
            return f"{image['width']}x{image['height']}"
        found = results["corners"]["output"]["embedding"]
        for n, colour in enumerate(case.expected.colours or ()):
            if any(abs(found[3 * n + c] - colour[c]) > case.expected.tolerance for c in range(3)):
                return f"corner {n} is {found[3 * n : 3 * n + 3]}"
    return None


def p99_ms(calls: list[Ended]) -> float:
    return statistics.quantiles([call.seconds * 1000 for call in calls], n=100)[98]


def test_hostile_images_through_the_public_api_beside_good_photos(
    cluster: RunningCluster, images: list[tuple[Case, bytes]]
) -> None:
    good = f.jpeg(f.noisy(640, 480))
    url = cluster.url
    [preprocessor] = cluster.pids("preprocessor")
    with SteadyLoad(url, good, path=CALL, per_s=GOOD_PER_S) as warming:
        time.sleep(2)
    with SteadyLoad(url, good, path=CALL, per_s=GOOD_PER_S) as alone:
        time.sleep(10)
    bad, took = [], []
    with (
        PeakMemory(lambda: [preprocessor, *children(preprocessor)]) as peak,
        SteadyLoad(url, good, path=CALL, per_s=GOOD_PER_S) as beside,
    ):
        for number, (case, data) in enumerate(images * ROUNDS):
            # the declared type differs from the data, in another way each time, and decides nothing
            declared = ("image/jpeg", "image/png", "text/html", "application/json")[number % 4]
            began = time.monotonic()
            status, body = cluster.post(
                data, models="corners", deadline_ms=15_000, headers={"Content-Type": declared}
            )
            took.append((time.monotonic() - began, case.name))
            if problem := wrong(case, status, body):
                bad.append(f"{case.name}: {problem}")
    slowest = sorted(took)[-3:]
    figures = (
        f"{len(images)} odd and hostile images, {ROUNDS} times: slowest {[(name, round(s, 2)) for s, name in slowest]}, "
        f"most memory {peak.mb:.0f} MB; {len(beside.ended)} good photos beside them: p99 {p99_ms(alone.ended):.0f} ms alone, "
        f"{p99_ms(beside.ended):.0f} ms beside (x{p99_ms(beside.ended) / p99_ms(alone.ended):.2f}), "
        f"median {statistics.median(c.seconds for c in alone.ended) * 1000:.1f} and "
        f"{statistics.median(c.seconds for c in beside.ended) * 1000:.1f} ms"
    )
    print(figures)
    assert bad == [], figures
    failed = [call for call in (*warming.ended, *alone.ended, *beside.ended) if call.status != 200]
    assert failed == [], figures
    assert slowest[-1][0] <= SLOWEST_S, figures
    assert peak.mb <= MOST_MB, figures
    # an open loop on a shared machine: the goal is 1.5, a stall of everybody is what this must never miss
    assert p99_ms(beside.ended) <= 1000, figures
