"""One frame of `crema top`: a status document with figures as lines that fit a terminal. Plain text; it asks nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from crema.cli.figure_cells import figure, number, percent, wanted
from crema.cli.table import coloured

STATE_WIDTH: Final = 8
LEAST_NAME_WIDTH: Final = 15
MOST_NAME_WIDTH: Final = 40


@dataclass(frozen=True, slots=True)
class Column:
    """A column right of the name. Those that are not `always` there are shown where the terminal is wide enough."""

    title: str
    width: int
    cell: Callable[[dict[str, Any]], str]
    always: bool = True


def _figure(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: number(figure(row, name))


def _ready(row: dict[str, Any]) -> str:
    return f"{row['ready']}/{row['replicas']}" if "replicas" in row else ""


def _places(row: dict[str, Any]) -> str:
    return f"{number(figure(row, 'pending'))}/{number(figure(row, 'places'))}"


COLUMNS: Final = (
    Column("READY", 5, _ready),
    Column("OFFERED", 7, _figure("offered_per_s")),
    Column("ACCEPTED", 8, _figure("accepted_per_s")),
    Column("REFUSED", 7, _figure("refused_per_s")),
    Column("FAILED", 6, _figure("failed_per_s"), always=False),
    Column("P50", 5, _figure("p50_ms")),
    Column("P99", 5, _figure("p99_ms")),
    Column("BATCH", 5, _figure("batch_size")),
    Column("BUSY", 5, lambda row: percent(figure(row, "busy_ratio")), always=False),
    Column("PLACES", 9, _places, always=False),
    Column("WANTED", 6, lambda row: wanted(row) if "role" not in row else ""),
)

SORTS: Final[dict[str, str]] = {
    "offered": "offered_per_s",
    "refused": "refused_per_s",
    "failed": "failed_per_s",
    "p99": "p99_ms",
    "busy": "busy_ratio",
}
"""What models can be sorted by, the highest first; beside these, `name`."""


def frame(
    document: dict[str, Any],
    width: int,
    *,
    sort: str = "offered",
    with_replicas: bool = False,
    note: str = "",
) -> list[str]:
    """The lines of a frame, none longer than `width` (at least 80): tiers, then models, each with its problem under it."""
    columns = _columns_for(width)
    name_width = min(MOST_NAME_WIDTH, width - STATE_WIDTH - 1 - sum(column.width + 1 for column in columns))
    lines = [_headline(document, width, note), ""]
    titles = " ".join(column.title.rjust(column.width) for column in columns)
    lines.append(f"{'STATE':<{STATE_WIDTH}} {'PER SECOND, MS':<{name_width}} {titles}")
    for row in [*document["tiers"], *_sorted(document["models"], sort)]:
        lines.append(_line(row, _name(row), name_width, columns))
        for words in (row.get("why"), row.get("note"), row.get("problem")):
            if words:
                lines.append(_cut(f"{'':{STATE_WIDTH}} {words}", width))
        if with_replicas:
            for process in _replicas(document, row):
                lines.append(_line(process, f"  pid {process['pid'] or '-'}", name_width, columns))
                if process.get("problem"):
                    lines.append(_cut(f"{'':{STATE_WIDTH}}   {process['problem']}", width))
    for silent in document["unanswered"]:
        lines.append(_cut(f"{'NOTE':<{STATE_WIDTH}} {silent['process']}: {silent['problem']}", width))
    return lines


def _headline(document: dict[str, Any], width: int, note: str) -> str:
    windows = [figure(row, "window_s") for row in document["tiers"]]
    window_s = max((each for each in windows if each), default=0.0)
    right = "  ".join(part for part in (f"last {window_s:.1f} s" if window_s else "", note) if part)
    left = _cut(f"{document['state'].upper():<{STATE_WIDTH}} {document['cluster']}", width - len(right) - 1)
    return coloured(document["state"].upper(), left.ljust(width - len(right)) + right)


def _columns_for(width: int) -> list[Column]:
    """All that are always there, and from the left as many of the others as leave room for the names."""
    room = width - STATE_WIDTH - 1 - LEAST_NAME_WIDTH
    room -= sum(column.width + 1 for column in COLUMNS if column.always)
    chosen = []
    for column in COLUMNS:
        if not column.always:
            if room < column.width + 1:
                continue
            room -= column.width + 1
        chosen.append(column)
    return chosen


def _line(row: dict[str, Any], name: str, name_width: int, columns: list[Column]) -> str:
    state = row["state"].upper()
    cells = " ".join(_cell(column.cell(row), column.width) for column in columns)
    return coloured(state, f"{state:<{STATE_WIDTH}} {_cut(name, name_width):<{name_width}} {cells}".rstrip())


def _cell(text: str, width: int) -> str:
    return (text if len(text) <= width else "#" * width).rjust(width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _name(row: dict[str, Any]) -> str:
    return f"{row['model']}@{row['version']}" if "model" in row else str(row["tier"])


def _sorted(models: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    by_name = sorted(models, key=_name)
    if sort not in SORTS:
        return by_name
    # what is not known comes last, and equals stay in the order of their names
    return sorted(by_name, key=lambda row: -(figure(row, SORTS[sort]) or 0.0))


def _replicas(document: dict[str, Any], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The hosts of a version, the processes of a tier; of these only who has figures of its own."""
    if "model" not in row:
        return [each for each in document["processes"] if each["tier"] == row["tier"] and each.get("figures")]
    return [
        each
        for each in document["processes"]
        if each.get("role") == "host" and (each["model"], each["version"]) == (row["model"], row["version"])
    ]
