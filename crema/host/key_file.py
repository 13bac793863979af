"""KeyFile: the API keys of a cluster, in one JSON file of mode 0600 that holds no secret, only what recognises them.

A key is `crema_ID_SECRET`: the id finds its record, and SHA-256 of the whole text is what is stored. The secret has 256
random bits, so that a plain hash is enough. Changes are written whole or not at all; readers never see a part.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from crema.names import is_name

Scope = Literal["infer", "bulk", "metrics", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

FORMAT: Final = 1
PREFIX: Final = "crema_"
# Of one name at once: the one in use and the one that replaces it.
MAX_ACTIVE: Final = 2

# What an unknown id is compared with, so that it takes as long as a wrong secret.
_NOBODY: Final = bytes(32)


class KeyFileError(ValueError):
    """The file was refused, or what was asked of it; the text says why and what to do."""


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key's record. Times are UTC."""

    id: str
    name: str
    """Who it is for. Keys of one name share its limits and its share."""
    sha256: str
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    rate_per_s: float | None = None
    """Photos a second; None: no limit."""
    concurrency: int | None = None
    """Calls in flight at once; None: no limit."""

    def state(self, now: datetime) -> Literal["active", "expired", "revoked"]:
        """What the key is worth at `now`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    def is_active(self, now: datetime) -> bool:
        """Whether it opens anything at `now`."""
        return self.state(now) == "active"


class _File(msgspec.Struct, frozen=True):
    format: int
    keys: tuple[ApiKey, ...]


_decode = msgspec.json.Decoder(_File).decode


class Keys:
    """The records of a file, found by what a caller shows."""

    def __init__(self, records: Sequence[ApiKey] = ()) -> None:
        self.records = tuple(records)
        self._by_id = {key.id: (key, bytes.fromhex(key.sha256)) for key in records}

    def find(self, shown: str) -> ApiKey | None:
        """The record of the key that was shown, whatever its state; takes as long for an unknown key as for a wrong one."""
        key, digest = self._by_id.get(shown[len(PREFIX) : len(PREFIX) + 12], (None, _NOBODY))
        is_it = hmac.compare_digest(hashlib.sha256(shown.encode("utf-8", "replace")).digest(), digest)
        return key if is_it else None

    def active(self, now: datetime) -> list[ApiKey]:
        """Those that open something at `now`."""
        return [key for key in self.records if key.is_active(now)]


def read_keys(path: Path) -> Keys:
    """The keys in the file. Raises FileNotFoundError, and KeyFileError for one that others may read or that is broken."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(f"{path.name} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        mode = status.st_mode & 0o777
        if not is_private(mode, status.st_uid, status.st_gid, os.geteuid(), {os.getegid(), *os.getgroups()}):
            raise KeyFileError(
                f"{path.name} is open to other users (mode {mode:04o}); only its owner may read it: chmod 600 {path}"
            )
        try:
            data = file.read()
        except OSError as error:
            raise KeyFileError(f"{path.name} cannot be read: {error.strerror}") from None
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(
            f"{path.name} is not a file of keys: {error}; restore it, or remove it and make new keys: crema keys new"
        ) from None
    if found.format != FORMAT:
        raise KeyFileError(
            f"{path.name} has format {found.format}; this release knows {FORMAT}: run the same release everywhere"
        )
    for key in found.keys:
        if len(key.sha256) != 64 or not set(key.sha256) <= set("0123456789abcdef"):
            raise KeyFileError(f"{path.name}: the key {key.id} has no SHA-256; revoke it and make a new one")
        for time in (key.created, key.expires, key.revoked):
            if time is not None and time.tzinfo is None:
                raise KeyFileError(f"{path.name}: a time of the key {key.id} has no zone; end it in Z")
    return Keys(found.keys)


def is_private(mode: int, owner: int, group: int, user: int, groups: Collection[int]) -> bool:
    """Whether nobody else can read or change a file of `owner` and `group`, seen by a process of `user` and `groups`.

    One that root owns and lends to one of our groups for reading is private, too: so Kubernetes mounts a Secret for a
    process that is not root.
    """
    if mode & 0o077 == 0:
        return True
    return mode & 0o037 == 0 and owner == 0 and user != 0 and group in groups


class KeyFile:
    """Changes the file at `path`, one change at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Keys:
        """As `read_keys`; a file that is not there holds no keys."""
        try:
            return read_keys(self.path)
        except FileNotFoundError:
            return Keys()

    def new(
        self,
        name: str,
        scopes: Sequence[Scope],
        now: datetime,
        *,
        lasts: timedelta | None = None,
        rate_per_s: float | None = None,
        concurrency: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Add a key: its record, and its text, which is nowhere kept. Raises KeyFileError and OSError."""
        if not is_name(name):
            raise KeyFileError(
                f"{name!r} cannot name a key: 1 to 64 of a-z, 0-9, dot, dash, underscore, beginning with a letter or digit"
            )
        with self._changing() as keys:
            of_name = [key for key in keys.active(now) if key.name == name]
            if len(of_name) >= MAX_ACTIVE:
                raise KeyFileError(
                    f"{name} has {len(of_name)} active keys, which is enough to change from one to the other\n"
                    f"  revoke one first: crema keys revoke {of_name[0].id}"
                )
            key_id = secrets.token_hex(6)
            text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
            key = ApiKey(
                id=key_id,
                name=name,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                scopes=tuple(scope for scope in SCOPES if scope in scopes),
                created=now,
                expires=None if lasts is None else now + lasts,
                rate_per_s=rate_per_s,
                concurrency=concurrency,
            )
            self._write((*keys.records, key))
        return key, text

    def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """End a key for good; one that has ended already stays as it is. Raises KeyFileError and OSError."""
        with self._changing() as keys:
            found = [key for key in keys.records if key.id == key_id]
            if not found:
                raise KeyFileError(f"there is no key with the id {key_id!r}\n  see them: crema keys list")
            revoked = msgspec.structs.replace(found[0], revoked=found[0].revoked or now)
            self._write(tuple(revoked if key.id == key_id else key for key in keys.records))
        return revoked

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Keys]:
        """The keys as they are, while nobody else changes them."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(lock)

    def _write(self, records: tuple[ApiKey, ...]) -> None:
        text = msgspec.json.format(msgspec.json.encode(_File(FORMAT, records)), indent=1) + b"\n"
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        # never readable by others, not even while it is being written
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        new.replace(self.path)


def now_utc() -> datetime:
    """The wall clock, to the second: what keys are dated by."""
    return datetime.now(UTC).replace(microsecond=0)
