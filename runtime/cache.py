"""A folder of small entries that can be computed again: limited in size, shared by processes, never trusted blindly.

An entry is one file, written under a temporary name and renamed, so that it is there as a whole or not at all. It holds
its key and a checksum of everything; what does not match is as good as absent, and is written anew. Nobody waits for
anybody: there are no locks. The entries are spread over `SHARES` folders by the hash of their key. Who writes one looks
at its folder alone, and removes from it what was used longest ago, until it holds no more than its share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from .errors import OptionError

__all__ = [
    "FOLDER_VARIABLE",
    "LIMIT_VARIABLE",
    "OFF",
    "SHARES",
    "Cache",
    "cache_folder",
    "cache_limit",
    "find_cache",
    "is_private",
    "open_cache",
]

OFF: Final = "off"
"""The value of WEAKSVR_CACHE that means none."""

SHARES: Final = 16
"""Folders over which the entries are spread; an entry cannot be larger than this part of the limit."""

DEFAULT_LIMIT: Final = 2**30
FOLDER_VARIABLE, LIMIT_VARIABLE = "WEAKSVR_CACHE", "WEAKSVR_CACHE_BYTES"
_LAYOUT: Final = "v1"
_MAGIC: Final = b"weaksvr cache 1\n"
_BLOCK: Final = 4096  # bytes that even the smallest file takes
_STALE_SECONDS: Final = 600.0  # a temporary file of that age belongs to a process that was killed


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """Entries of bytes by keys of text. Whatever fails on the disk, `get` finds nothing and `put` does nothing.

    Attributes:
        folder: of its own, for this user alone.
        limit_bytes: that all entries together take at most.
    """

    folder: Path
    limit_bytes: int

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, None if it is not there, or is damaged, or another's."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size > self._share:
                    return None
                data = file.read()
        except OSError:
            return None
        head = _head(key)
        start = len(_MAGIC) + hashlib.sha256().digest_size
        body = data[start:]
        if not (data.startswith(_MAGIC) and data[len(_MAGIC) : start] == hashlib.sha256(body).digest()):
            return None
        if not body.startswith(head):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return body[len(head) :]

    def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`, and make room for it; an entry larger than its share is not kept."""
        body = _head(key) + value
        data = _MAGIC + hashlib.sha256(body).digest() + body
        if _blocks(len(data)) > self._share:
            return
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _write(path, data)
            self._make_room(path.parent)

    def size(self) -> int:
        """Bytes that all entries take together."""
        return sum(size for share in range(SHARES) for _, size, _ in _files(self.folder / f"{share:x}"))

    @property
    def _share(self) -> int:
        return self.limit_bytes // SHARES

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / name[0] / name

    def _make_room(self, folder: Path) -> None:
        now = time.time()
        files = sorted(_files(folder))
        total = sum(size for _, size, _ in files)
        for used, size, path in files:
            stale = path.suffix == ".tmp" and now - used > _STALE_SECONDS
            if (total > self._share and path.suffix != ".tmp") or stale:
                with contextlib.suppress(OSError):  # another process was faster
                    path.unlink()
                total -= size


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where the cache is: $WEAKSVR_CACHE, or `weaksvr` where the platform keeps caches. None if it is off."""
    given = environment.get(FOLDER_VARIABLE, "")
    if given == OFF:
        return None
    if given:
        return Path(given).absolute()
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]).absolute() / "weaksvr"
    if sys.platform == "win32" and environment.get("LOCALAPPDATA"):
        return Path(environment["LOCALAPPDATA"]) / "weaksvr" / "cache"
    try:
        home = Path.home()
    except RuntimeError:  # nobody knows the user
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "weaksvr"


def cache_limit(environment: Mapping[str, str]) -> int:
    """Bytes that the cache may take: $WEAKSVR_CACHE_BYTES, or 1 GiB. Raises `OptionError` if it is no number."""
    given = environment.get(LIMIT_VARIABLE, "")
    if not given:
        return DEFAULT_LIMIT
    if not (given.isascii() and given.isdigit()):
        raise OptionError(f"{LIMIT_VARIABLE} is {given!r}; it must be a number of bytes, e.g. {DEFAULT_LIMIT}")
    return int(given)


def find_cache(environment: Mapping[str, str]) -> Cache | None:
    """The cache that the environment asks for, whether it is there or not; None if it is off. Raises `OptionError`."""
    folder, limit = cache_folder(environment), cache_limit(environment)
    return None if folder is None or not limit else Cache(folder=folder / _LAYOUT, limit_bytes=limit)


def open_cache(environment: Mapping[str, str] | None = None) -> Cache | None:
    """The cache that the environment asks for; None if it is off, or cannot be this user's alone.

    Args:
        environment: None is that of the process.

    Raises:
        OptionError: if the limit is no number.
    """
    cache = find_cache(os.environ if environment is None else environment)
    if cache is None:
        return None
    try:
        cache.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        cache.folder.mkdir(mode=0o700, exist_ok=True)
        return cache if is_private(cache.folder) else None
    except OSError:
        return None


def is_private(folder: Path) -> bool:
    """Whether nobody but this user can put entries there, as far as the platform tells. Raises `OSError`."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    return os.name != "posix" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def _head(key: str) -> bytes:
    text = key.encode("utf-8", "surrogatepass")
    return len(text).to_bytes(4, "little") + text


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each file was last used, the bytes that it takes, and its path; nothing where there is no such folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # gone meanwhile
                status = entry.stat(follow_symlinks=False)
                yield status.st_mtime, _blocks(status.st_size), Path(entry.path)


def _write(path: Path, data: bytes) -> None:
    """Not synced to the disk: what a crash leaves incomplete has a wrong checksum. Raises `OSError`."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")  # for this user alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
