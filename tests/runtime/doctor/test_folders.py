from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.cache import open_cache
from weaksvr.runtime.doctor.folders import (
    check_bundle_folder,
    check_embedding_cache,
    check_temporary,
    check_weights_cache,
    weights_cache,
)

VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    "given", [{}, *({name: f"/a/{name}"} for name in VARIABLES), {"HF_HOME": "/a", "XDG_CACHE_HOME": "/b"}], ids=str
)
def test_the_weights_cache_is_where_the_hub_keeps_it(given, tmp_path):
    pytest.importorskip("huggingface_hub")
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    program = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    environment = {**clean, "HOME": str(tmp_path), **given}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert weights_cache(given, tmp_path) == Path(done.stdout.strip())


def test_a_cache_that_is_not_there_yet_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "new" / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    finding = check_weights_cache()
    assert finding.state == "ok"
    assert finding.what.startswith(f"{tmp_path}/new/home/hub can be written to (")
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_unknown_is_where_the_hub_looks_too(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}/~/.cache/huggingface/hub" in check_weights_cache().what


@pytest.mark.parametrize(("needed", "state"), [(True, "problem"), (False, "warning")])
def test_no_folder_for_temporary_files(needed, state, monkeypatch):
    def gettempdir():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", gettempdir)
    finding = check_temporary(needed=needed)
    assert (finding.state, finding.remedy) == (state, "export TMPDIR=FOLDER")
    assert finding.why == "No usable temporary directory found in ['/tmp']"


def test_a_bundle_folder_that_cannot_be_written_to_is_a_warning(tmp_path):
    (tmp_path / "file").touch()
    finding = check_bundle_folder(tmp_path / "file")
    assert (finding.state, finding.remedy) == ("warning", "weaksvr-export RUN --out FOLDER")
    assert finding.why == f"trying to write a file in {tmp_path}/file: Not a directory"


def test_a_bundle_folder_is_left_as_it_was(tmp_path):
    assert check_bundle_folder(tmp_path).state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_the_installation_is_not_tried():
    assert check_bundle_folder(DEFAULT_BUNDLE).what == f"{DEFAULT_BUNDLE} (not written to)"


def test_another_spelling_of_the_temporary_folder_is_the_same_folder(tmp_path):
    program = "from weaksvr.runtime.doctor.folders import check_temporary; print(check_temporary(needed=True))"
    environment = {**os.environ, "TMPDIR": f"{tmp_path}/../{tmp_path.name}/"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"what='{tmp_path} can be written to (" in done.stdout


def test_the_cache_of_embeddings_is_told_and_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("WEAKSVR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WEAKSVR_CACHE_BYTES", str(2**21))
    assert check_embedding_cache().what == f"{tmp_path}/cache/v1: 0.0 of at most 2.0 MiB"
    assert list(tmp_path.iterdir()) == []
    cache = open_cache()
    cache.put("key", bytes(100_000))
    finding = check_embedding_cache()
    assert (finding.state, finding.what) == ("ok", f"{tmp_path}/cache/v1: 0.1 of at most 2.0 MiB")
    monkeypatch.setenv("WEAKSVR_CACHE", "off")
    assert check_embedding_cache().what == "are not kept: the cache is off"


def test_a_cache_of_embeddings_that_is_not_used_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("WEAKSVR_CACHE", str(tmp_path))
    open_cache().folder.chmod(0o770)
    finding = check_embedding_cache()
    assert (finding.state, finding.remedy) == ("warning", "export WEAKSVR_CACHE=FOLDER")
    assert finding.why == "the folder belongs to another user, or others may write to it, so it is not used"
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEAKSVR_CACHE", str(tmp_path / "file"))
    assert check_embedding_cache().state == "warning"
    monkeypatch.setenv("WEAKSVR_CACHE_BYTES", "much")
    finding = check_embedding_cache()
    assert (finding.state, finding.why) == ("problem", "WEAKSVR_CACHE_BYTES is 'much'")  # no command would begin
