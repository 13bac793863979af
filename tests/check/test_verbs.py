"""`crema check`, `crema try` and `crema diff` with real workers: what they print and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crema.host.check_reports import has_passed
from crema.host.package_paths import package_digest
from tests.check.package_maker import MANIFEST, MODEL, RAMP, write_package
from tests.cluster.toy_packages import write_package as write_photo_package
from tests.cluster.toy_packages import write_photo

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("own_python")]

ROOT = Path(__file__).resolve().parents[2]
STEPS = [
    "manifest", "lock", "environment", "weights", "load", "golden", "output", "batch", "params", "poison",
    "loads", "memory", "latency", "changes", "version",
]  # fmt: skip


def crema(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """`crema ARGUMENTS` in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "crema.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=typed,
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a cluster file and bright@1.0."""
    write_package(tmp_path / "model_packages")
    (tmp_path / "cluster.yaml").write_text("{}\n")
    return tmp_path


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_sound_package_gets_its_verdict_and_a_line_for_each_step(site: Path) -> None:
    done = crema(site, "check", "bright@1.0")
    first, *rest = lines(done.stdout)
    assert (done.returncode, first[:2]) == (0, ["PASSED", "bright@1.0"])
    assert [line[:2] for line in rest] == [["OK", step] for step in STEPS]
    assert has_passed(package_digest(site / "model_packages" / "bright" / "1.0"), site / ".crema")


def test_a_refused_package_says_why_first_and_skips_what_makes_no_sense(site: Path) -> None:
    (site / "model_packages" / "bright" / "1.0" / "model.py").write_text("import pickle\n")
    done = crema(site, "check", "bright")
    first, *rest = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith("FAILED    bright@1.0  manifest  model.py:1:1: imports pickle")
    assert "try: " in rest[1]
    assert sum(line.startswith("SKIPPED") for line in rest) == 14


def test_json_prints_the_report_and_nothing_else(site: Path) -> None:
    done = crema(site, "check", "model_packages/bright/1.0", "--json")
    report = json.loads(done.stdout)
    assert report["passed"]
    assert [step["name"] for step in report["steps"]] == STEPS
    assert report["digest"] == package_digest(site / "model_packages" / "bright" / "1.0")
    assert has_passed(report["digest"])


@pytest.mark.parametrize("verb", [["check"], ["try"], ["diff", "bright"]])
def test_a_package_that_is_not_there_is_wrong_use(site: Path, verb: list[str]) -> None:
    done = crema(site, *verb, "dark@1.0", *(["cluster.yaml"] if verb != ["check"] else []))
    assert done.returncode == 2
    assert "there is no package dark@1.0; there are: bright@1.0" in done.stderr
    assert "example: crema " in done.stderr


def test_checking_again_by_the_folder_one_is_in_is_the_same(site: Path) -> None:
    done = crema(site / "model_packages" / "bright" / "1.0" / "examples", "check", "..", "--json")
    assert json.loads(done.stdout)["name"] == "bright"


def test_a_tensor_model_is_tried_on_a_file_of_numbers(site: Path) -> None:
    np.save(site / "white.npy", np.full(64, 255, np.uint8))
    done = crema(site, "try", "bright", "white.npy", "-p", "gain=2")
    assert done.returncode == 0, done.stderr
    assert [line[0] for line in lines(done.stdout)] == ["LOADED", "OK"]
    assert lines(done.stdout)[1][-1] == "1.000"


def test_an_image_model_is_tried_through_the_real_preprocessor(tmp_path: Path) -> None:
    write_photo_package(tmp_path / "model_packages", "gray", load="print('loading')")
    photo = write_photo(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"nothing")
    done = crema(tmp_path, "try", "model_packages/gray/1.0", "photos", "--json")
    assert done.returncode == 3
    good, bad = json.loads(done.stdout)["photos"]
    assert (good["photo"], good["output"]) == (
        str(photo.relative_to(tmp_path)),
        {"score": pytest.approx(0.4)},
    )
    assert bad["error"]["code"] == "undecodable_image"
    assert "loading" in crema(tmp_path, "try", "model_packages/gray/1.0", str(photo)).stderr


def test_params_that_a_package_does_not_take_are_wrong_use(site: Path) -> None:
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "try", "bright", "ramp.npy", "-p", "gian=1")
    assert done.returncode == 2
    assert "there is no parameter gian; did you mean gain?" in done.stderr


def test_a_model_that_raises_shows_where_and_how_to_debug_it(site: Path) -> None:
    model = MODEL.replace(
        "values = ", "assert len(batch) == 0 or not batch.any(), 'dark only'\n        values = "
    )
    write_package(site / "model_packages", name="odd", model=model)
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "try", "odd", "ramp.npy")
    assert done.returncode == 1
    assert "model_failed: AssertionError: dark only" in done.stdout
    assert "model.py" in done.stdout
    assert "try: crema try odd ramp.npy --pdb" in done.stdout


def test_pdb_stops_at_the_line_that_raises(site: Path) -> None:
    model = MODEL.replace("values = ", "here = 41\n        raise ValueError(here + 1)\n        values = ")
    write_package(site / "model_packages", name="odd", model=model)
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "try", "odd", "ramp.npy", "--pdb", typed="p 'here is', here, params\nq\n")
    assert done.returncode == 1
    assert "ValueError: 42" in done.stderr
    assert "('here is', 41, [{'gain': 1.0}])" in done.stdout


def test_pdb_answers_where_nothing_raises(site: Path) -> None:
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "try", "bright", "ramp.npy", "--pdb")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "answer")


def test_code_that_is_not_allowed_is_not_tried(site: Path) -> None:
    write_package(site / "model_packages", name="odd", model="import pickle\nopen('ran', 'w')\n" + MODEL)
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "try", "odd", "ramp.npy")
    assert done.returncode == 1
    assert done.stderr.startswith("crema: odd: model.py:1:1: imports pickle")


def test_versions_with_other_answers_differ_and_the_page_shows_the_photos(tmp_path: Path) -> None:
    packages = tmp_path / "model_packages"
    write_photo_package(packages, "gray")
    darker = write_photo_package(packages, "gray", "2.0")
    model = (darker / "model.py").read_text()
    (darker / "model.py").write_text(model.replace("item.mean() / 255", "1 - item.mean() / 255"))
    for name, value in (("dark", 20), ("gray", 120), ("light", 220)):
        write_photo(tmp_path / "photos" / f"{name}.png", (value, value, value))
    (tmp_path / "cluster.yaml").write_text("{}\n")
    done = crema(tmp_path, "diff", "gray@1.0", "gray@2.0", "photos", "-o", "page.html", "--worst", "2")
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout)[0][:4] == ["DIFFERS", "gray@1.0", "→", "gray@2.0"]
    assert "rank correlation -1.000" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2
    assert "gray.png" not in page  # it changed least


def test_equal_versions_are_the_same(site: Path) -> None:
    write_package(site / "model_packages", version="1.1")
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "diff", "bright@1.0", "bright@1.1", "ramp.npy", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["same"], document["photos"][0]["words"]) == (0, 1, "the same")


def test_models_of_other_types_cannot_be_compared(site: Path) -> None:
    manifest = MANIFEST.replace("{{type: score}}", "{{type: json, schema: {{type: object}}}}")
    write_package(site / "model_packages", name="other", manifest=manifest)
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "diff", "bright", "other", "ramp.npy")
    assert done.returncode == 2
    assert "bright@1.0 answers with score and other@1.0 with json" in done.stderr


def test_a_page_that_could_not_be_written_is_told_before_anything_runs(site: Path) -> None:
    np.save(site / "ramp.npy", RAMP)
    done = crema(site, "diff", "bright", "bright", "ramp.npy", "-o", "no/where.html")
    assert done.returncode == 2
    assert "make it: mkdir -p no" in done.stderr


def test_a_minor_step_may_not_be_a_quiet_default_change(site: Path) -> None:
    write_package(
        site / "model_packages", version="1.1", manifest=MANIFEST.replace("default: 1.0", "default: 1.5")
    )
    done = crema(site, "check", "bright@1.1", "--json")
    steps = {step["name"]: step for step in json.loads(done.stdout)["steps"]}
    assert "params.gain.default was 1.0 and is 1.5" in steps["version"]["message"]
