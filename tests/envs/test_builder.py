"""Building: equal locks share, nothing is half there, nothing unhashed or changed gets in, one builder at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

import envs.builder
from envs.builder import BuildError, Environment, build_environment, choose_profile, environment_for
from envs.lock_file import lock_path
from envs.record import site_packages
from envs.store import MARKER_NAME, find_built
from envs.uv import find_uv

if TYPE_CHECKING:
    from conftest import Workshop

# They build real virtualenvs, if tiny ones and without a network.
pytestmark = pytest.mark.cluster


def imported(environment: Environment, module: str) -> str:
    """What a worker would get: the module's version, asked of the environment's own Python."""
    command = [environment.python, "-I", "-c", f"import {module}; print({module}.version)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def fake_uv(folder: Path, before: str) -> Path:
    """A uv that does `before` (shell) and then what uv does."""
    path = folder / "uv"
    path.write_text(f'#!/bin/sh\n{before}\nexec "{find_uv()}" "$@"\n')
    path.chmod(0o755)
    return path


def test_an_environment_holds_what_the_lock_says(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    package = workshop.package("tags", "3.1", "shapes\n")
    environment = environment_for(package)
    assert environment.profile == "cpu"
    assert environment.python == workshop.root / environment.fingerprint / "bin/python"
    assert imported(environment, "shapes") == "2.0"
    assert imported(environment, "msgpack") == "1.30"


def test_equal_locks_share_one_environment(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    one = workshop.package("tags", "3.1", "shapes\n")
    two = workshop.package("captions", "1.4", "shapes<3  # other words, same lock\n", profiles=("pypi",))
    assert environment_for(one).fingerprint == environment_for(two).fingerprint
    assert len(workshop.left_in_root()) == 1


def test_other_versions_make_another_environment(workshop: Workshop) -> None:
    workshop.wheel("shapes", "1.0")
    workshop.wheel("shapes", "2.0")
    old = environment_for(workshop.package("tags", "3.1", "shapes<2\n"))
    new = environment_for(workshop.package("captions", "1.4", "shapes>=2\n"))
    assert (imported(old, "shapes"), imported(new, "shapes")) == ("1.0", "2.0")
    assert len(workshop.left_in_root()) == 2


def test_what_is_built_already_needs_no_installer(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = workshop.package("tags", "3.1", "")
    first = environment_for(package)

    def nothing_runs(*arguments: object) -> str:
        raise AssertionError(f"an installer was started: {arguments}")

    monkeypatch.setattr(envs.builder, "run", nothing_runs)
    assert environment_for(package) == first


def test_files_are_linked_from_one_cache(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    one = environment_for(workshop.package("tags", "3.1", "shapes\n"))
    workshop.wheel("colours", "1.0")
    two = environment_for(workshop.package("captions", "1.4", "shapes\ncolours\n"))
    inodes = {
        (site_packages(environment.python.parents[1]) / "shapes.py").stat().st_ino
        for environment in (one, two)
    }
    assert len(inodes) == 1


def test_progress_says_the_profile_and_what_happens(workshop: Workshop) -> None:
    told: list[str] = []
    environment_for(workshop.package("tags", "3.1", ""), progress=told.append)
    assert told[0].startswith("profile cpu, Python 3.")
    assert told[1].endswith("with uv: 2 packages")
    assert told[-1] == "checking every file against its hash"


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = workshop.wheel("shapes", "2.0")
    package = workshop.package("tags", "3.1", "shapes\n")
    wheel.unlink()
    workshop.wheel("shapes", "2.0", body="version = 'another'\n")
    monkeypatch.setenv(
        "UV_CACHE_DIR", str(workshop.folder / "another cache")
    )  # locking left the good one in the first
    with pytest.raises(BuildError, match=r"requirements\.cpu\.lock: cannot be installed"):
        build_environment(lock_path(package, "cpu"))
    assert workshop.left_in_root() == []


def test_a_lock_with_an_unhashed_line_is_refused(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    lock = lock_path(package, "cpu")
    lock.write_text(lock.read_text() + "shapes==2.0\n")
    with pytest.raises(BuildError, match=r"shapes==2\.0 has no sha256 hash"):
        build_environment(lock)
    with pytest.raises(BuildError, match=r"shapes==2\.0 has no sha256 hash"):
        environment_for(package)


def test_a_source_distribution_is_never_built(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    lock = lock_path(package, "cpu")
    archive = workshop.wheels / "shapes-2.0.tar.gz"
    archive.write_bytes(b"never opened")
    lock.write_text(lock.read_text() + f"shapes==2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BuildError, match="cannot be installed"):
        build_environment(lock)


def test_an_installed_file_that_is_not_as_promised_stops_the_build(workshop: Workshop) -> None:
    workshop.wheel("shapes", "2.0")
    workshop.wheel("colours", "1.0")
    one = environment_for(workshop.package("tags", "3.1", "shapes\n"))
    with (site_packages(one.python.parents[1]) / "shapes.py").open("a") as linked:
        linked.write("# edited here, and so in uv's cache\n")
    two = workshop.package("captions", "1.4", "shapes\ncolours\n")
    with pytest.raises(
        BuildError, match=r"(?s)1 installed files are not what.*shapes\.py: was changed.*uv cache clean"
    ):
        environment_for(two)
    assert workshop.left_in_root() == [one.fingerprint]


def test_an_environment_whose_interpreter_went_away_is_built_again(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    first = environment_for(package)
    first.python.unlink()
    assert environment_for(package) == first
    assert imported(first, "numpy") == "1.30"
    assert workshop.left_in_root() == [first.fingerprint]


def test_without_its_marker_an_environment_does_not_count(workshop: Workshop) -> None:
    environment = environment_for(workshop.package("tags", "3.1", ""))
    (workshop.root / environment.fingerprint / MARKER_NAME).unlink()
    assert find_built(workshop.root, environment.fingerprint) is None


def test_two_who_ask_at_once_build_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = lock_path(workshop.package("tags", "3.1", ""), "cpu")
    uv = fake_uv(workshop.folder, f'echo "$1" >> {workshop.folder}/calls')
    monkeypatch.setattr(envs.builder, "find_uv", lambda: uv)
    built: list[Environment] = []
    threads = [threading.Thread(target=lambda: built.append(build_environment(lock))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(built) == 3
    assert len(set(built)) == 1
    assert (workshop.folder / "calls").read_text().split().count("venv") == 1


def test_a_builder_that_is_killed_leaves_nothing_that_counts_and_no_installer(workshop: Workshop) -> None:
    lock = lock_path(workshop.package("tags", "3.1", ""), "cpu")
    pid_file = workshop.folder / "installer.pid"
    uv = fake_uv(
        workshop.folder,
        f'if [ "$2" = sync ]; then echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600; fi',
    )
    program = (
        "import sys, envs.builder, pathlib\n"
        "envs.builder.find_uv = lambda: pathlib.Path(sys.argv[1])\n"
        "envs.builder.build_environment(pathlib.Path(sys.argv[2]))\n"
    )
    builder = subprocess.Popen([sys.executable, "-c", program, uv, lock], cwd=Path(__file__).parents[2])
    try:
        _wait_until(pid_file.exists)
        builder.send_signal(signal.SIGKILL)
    finally:
        builder.kill()
        builder.wait()
    installer = int(pid_file.read_text())
    _wait_until(lambda: not _is_running(installer))
    (left,) = workshop.left_in_root()
    assert left.startswith(".building-")
    environment = build_environment(lock)
    assert imported(environment, "numpy") == "1.30"
    assert workshop.left_in_root() == [environment.fingerprint]


def test_without_uv_pip_builds_the_same(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pip", reason="neither is pip in this virtualenv")
    package = workshop.package("tags", "3.1", "")
    monkeypatch.setattr(envs.builder, "find_uv", lambda: None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(workshop.wheels))
    environment = build_environment(lock_path(package, "cpu"))
    assert imported(environment, "numpy") == "1.30"
    assert workshop.left_in_root() == [environment.fingerprint]


def test_without_uv_and_without_pip_the_error_says_what_to_install(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = workshop.package("tags", "3.1", "")
    monkeypatch.setattr(envs.builder, "find_uv", lambda: None)
    monkeypatch.setattr(envs.builder.sys, "executable", os.fspath(_python_without_pip(workshop)))
    with pytest.raises(BuildError, match="neither uv nor pip is here"):
        build_environment(lock_path(package, "cpu"))
    assert workshop.left_in_root() == []


def test_the_first_profile_that_can_be_installed_is_taken_and_the_others_explained(
    workshop: Workshop,
) -> None:
    cpu_build = workshop.wheel("shapes", "2.0+cpu", on_index=False)
    workshop.wheel("shapes", "2.0", in_folder=False)
    package = workshop.package("tags", "3.1", "shapes==2.0\n", profiles=("cpu", "pypi"))
    cpu_build.unlink()
    told: list[str] = []
    environment = environment_for(package, progress=told.append)
    assert environment.profile == "pypi"
    assert told[:1] == ["passed over cpu: cannot be resolved here"]
    assert "shapes==2.0+cpu" in choose_profile(package).passed_over[0]


def test_a_profile_that_is_asked_for_is_the_only_one_tried(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = workshop.package("tags", "3.1", "", profiles=("cpu", "pypi"))
    assert choose_profile(package).lock.profile == "cpu"
    assert choose_profile(package, profile="pypi").lock.profile == "pypi"
    monkeypatch.setenv("CREMA_PROFILE", "pypi")
    assert choose_profile(package).lock.profile == "pypi"
    monkeypatch.setenv("CREMA_PROFILE", "cu130")
    with pytest.raises(BuildError, match=r"there is no requirements\.cu130\.lock"):
        choose_profile(package)


def test_when_no_profile_can_be_installed_the_reasons_and_what_to_set_are_said(workshop: Workshop) -> None:
    wheel = workshop.wheel("shapes", "2.0+cpu", on_index=False)
    package = workshop.package("tags", "3.1", "shapes==2.0\n")
    wheel.unlink()
    with pytest.raises(BuildError) as caught:
        environment_for(package)
    said = str(caught.value)
    assert said.startswith(
        "none of the locks of tags@3.1 can be installed here\ncpu: cannot be resolved here\n"
    )
    assert "shapes==2.0+cpu" in said
    assert "try: set UV_FIND_LINKS" in said


def test_a_package_without_a_lock_says_how_to_make_one(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "", profiles=())
    with pytest.raises(BuildError, match=r"tags@3\.1 has no lock; make it with `crema lock"):
        choose_profile(package)


def test_a_lock_for_another_python_is_passed_over(workshop: Workshop) -> None:
    package = workshop.package("tags", "3.1", "")
    lock = lock_path(package, "cpu")
    lock.write_text(lock.read_text().replace("# python: 3.11", "# python: 3.9"))
    with pytest.raises(BuildError, match=r"was locked for Python 3\.9"):
        build_environment(lock)
    with pytest.raises(BuildError, match=r"cpu: was locked for Python 3\.9"):
        choose_profile(package)


def _python_without_pip(workshop: Workshop) -> Path:
    folder = workshop.folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def _is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _wait_until(happens: object) -> None:
    for _ in range(2000):
        if happens():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 20 s")


class Index(ThreadingHTTPServer):
    """A package index over HTTP that counts what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, *arguments: object) -> None:
                asked.append(self.path)

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def index_over(folder: Path) -> Iterator[Index]:
    with Index(folder) as index:
        serving = Thread(target=index.serve_forever)
        serving.start()
        try:
            yield index
        finally:
            index.shutdown()
            serving.join()


def test_a_warm_cache_builds_without_a_network(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.wheel("shapes", "2.0")
    package = workshop.package("tags", "3.1", "shapes\n", profiles=("pypi",))
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("UV_CACHE_DIR", str(workshop.folder / "cache"))
    with index_over(workshop.simple) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{index.server_port}/")
        first = environment_for(package)
        assert any(path.endswith(".whl") for path in index.asked)
    # the index is gone, and another root has nothing built
    again = environment_for(package, root=workshop.folder / "elsewhere")
    assert (again.fingerprint, imported(again, "shapes")) == (first.fingerprint, "2.0")
    monkeypatch.setenv("UV_CACHE_DIR", str(workshop.folder / "cold"))
    with pytest.raises(BuildError):
        environment_for(package, root=workshop.folder / "third")
