"""Site: `crema up` with one moody model, which does what a file in a folder tells it: all its workers, or one of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.soak.calls import MODEL, Calls, goodput, photo, until
from benchmarks.soak.verdicts import Verdicts
from deploy.metric_scraper import look_at, targets_of
from deploy.metric_window import MetricWindow
from tests.cluster.process_figures import descriptors, rss_mb
from tests.cluster.running import RunningCluster, end, start_cluster

MAX_BATCH: Final = 4
SLOW_FACTOR: Final = 10
WATCHDOG_S: Final = 3.0
LEAK_BYTES: Final = 1024
BASE_LOAD: Final = 0.6

CARD = """\
crema: 1
name: {model}
version: "{version}"
summary: Tells the number that a photo carries
entrypoint: model:Moody
python: ">=3.11"
input: {{kind: image, size: [8, 8]}}
output: {{type: json, schema: {{type: object}}}}
batching: {{max_size: {max_batch}}}
slo: {{p99_ms: 2000}}
watchdog_s: {watchdog_s}
resources: {{device: cpu}}
examples:
  - {{image: examples/one.png, expect: examples/one.json}}
"""
CODE = """\
import os
import time
MOODS = {moods!r}
class Moody:
    def load(self, ctx):
        self.kept = []
        if {is_broken}:
            os._exit(3)
    def mood(self):
        for name in (str(os.getpid()), "all"):
            try:
                with open(os.path.join(MOODS, name)) as file:
                    return file.read()
            except OSError:
                pass
        return ""
    def predict(self, batch, params):
        mood = self.mood()
        time.sleep({sleep_s} * ({slow_factor} if mood == "slow" else 1))
        if mood == "hang":
            time.sleep(3600)
        numbers = [int(i[4, 4, 0]) << 16 | int(i[4, 4, 1]) << 8 | int(i[4, 4, 2]) for i in batch]
        if mood == "leak":
            self.kept.extend(bytearray(b"x") * {leak_bytes} for _ in numbers)
        if mood == "poison" and any(number % 100 == 0 for number in numbers):
            raise RuntimeError("told to raise")
        return [{{"number": number}} for number in numbers]
"""


def write_moody(
    packages: Path, moods: Path, *, sleep_s: float, version: str = "1.0", is_broken: bool = False
) -> None:
    """The package; `is_broken` ends its process while it loads."""
    model = "broken" if is_broken else MODEL
    package = packages / model / version
    (package / "examples").mkdir(parents=True)
    card = CARD.format(model=model, version=version, max_batch=MAX_BATCH, watchdog_s=WATCHDOG_S)
    (package / "model.yaml").write_text(card)
    code = CODE.format(
        moods=str(moods), sleep_s=sleep_s, slow_factor=SLOW_FACTOR, leak_bytes=LEAK_BYTES, is_broken=is_broken
    )
    (package / "model.py").write_text(code)
    (package / "CHANGES.md").write_text(f"# {version}\n\nFirst.\n")
    (package / "requirements.in").write_text("")
    (package / "examples" / "one.png").write_bytes(photo(1))
    (package / "examples" / "one.json").write_text(json.dumps({"number": 1}))


class Site:
    """A cluster that serves. Everything that asks it is run in a thread, so that the load beside it is not held up."""

    def __init__(self, cluster: RunningCluster, url: str, moods: Path, replicas: int, sleep_s: float) -> None:
        self.cluster = cluster
        self.url = url
        self.capacity = replicas * MAX_BATCH / sleep_s if sleep_s else 0.0
        """Calls per second that the workers can do; `measure_capacity` says what the whole does."""
        self._moods = moods

    async def measure_capacity(self, seconds: float) -> float:
        """Good answers per second at 1.3x of what the workers can do; kept as the capacity."""
        async with Calls(self.url, per_s=1.3 * self.capacity) as calls:
            await asyncio.sleep(1.0 + seconds)
            now = time.monotonic()
        self.capacity = min(self.capacity, goodput(calls.ended, now - seconds, now))
        # what was refused keeps replicas away for a moment
        await asyncio.sleep(2.0)
        return self.capacity

    def steady(self, share: float = BASE_LOAD, **options: Any) -> Calls:
        """A load of that share of the capacity."""
        return Calls(self.url, per_s=share * self.capacity, **options)

    def set_mood(self, mood: str, worker: int | None = None) -> None:
        """Of one worker, by its pid, or of all. Empty: as it was."""
        path = self._moods / (str(worker) if worker else "all")
        if mood:
            new = path.with_name(f"{path.name}.new")
            new.write_text(mood)
            new.replace(path)
        else:
            path.unlink(missing_ok=True)

    async def pids(self, tier: str, role: str | None = None) -> list[int]:
        """Of the processes that run."""
        return await asyncio.to_thread(self.cluster.pids, tier, role)

    async def until_all_ready(self, timeout_s: float = 60.0) -> float:
        """Every process that should be there is, and is ready."""
        return await until(self.cluster.is_all_ready, "every process to be ready", timeout_s)

    def addresses(self) -> list[str]:
        """The replicas that coordinators are told of."""
        versions = self.cluster.routing()["models"][MODEL]["versions"]
        return [address for version in versions.values() for address in version["replicas"]]

    async def look(self) -> dict[str, Any]:
        """One look at every process's metrics: `Target` → `Scrape`."""

        def now() -> dict[Any, Any]:
            return look_at(targets_of(self.cluster.status()), 2.0).scrapes

        return await asyncio.to_thread(now)

    async def sizes(self) -> dict[str, tuple[float, int]]:
        """Of each kind of process, all of that kind together: resident MiB and open descriptors."""

        def now() -> dict[str, tuple[float, int]]:
            found: dict[str, tuple[float, int]] = {}
            for each in self.cluster.status()["processes"]:
                kind = str(each.get("role", each["tier"]))
                mb, count = found.get(kind, (0.0, 0))
                found[kind] = (mb + rss_mb(each["pid"]), count + descriptors(each["pid"]))
            return found

        return await asyncio.to_thread(now)


