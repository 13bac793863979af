"""What exists is documented: metrics, error codes, commands, settings; and what is documented exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from crema.cli.main import VERBS
from crema.errors import CODES
from crema.host.config import ClusterConfig
from crema.host.manifest import Manifest
from crema.host.metrics import TABLE

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def test_every_metric_has_its_line() -> None:
    text = (DOCS / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(crema_\w+)`", text, re.M)) == {f"crema_{row.name}" for row in TABLE}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_metric_s_labels_are_documented(row: object) -> None:
    text = (DOCS / "metrics.md").read_text()
    name, labels = row.name, row.labels  # type: ignore[attr-defined]
    line = next(line for line in text.splitlines() if line.startswith(f"| `crema_{name}`"))
    documented = [label.strip() for label in line.split("|")[3].split(",") if label.strip()]
    assert documented == list(labels)


def test_every_error_code_has_its_line_and_status() -> None:
    text = (DOCS / "errors.md").read_text()
    documented = {code: int(status) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)`", text, re.M)}
    assert documented == {code: row.status for code, row in CODES.items()}


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_is_in_the_readme_or_the_documents(verb: str) -> None:
    texts = [(ROOT / "README.md").read_text(), *(document.read_text() for document in DOCS.glob("*.md"))]
    assert any(f"crema {verb}" in text for text in texts)


@pytest.mark.parametrize("key", sorted(Manifest.model_fields))
def test_every_key_of_a_manifest_is_documented(key: str) -> None:
    assert re.search(rf"`{key}[`.]", (DOCS / "packages.md").read_text())


@pytest.mark.parametrize("key", sorted(ClusterConfig.model_fields))
def test_every_key_of_a_cluster_file_is_documented(key: str) -> None:
    assert re.search(rf"`{key}[`.]", (DOCS / "cluster.md").read_text())


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text()):
            if not (document.parent / target).exists():
                broken.append(f"{document.name}: {target}")
    assert not broken, "\n".join(broken)


def resolved(dotted: str) -> object | None:
    """The object that `package.module.Class.method` names, or None."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name, None)
        return found
    return None


def test_every_function_in_the_life_of_a_request_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`((?:coordinator|preprocessor|minion|crema|deploy)\.\w+\.[\w.]+)`", text)
    assert len(named) > 10
    assert [name for name in named if resolved(name) is None] == []
