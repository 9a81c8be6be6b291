from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.demo.commands.demo import demo
from weaksvr.demo.commands.users import read_users
from weaksvr.runtime.errors import DataError

COMMAND = [sys.executable, "-m", "weaksvr.demo.commands.demo"]


def trouble(*options: str, **variables: str) -> str:
    """The one line on stderr of a command that fails."""
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **variables}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_help_names_what_an_operator_needs():
    text = CliRunner().invoke(demo, ["--help"]).output
    for word in ("--host", "127.0.0.1", "--port", "--auth", "--root-path", "--workers", "--max-mb", "--time-limit"):
        assert word in text


def test_a_port_that_is_taken_is_one_line(tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        line = trouble("--port", port, "--workers", "1", TMPDIR=str(tmp_path))
    assert f"127.0.0.1, port {port}: the page cannot be served there: " in line
    assert list(tmp_path.glob("weaksvr-demo-*")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bundle", "none"), "error: none: "),
        (("--auth", "none"), "error: none: the users cannot be read: No such file or directory; check the file"),
        (("--gallery", "none"), "/none: is no gallery; make one with weaksvr-gallery add"),
        (("--max-mb", "0"), "video_bytes = 0 must be a finite number above 0"),
        (("--time-limit", "nan"), "seconds = nan must be a finite number above 0"),
        (("--host", "no.such.host.invalid"), "no.such.host.invalid, ports 7860 to 7959: the page cannot be served"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path, options, message):
    assert message in trouble(*options, "--workers", "1", TMPDIR=str(tmp_path))
    assert list(tmp_path.glob("weaksvr-demo-*")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"users: holds no user; write one name:password a line"),
        (b"# only words\n\n", r"users: holds no user"),
        (b"ann:x\nben\n", r"users, line 2: is not of the form name:password"),
        (b":secret\n", r"users, line 1: is not of the form name:password"),
        (b"ann:\n", r"users, line 1: is not of the form name:password"),
        (b"ann:x\nann:y\n", r"users, line 2: 'ann' is there twice; give each user one line"),
        (b"\xff\xfe\x00", r"users: the users cannot be read: is not a text file in UTF-8"),
    ],
)
def test_users_that_cannot_be_meant(tmp_path, content, message):
    path = tmp_path / "users"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_users(str(path))
    assert "secret" not in str(caught.value)


def test_users_have_names_and_passwords(tmp_path):
    path = tmp_path / "users"
    path.write_text("# may come in\nann:a:b c\n\n  ben:1  \n")
    assert read_users(str(path)) == (("ann", "a:b c"), ("ben", "1"))
