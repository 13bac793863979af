"""F24: wherever something is decided, the clock is monotonic; the wall clock stands in logs only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("crema", "coordinator", "minion", "preprocessor", "deploy", "envs", "loadtest")
# the attributes of the standard library that read the wall clock or are made from it
WALL = {
    "time": {
        "time",
        "time_ns",
        "gmtime",
        "localtime",
        "ctime",
        "asctime",
        "strftime",
        "mktime",
        "CLOCK_REALTIME",
    },
    "datetime": {"now", "utcnow", "today", "fromtimestamp", "utcfromtimestamp"},
    "date": {"today", "fromtimestamp"},
}
MODULES = {"time", "datetime"}
# Where a moment is written down for people and nothing is decided by it: `file: why`.
MAY = {
    "coordinator/journal.py": "the timestamp of a request's log event",
    "coordinator/keys.py": "the day on which an API key expires",
    "crema/cli/loadtest.py": "the date at the head of a report",
    "crema/host/audit.py": "the timestamp of a record",
    "crema/host/http_answer.py": "the Date of an answer",
    "crema/host/key_file.py": "when an API key was made, and the day on which it expires",
}


def wall_clocks(source: str) -> Iterator[tuple[int, str]]:
    """(line, what is read) of every use of the wall clock, however it was imported."""
    tree = ast.parse(source)
    named: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named.update({a.asname or a.name: a.name for a in node.names if a.name in MODULES})
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                if node.module == "time" and alias.name in WALL["time"]:
                    yield node.lineno, f"time.{alias.name}"
                named[alias.asname or alias.name] = alias.name
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        name = (
            named.get(owner.id)
            if isinstance(owner, ast.Name)
            else owner.attr
            if isinstance(owner, ast.Attribute)
            and isinstance(owner.value, ast.Name)
            and owner.value.id in named
            else None
        )
        if name in WALL and node.attr in WALL[name]:
            yield node.lineno, f"{name}.{node.attr}"


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).glob("**/*.py")]
    return sorted(path for path in found if "built" not in path.relative_to(ROOT).parts)


def test_nothing_is_decided_by_the_wall_clock() -> None:
    bad = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sources()
        for line, what in wall_clocks(path.read_text())
        if str(path.relative_to(ROOT)) not in MAY
    ]
    assert not bad, "use time.monotonic(), or name the file here with the reason:\n" + "\n".join(bad)


def test_who_may_read_the_wall_clock_does() -> None:
    """An exception that is not needed any more would hide the next use."""
    assert all(list(wall_clocks((ROOT / name).read_text())) for name in MAY)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as clock\nclock.time_ns()",
        "from time import time\ntime()",
        "import time\nlater = time.time",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "import datetime as dt\ndt.date.today()",
        "import time\ntime.clock_gettime(time.CLOCK_REALTIME)",
    ],
)
def test_the_wall_clock_is_seen_however_it_is_read(source: str) -> None:
    assert list(wall_clocks(source))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()\ntime.perf_counter()\ntime.sleep(1)",
        "import asyncio\nloop.time()",
        "from datetime import timedelta\ntimedelta(seconds=1).total_seconds()",
        "class Box:\n    def time(self): ...\nBox().time()",
    ],
)
def test_other_clocks_are_not_taken_for_it(source: str) -> None:
    assert not list(wall_clocks(source))
