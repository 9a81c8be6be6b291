from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from weaksvr.export.claim import claimed
from weaksvr.runtime.errors import OutputError

HOLD = """
import sys
from pathlib import Path
from weaksvr.export.claim import claimed
with claimed(Path(sys.argv[1])) as trouble:
    print(repr(trouble), flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_export_into(out):
    """A process that has claimed `out`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"''\n"
        yield process


def test_a_second_process_is_kept_off_with_one_line(tmp_path):
    out = tmp_path / "deep" / "out"
    with another_export_into(out):
        taken = r"out: another process is exporting into it; wait until that has ended, or choose another folder"
        with pytest.raises(OutputError, match=taken), claimed(out):
            pytest.fail("claimed twice")
        command = [sys.executable, "-m", "weaksvr.export.commands.export", tmp_path / "run", "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"{out}: another process is exporting into it" in done.stderr
        with claimed(tmp_path / "deep" / "other"):  # beside it is free
            pass
    with claimed(out):
        pass
    assert list(tmp_path.iterdir()) == []  # nothing was written, so nothing is left


def test_the_claim_of_a_killed_process_ends_with_it(tmp_path):
    with another_export_into(tmp_path / "out") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with claimed(tmp_path / "out") as trouble:
        assert trouble == ""


def test_what_was_written_stays(tmp_path):
    out = tmp_path / "deep" / "out"
    with claimed(out):
        (out / "manifest.json").write_text("{}")
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


def test_a_folder_that_vanishes_while_it_is_claimed_is_made_again(tmp_path, monkeypatch):
    """As when an export that had made it gives up just then."""
    out, opened = tmp_path / "out", []

    def gone_once_opened(path, flags):
        opened.append(real(path, flags))
        if len(opened) == 1:
            out.rmdir()
        return opened[-1]

    real = os.open
    monkeypatch.setattr(os, "open", gone_once_opened)
    with claimed(out) as trouble:
        assert trouble == ""
        assert out.is_dir()
        assert len(opened) == 2
    assert not out.exists()


def test_a_folder_that_cannot_be_locked_is_used_and_that_is_said(tmp_path, monkeypatch):
    def without_locks(*_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", without_locks)
    with claimed(tmp_path / "out") as trouble:
        assert trouble == "its file system cannot lock a folder (Bad file descriptor)"
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with claimed(tmp_path / "out") as trouble:
        assert trouble == "this system cannot lock a folder"


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(OutputError, match="exists and is not a bundle"), claimed(tmp_path):
        pytest.fail("claimed")
