"""What root starts: a worker that is somebody else, who can do its work and nothing beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from minion.worker_user import FIRST_ID, IDS, closed_place
from tests.cluster.running_minion import ROOT, TOYS, running_minion

PYTHON = Path("/usr/bin/python3")
LIBRARIES = Path(np.__file__).parents[1]

MODEL = """
import os
from pathlib import Path

def can(try_it):
    try:
        try_it()
    except OSError:
        return 0
    return 1

class Toy:
    def load(self, ctx):
        host = os.getppid()
        self.facts = [
            can(lambda: Path("own").write_text("x")),
            can(lambda: Path(ctx.path("examples/one.npy")).read_bytes()),
            can(lambda: Path({secret!r}).read_text()),
            can(lambda: Path(__file__).open("a")),
            can(lambda: Path(f"/proc/{{host}}/environ").read_bytes()),
            can(lambda: os.kill(host, 0)),
            can(lambda: os.listdir(Path.cwd().parent)),
            can(lambda: os.setuid(0)),
        ]
    def predict(self, batch, params):
        return [self.facts[image[0]] if image[0] < 255 else os.getuid() for image in batch]
"""


def _is_usable(python: Path) -> bool:
    if os.geteuid() != 0 or not python.exists():
        return False
    needed = (python, ROOT / "crema" / "worker.py", LIBRARIES, LIBRARIES / "numpy" / "__init__.py")
    if any(closed_place(place) is not None for place in needed):
        return False
    told = subprocess.run(
        [python, "-c", "import sys, venv; print(sys.version_info[:2])"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() == str(sys.version_info[:2])


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that everybody may read, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="crema-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(not _is_usable(PYTHON), reason="wants root, and a Python that everybody may use")
async def test_root_s_worker_is_a_user_who_can_do_its_work_and_nothing_else(open_folder: Path) -> None:
    python = open_folder / "env" / "bin" / "python"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", open_folder / "env"], check=True)  # noqa: ASYNC221
    (site,) = (open_folder / "env" / "lib").glob("python*/site-packages")
    (site / "ours.pth").write_text(f"{LIBRARIES}\n")
    secret = open_folder / "keys.json"
    secret.touch(mode=0o600)
    package = open_folder / "echo" / "1.0"
    shutil.copytree(TOYS / "echo" / "1.0", package)
    (package / "model.py").write_text(MODEL.format(secret=str(secret)))
    manifest = (package / "model.yaml").read_text().replace("model:Echo", "model:Toy")
    (package / "model.yaml").write_text(manifest)
    async with running_minion("echo", "--python", str(python), "--package", str(package)) as minion:
        await minion.until("ready")
        _, outcomes = await minion.infer(255, *range(8))
    user, *facts = (outcome["ok"] for outcome in outcomes)
    assert FIRST_ID <= user < FIRST_ID + IDS
    assert facts == [1, 1, 0, 0, 0, 0, 0, 0]
