"""The file of API keys that a `cluster.yaml` means: where it lies, and whether it holds a key that is valid now.

Works on the plain data of the file, so that keys can be made for a cluster whose file is refused for want of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crema.host.config_parts import DEFAULT_KEYS
from crema.host.key_file import KeyFileError, now_utc, read_keys
from crema.host.yaml_source import Location, Mistake, YamlSource

_PLACE: Location = ("coordinator", "keys")


def keys_file_of(cluster_file: Path) -> Path:
    """The file of keys (absolute) that belongs to a cluster file, whatever else is wrong with that."""
    path = cluster_file.absolute()
    data = YamlSource.read(path).data
    return path.parent / (_written(data if isinstance(data, dict) else {}) or DEFAULT_KEYS)


def keys_given(source: YamlSource, data: Mapping[str, Any], folder: Path) -> tuple[bool, list[Mistake]]:
    """Whether there is a valid key, and what is wrong with the file of keys. Only one that is named must be there."""
    written = _written(data)
    path = folder / (written or DEFAULT_KEYS)
    try:
        return bool(read_keys(path).active(now_utc())), []
    except FileNotFoundError:
        if written is None:
            return False, []
        what = "there is no such file of keys"
        hint = "crema keys new --name app --scopes infer, which makes it; or remove the line"
        return False, [source.mistake(_PLACE, what, got=f'"{written}"', hint=hint)]
    except KeyFileError as error:
        return False, [source.mistake(_PLACE if written else ("coordinator",), str(error))]


def _written(data: Mapping[str, Any]) -> str | None:
    coordinator = data.get("coordinator")
    written = coordinator.get("keys") if isinstance(coordinator, dict) else None
    return written if isinstance(written, str) and written else None
