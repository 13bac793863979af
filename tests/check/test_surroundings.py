"""What a package's code gets to see while it is checked."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from check.checklist import check_package
from check.surroundings import probe_environment
from tests.check.package_maker import MODEL, write_package

SECRETS = {
    "CREMA_CLUSTER_TOKEN": "t", "CREMA_API_KEY": "k", "AWS_SECRET_ACCESS_KEY": "s", "DATABASE_URL": "postgres://",
    "OMP_PASSWORD": "p", "HOME": "/home/me", "PYTHONPATH": "/mine", "PYTHONSTARTUP": "/mine.py", "HTTPS_PROXY": "http://",
}  # fmt: skip


def test_secrets_and_settings_of_python_do_not_reach_a_package() -> None:
    seen = probe_environment(
        {**SECRETS, "PATH": "/bin", "OMP_NUM_THREADS": "2"}, Path("/ring"), Path("/scratch"), ""
    )
    assert not set(SECRETS.values()) & set(seen.values())
    assert seen["PATH"] == "/bin"
    assert seen["OMP_NUM_THREADS"] == "2"
    assert (seen["HOME"], seen["TMPDIR"], seen["PYTHONPATH"]) == ("/scratch", "/scratch", "/ring")


PEEKING = MODEL.replace(
    "self.scale = 1 / 510",
    """import os, sys, tempfile
        assert "CREMA_API_KEY" not in os.environ and "planted" not in str(dict(os.environ))
        assert os.listdir(".") == [], os.listdir(".")
        assert tempfile.gettempdir() == os.getcwd()
        assert not any(name in sys.modules for name in ("crema.host", "coordinator", "pydantic"))
        open("here", "w").close()
        print("noise"); print("noise", file=sys.stderr); os.write(1, b"noise")
        self.scale = 1 / 510""",
)
# below Python's own sockets: only a network namespace stops it
CONNECTING = MODEL.replace(
    "self.scale = 1 / 510",
    """import ctypes, struct
        libc = ctypes.CDLL(None, use_errno=True)
        address = struct.pack("<HHI8x", 2, {port} >> 8 | ({port} & 255) << 8, 0x0100007F)
        connected = libc.connect(libc.socket(2, 1, 0), address, 16)
        self.scale = 1 / 510 if connected else 1 / 300""",
)


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
def test_a_package_works_in_an_empty_folder_with_hardly_any_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREMA_API_KEY", "planted")
    report = check_package(write_package(tmp_path / "packages", model=PEEKING))
    assert report.first_failed is None


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
def test_compiled_code_reaches_nothing_where_the_kernel_allows_a_namespace(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        report = check_package(
            write_package(tmp_path / "packages", model=CONNECTING.replace("{port}", str(port)))
        )
    load = next(step for step in report.steps if step.name == "load")
    if "own namespace" not in load.message:
        assert "no network through Python" in load.message
        pytest.skip("this kernel allows no network namespace, and the check says so")
    assert report.first_failed is None


@pytest.mark.cluster
@pytest.mark.usefixtures("own_python")
def test_what_a_package_starts_ends_with_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # what is left behind names this folder
    leaving = MODEL.replace(
        "self.scale = 1 / 510",
        "import subprocess; subprocess.Popen(['sleep', '86399'])\n        self.scale = 1 / 510",
    )
    report = check_package(write_package(tmp_path / "packages", model=leaving))
    assert report.first_failed is None
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"sleep\x0086399" in _read(path) and str(tmp_path).encode() in _read(path.with_name("environ"))
    ]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
