from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from weaksvr.runtime.commands.entry import one_line, print_json

PROGRAM = """
import sys, time
import click
from weaksvr.runtime.commands.entry import print_json, run
from weaksvr.runtime.commands.options import json_option, version_option
from weaksvr.runtime.errors import OptionError

@click.command()
@version_option
@click.argument("what")
@json_option
def main(what, *, as_json):
    if what.isdigit():
        return int(what)
    if what == "none":
        click.echo("done")
    if what == "flood":
        for _ in range(100_000):
            click.echo("x" * 50)
    if what == "print":
        print("buffered")
    if what == "name":
        print(sys.argv[0] and "caf\\udce9")
    if what == "wrong":
        raise OptionError("a.mp4: is\\nnot \\x1b[31mgood\\x1b[0m")
    if what == "bug":
        raise KeyError("oops")
    if what == "exit":
        sys.exit(1)
    if what == "interrupt":
        print("ready", flush=True)
        time.sleep(60)
    if what == "memory":
        raise MemoryError
    if what == "nan":
        print_json({"fine": 1, "x": float("nan")})

run(main)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("entry") / "tool"
    path.write_text(PROGRAM)
    return path


def call(program, *arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run([sys.executable, program, *arguments], check=False, timeout=60, **options)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_return_value_is_the_exit_code(program, code):
    found = call(program, str(code))
    assert (found.returncode, found.stdout, found.stderr) == (code, "", "")


def test_none_is_zero(program):
    found = call(program, "none")
    assert (found.returncode, found.stdout) == (0, "done\n")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("wrong", "error: a.mp4: is not \\x1b[31mgood\\x1b[0m"),
        ("bug", "error: unexpected KeyError: 'oops'; rerun with WEAKSVR_TRACEBACK=1 to see where"),
        ("exit", "error: unexpected SystemExit: 1; rerun with WEAKSVR_TRACEBACK=1 to see where"),
        ("memory", "error: out of memory; close other programs, or use fewer or smaller videos at a time"),
        ("nan", "error: unexpected ValueError: "),
    ],
)
def test_trouble_is_one_line_and_code_2(program, what, line):
    found = call(program, what)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith(line)
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["wrong"], "OptionError", r"a.mp4: is not \x1b[31mgood\x1b[0m"),
        (["bug"], "KeyError", "unexpected KeyError: 'oops'; rerun with WEAKSVR_TRACEBACK=1 to see where"),
        (["memory"], "MemoryError", "out of memory; close other programs, or use fewer or smaller videos at a time"),
        ([], "UsageError", "Missing argument 'WHAT'."),
        (["0", "1"], "UsageError", "Got unexpected extra argument (1)"),
    ],
)
def test_trouble_as_a_document(program, arguments, kind, message):
    found = call(program, *arguments, "--json")
    assert found.returncode == 2
    assert found.stderr.endswith(f"rror: {message}\n")
    assert json.loads(found.stdout) == {"schema": "weaksvr.error/1", "error": {"type": kind, "message": message}}
    assert call(program, *arguments).stdout == ""


def test_what_is_no_option_asks_for_no_document(program):
    found = call(program, "--", "--json", "more")
    assert (found.returncode, found.stdout) == (2, "")


def test_a_traceback_for_those_who_ask(program):
    found = call(program, "bug", env={**os.environ, "WEAKSVR_TRACEBACK": "1"})
    assert found.returncode == 2
    assert 'raise KeyError("oops")' in found.stderr
    assert "Traceback" not in call(program, "bug", env={**os.environ, "WEAKSVR_TRACEBACK": "0"}).stderr


def test_usage(program):
    found = call(program)
    assert found.returncode == 2
    assert "Usage: tool" in found.stderr
    assert "Missing argument 'WHAT'" in found.stderr
    assert call(program, "--nonsense").returncode == 2


def test_help_and_version(program):
    import weaksvr

    assert call(program, "--help").stdout.startswith("Usage: tool")
    found = call(program, "--version")
    assert (found.returncode, found.stdout) == (0, f"tool {weaksvr.__version__}\n")


def test_an_interrupt(program):
    process = subprocess.Popen(
        [sys.executable, program, "interrupt"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (2, "error: interrupted\n")


def test_an_interrupt_as_a_document(program):
    process = subprocess.Popen(
        [sys.executable, program, "interrupt", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    assert json.loads(stdout)["error"] == {"type": "Interrupted", "message": "interrupted"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("what", ["none", "print", "flood", "--help", "--version"])
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk(program, what, more):
    with Path("/dev/full").open("w") as full:
        found = call(program, what, *more, stdout=full)
    assert found.returncode == 2
    assert found.stderr == "error: the result cannot be written: No space left on device\n"


@pytest.mark.parametrize("what", ["none", "print", "flood"])
def test_a_reader_that_went_away(program, what):
    reader, writer = os.pipe()
    os.close(reader)
    found = call(program, what, stdout=writer)
    os.close(writer)
    assert found.returncode == 2
    assert found.stderr == "error: the result cannot be written: Broken pipe\n"


def test_no_stdout_at_all(program):
    command = f'"{sys.executable}" "{program}" 1 >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 1
    command = f'"{sys.executable}" "{program}" bug >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 2


def test_names_that_are_no_text(program):
    found = call(program, "name", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (found.returncode, found.stdout) == (0, "caf\\udce9\n")


def test_json_from_numpy_and_paths(capsys):
    document = {"a": np.float32(0.5), "b": np.arange(3), "c": np.int64(7), "d": Path("x/y"), "e": np.bool_(True)}
    print_json(document)
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [0, 1, 2], "c": 7, "d": "x/y", "e": True}


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), np.array([1.0, np.nan])])
def test_json_has_no_nan(capsys, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"x": value})
    assert capsys.readouterr().out == ""


def test_json_of_what_has_none():
    with pytest.raises(TypeError, match="object has no JSON form"):
        print_json({"x": object()})


def test_one_line():
    assert one_line("a\nb\r\nc\x00 ü\udcff") == "a b c\\x00 ü\\udcff"
