"""Every odd and hostile image through the public API of a real cluster, while good photos flow beside them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hostile_images import CALL, CASES, corners_cluster
from tests.cluster.posting import posted
from tests.cluster.process_figures import PeakMemory, children
from tests.cluster.running import RunningCluster
from tests.cluster.steady_load import Ended, SteadyLoad
from tests.preprocessor import image_files as f
from tests.preprocessor.crafted_cases import CRAFTED_HEAVY
from tests.preprocessor.image_cases import Bad, Case, Good
from tests.preprocessor.png_cases import HEAVY

GOOD_PER_S = 50.0
ROUNDS = 3
SLOWEST_S = 5.0
MOST_MB = 1000


@pytest.fixture(scope="module")
def images() -> list[tuple[Case, bytes]]:
    """Made once: two seconds and 60 MB."""
    return [(case, case.make()) for case in CASES]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    with corners_cluster(tmp_path) as running:
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
    cluster: RunningCluster, images: list[tuple[Case, bytes]], tmp_path: Path
) -> None:
    good = f.jpeg(f.noisy(640, 480))
    url = cluster.url
    [preprocessor] = cluster.pids("preprocessor")
    with SteadyLoad(url, good, path=CALL, per_s=GOOD_PER_S) as warming:
        time.sleep(2)
    with SteadyLoad(url, good, path=CALL, per_s=GOOD_PER_S) as alone:
        time.sleep(10)
    files = []
    for number, (_, data) in enumerate(images * ROUNDS):
        file = tmp_path / f"{number % len(images)}"
        if number < len(images):
            file.write_bytes(data)
        # the declared type differs from the data, in another way each time, and decides nothing
        declared = ("image/jpeg", "image/png", "text/html", "application/json")[number % 4]
        files.append((file, {"Content-Type": declared}))
    bad, took = [], []
    with (
        PeakMemory(lambda: [preprocessor, *children(preprocessor)]) as peak,
        SteadyLoad(url, good, path=CALL, per_s=GOOD_PER_S) as beside,
    ):
        answers = posted(f"{url}{CALL}&deadline_ms=15000", files, timeout_s=30.0)
        for answer, (case, _) in zip(answers, images * ROUNDS, strict=True):
            took.append((answer["seconds"], case.name))
            if problem := wrong(case, answer["status"], answer["body"]):
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


def test_callers_of_nothing_but_heavy_images_take_no_place_from_good_photos(cluster: RunningCluster) -> None:
    """Heavy images wait for one another; light ones pass them, and are not refused for a wait that is not theirs."""
    heavy = [case.make() for case in (*HEAVY, *CRAFTED_HEAVY)]
    good = f.jpeg(f.noisy(640, 480))
    with SteadyLoad(cluster.url, good, path=CALL, per_s=GOOD_PER_S) as before:
        time.sleep(2)
    stop = threading.Event()
    answered: list[int] = []

    def post(number: int) -> None:
        while not stop.is_set():
            status, _ = cluster.post(heavy[number % len(heavy)], models="corners", deadline_ms=10_000)
            answered.append(status)
            number += 1
            if status == 429:
                stop.wait(0.1)

    callers = [threading.Thread(target=post, args=(number,)) for number in range(6)]
    with SteadyLoad(cluster.url, good, path=CALL, per_s=GOOD_PER_S) as beside:
        for caller in callers:
            caller.start()
        time.sleep(8)
    stop.set()
    for caller in callers:
        caller.join(30)
    assert [call.status for call in (*before.ended, *beside.ended) if call.status != 200] == []
    assert 200 in answered, "the heavy ones are served, too, as far as they find room"
    assert set(answered) <= {200, 429, 504, 413, 422}