def window(before: dict[Any, Any], after: dict[Any, Any], tier: str) -> MetricWindow:
    """Between two looks, of the processes of a tier that were there in both."""
    return MetricWindow(tuple((before[t], after[t]) for t in after if t in before and t.tier == tier))


@contextlib.asynccontextmanager
async def site(
    folder: Path,
    verdicts: Verdicts,
    *,
    replicas: int = 2,
    coordinators: int = 1,
    preprocessors: int = 1,
    sleep_s: float = 0.05,
    capacity_s: float = 3.0,
    with_broken: bool = False,
) -> AsyncIterator[Site]:
    """A cluster of its own, ended in the end. Its capacity is measured first, unless the model does not sleep."""
    moods = folder / "moods"
    moods.mkdir(parents=True)
    packages = folder / "site" / "model_packages"
    write_moody(packages, moods, sleep_s=sleep_s)
    more = ""
    if with_broken:
        write_moody(packages, moods, sleep_s=sleep_s, is_broken=True)
        more = "  broken: {versions: {'1.0': {replicas: 1}}}\n"
    cluster_yaml = (
        f'coordinator: {{listen: "127.0.0.1:0", operations: "127.0.0.1:0", processes: {coordinators}}}\n'
        f"preprocessor: {{replicas: {preprocessors}, workers: 1}}\n"
        f"default_models: [{MODEL}]\nmodels:\n  {MODEL}: {{versions: {{'1.0': {{replicas: {replicas}}}}}}}\n{more}"
    )
    with _running(folder / "site", cluster_yaml) as cluster:
        await asyncio.to_thread(cluster.wait_serving)
        found = Site(cluster, cluster.url, moods, replicas, sleep_s)
        if found.capacity:
            capacity = await found.measure_capacity(capacity_s)
            verdicts.tell("capacity", f"{capacity:.0f} calls/s of {replicas} replicas")
        yield found


@contextlib.contextmanager
def _running(folder: Path, cluster_yaml: str) -> Iterator[RunningCluster]:
    cluster = start_cluster(folder, cluster_yaml=cluster_yaml, arguments=("--log-level", "warning"))
    try:
        yield cluster
    finally:
        end(cluster)
