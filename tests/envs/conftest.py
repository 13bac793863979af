"""A workshop for environments: tiny wheels in a folder, packages that want them, and no way to the network."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from envs.lock import lock_package
from envs.uv import find_uv

MANIFEST = 'name: {name}\nversion: "{version}"\npython: "{python}"\n'


class Workshop:
    """Everything of one test: `wheels` (find-links), `simple` (a package index in a folder), `root` (built environments)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.simple = folder / "simple"
        self.packages = folder / "model_packages"
        self.root = folder / "built"
        for place in (self.wheels, self.simple, self.packages):
            place.mkdir()
        for needed in ("msgpack", "numpy"):
            self.wheel(needed, "1.30")

    def wheel(
        self,
        name: str,
        version: str,
        *,
        body: str = "",
        needs: tuple[str, ...] = (),
        on_index: bool = True,
        in_folder: bool = True,
    ) -> Path:
        """A wheel with one module; lies in the find-links folder and on the index unless told otherwise."""
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
            f"Requires-Dist: {need}\n" for need in needs
        )
        files = {
            f"{name}.py": body or f"version = {version!r}\n",
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(
            f"{path},{_record_hash(text)},{len(text.encode())}\n" for path, text in files.items()
        )
        files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
        places = [self.wheels] if in_folder else []
        if on_index:
            project = self.simple / name
            project.mkdir(exist_ok=True)
            places.append(project)
        for place in places:
            with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as archive:
                for path, text in files.items():
                    # A fixed date: the same wheel twice has the same digest.
                    archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text)
        if on_index:
            links = (
                f'<a href="{wheel.name}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}">{wheel.name}</a>'
                for wheel in sorted(project.glob("*.whl"))
            )
            (project / "index.html").write_text(
                "<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>"
            )
        return places[0] / f"{name}-{version}-py3-none-any.whl"

    def package(
        self,
        name: str,
        version: str,
        wants: str,
        *,
        python: str = ">=3.11",
        profiles: tuple[str, ...] = ("cpu",),
    ) -> Path:
        """A package folder with its locks made."""
        package = self.packages / name / version
        package.mkdir(parents=True)
        (package / "model.yaml").write_text(MANIFEST.format(name=name, version=version, python=python))
        (package / "requirements.in").write_text(wants)
        for profile in profiles:
            lock_package(package, profile)
        return package

    def left_in_root(self) -> list[str]:
        """What lies in the root besides the locks of builders."""
        return (
            sorted(entry.name for entry in self.root.iterdir() if entry.name != ".locks")
            if self.root.exists()
            else []
        )


def _record_hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests: uv keeps there what it asked the interpreter, and wheels by the path they came from."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv_cache: Path) -> Workshop:
    """A workshop whose folders and index are the only sources that uv and pip know."""
    if find_uv() is None:
        pytest.skip("uv is not here; it is a dependency of crema[local]")
    made = Workshop(tmp_path)
    settings: Mapping[str, str] = {
        "UV_OFFLINE": "1",  # folders only: what would need the network fails at once
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(uv_cache),
        "UV_FIND_LINKS": str(made.wheels),
        "UV_DEFAULT_INDEX": made.simple.as_uri(),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": made.simple.as_uri(),
        "CREMA_ENVS": str(made.root),
    }
    for name in (
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_EXTRA_INDEX_URL",
        "CREMA_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return made
