from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from weaksvr.runtime.cache import SHARES, Cache, cache_folder, cache_limit, open_cache
from weaksvr.runtime.errors import OptionError

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs permissions as POSIX has them")

WORKER = """
import random, sys
from pathlib import Path
from weaksvr.runtime.cache import Cache
cache = Cache(folder=Path(sys.argv[1]), limit_bytes=int(sys.argv[2]))
random.seed(int(sys.argv[3]))
hits = 0
for turn in range(int(sys.argv[4])):
    key = f"key {random.randrange(60)}"
    right = (key * 700).encode()
    found = cache.get(key)
    if found is None:
        cache.put(key, right)
    elif found != right:
        sys.exit(f"wrong value for {key}")
    hits += found is not None
print(hits)
"""


@pytest.fixture
def cache(tmp_path):
    found = open_cache({"WEAKSVR_CACHE": str(tmp_path / "cache")})
    assert found is not None
    return found


def entries(cache):
    return sorted(path for path in cache.folder.glob("?/*") if path.is_file())


def test_what_was_put_is_found(cache):
    cache.put("a", b"one")
    cache.put("b", b"")
    cache.put("a", b"two")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"two", b"", None)
    assert cache.size() == 2 * 4096


@posix_only
def test_entries_are_for_their_user_alone(cache):
    cache.put("a", b"one")
    (entry,) = entries(cache)
    assert entry.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (entry.parent, cache.folder, cache.folder.parent)} == {0o700}


@pytest.mark.parametrize("place", [0, 20, 50, -1])
def test_a_changed_byte_is_seen(cache, place):
    cache.put("key", b"value" * 10)
    (entry,) = entries(cache)
    data = bytearray(entry.read_bytes())
    data[place] ^= 1
    entry.write_bytes(data)
    assert cache.get("key") is None
    cache.put("key", b"new")
    assert cache.get("key") == b"new"


def test_an_incomplete_entry_is_not_used(cache):
    cache.put("key", b"value" * 10)
    (entry,) = entries(cache)
    data = entry.read_bytes()
    for length in range(len(data)):
        entry.write_bytes(data[:length])
        assert cache.get("key") is None


def test_the_entry_of_another_key_is_not_used(cache):
    cache.put("a", b"one")
    (one,) = entries(cache)
    data = one.read_bytes()
    cache.put("b", b"two")
    (other,) = (path for path in entries(cache) if path != one)
    other.write_bytes(data)
    assert cache.get("b") is None


def test_what_was_used_longest_ago_leaves_first(tmp_path):
    share = 5
    cache = Cache(folder=tmp_path, limit_bytes=share * SHARES * 4096)
    together = [key for key in map(str, range(400)) if cache._path(key).parent == cache._path("0").parent][: share + 1]
    for age, key in enumerate(together[:share]):
        cache.put(key, b"value")
        os.utime(cache._path(key), (1000 + age, 1000 + age))
    assert cache.get(together[0]) == b"value"  # now the newest
    cache.put(together[share], b"value")
    assert [cache.get(key) is not None for key in together] == [True, False, True, True, True, True]


def test_the_limit_holds(tmp_path):
    cache = Cache(folder=tmp_path, limit_bytes=SHARES * 4096 * 3)
    for number in range(300):
        cache.put(str(number), bytes(number * 20))
    assert 0 < cache.size() <= cache.limit_bytes
    cache.put("too large", bytes(4096 * 3))
    assert cache.get("too large") is None


def test_temporary_files_of_the_killed_are_swept(cache):
    cache.put("a", b"one")
    (entry,) = entries(cache)
    old, young = entry.with_name("old.tmp"), entry.with_name("young.tmp")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    cache.put("a", b"one")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_disk_that_fails_is_no_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert open_cache({"WEAKSVR_CACHE": str(blocked)}) is None
    cache = Cache(folder=blocked, limit_bytes=2**20)
    cache.put("a", b"one")
    assert (cache.get("a"), cache.size()) == (None, 0)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = Cache(folder=tmp_path, limit_bytes=2**20)
    monkeypatch.setattr(Path, "replace", full)
    cache.put("a", b"one")
    assert cache.get("a") is None
    assert entries(cache) == []


@posix_only
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_not_used(cache, mode):
    environment = {"WEAKSVR_CACHE": str(cache.folder.parent)}
    cache.folder.chmod(mode)
    assert open_cache(environment) is None
    cache.folder.chmod(0o700)
    assert open_cache(environment) == cache


@posix_only
def test_a_link_is_not_used(tmp_path):
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "v1").symlink_to("there")
    assert open_cache({"WEAKSVR_CACHE": str(tmp_path)}) is None


def test_where_it_is(tmp_path, monkeypatch):
    assert cache_folder({"WEAKSVR_CACHE": "off", "XDG_CACHE_HOME": "/x"}) is None
    assert cache_folder({"WEAKSVR_CACHE": str(tmp_path), "XDG_CACHE_HOME": "/x"}) == tmp_path
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "weaksvr"
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder({}) == tmp_path / ".cache" / "weaksvr"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder({}) == tmp_path / "Library" / "Caches" / "weaksvr"
    monkeypatch.setattr(sys, "platform", "win32")
    assert cache_folder({"LOCALAPPDATA": str(tmp_path)}) == tmp_path / "weaksvr" / "cache"


def test_how_large_it_gets(tmp_path):
    assert (cache_limit({}), cache_limit({"WEAKSVR_CACHE_BYTES": "5000"})) == (2**30, 5000)
    assert open_cache({"WEAKSVR_CACHE": str(tmp_path), "WEAKSVR_CACHE_BYTES": "0"}) is None
    for wrong in ("-1", "1 GB", "²"):
        with pytest.raises(OptionError, match=rf"WEAKSVR_CACHE_BYTES is {re.escape(repr(wrong))}; it must be a number"):
            cache_limit({"WEAKSVR_CACHE_BYTES": wrong})


def test_many_processes_some_of_them_killed(tmp_path):
    limit = SHARES * 4096 * 4
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(limit)]

    def start(seed, turns):
        return subprocess.Popen([*command, str(seed), str(turns)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    working = [start(seed, 400) for seed in range(8)]
    doomed = [start(100 + seed, 10**9) for seed in range(8)]
    outputs = [process.communicate(timeout=120) for process in working[:4]]
    for process in doomed:
        assert process.poll() is None  # none of them met a wrong value
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    for process in doomed:
        process.communicate(timeout=60)
    outputs += [process.communicate(timeout=120) for process in working[4:]]
    assert [process.returncode for process in working] == [0] * 8, outputs
    assert all(int(out) > 0 for out, _ in outputs)
    last = start(1000, 600)
    _, error = last.communicate(timeout=60)
    assert last.returncode == 0, error
    temporary = sum(4096 * -(-path.stat().st_size // 4096) for path in tmp_path.glob("?/*.tmp"))
    assert Cache(folder=tmp_path, limit_bytes=limit).size() <= limit + temporary
