"""docs/examples.md: every block is run, in order, in a copy of examples/, and prints what is shown."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from weaksvr.runtime.bundle import DEFAULT_BUNDLE

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|text|)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?![\w.])")
TIMING = re.compile(r" in [\d.]+ s \([\d.]+ a second\)")
TOLERANCE = 2e-3


def same_line(found, shown):
    """Whether two lines agree: numbers with a point to a tolerance, how long it took not at all, the rest as it is."""
    one, other = (TIMING.sub("", line.rstrip()) for line in (found, shown))
    numbers = [[float(number) for number in NUMBER.findall(line)] for line in (one, other)]
    return NUMBER.sub("#", one) == NUMBER.sub("#", other) and numbers[0] == pytest.approx(numbers[1], abs=TOLERANCE)


def check(found, shown, what):
    """Compare what was printed with what is shown, in which one line `...` stands for any lines."""
    head, dots, tail = shown, None, []
    if "..." in shown:
        dots = shown.index("...")
        head, tail = shown[:dots], shown[dots + 1 :]
    picked = found if dots is None else [*found[: len(head)], *(found[-len(tail) :] if tail else [])]
    expected = [*head, *tail]
    assert len(picked) == len(expected), (what, found)
    for one, other in zip(picked, expected, strict=True):
        assert same_line(one, other), (what, one, other)


def run_commands(text, folder):
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        name, *arguments = line.split()
        module = f"weaksvr.runtime.commands.{name.removeprefix('weaksvr-')}"
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        assert done.stderr == ""
        check(done.stdout.splitlines(), shown, line)


@pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle")
def test_every_block(tmp_path, monkeypatch):
    pytest.importorskip("lancedb")
    pytest.importorskip("pyarrow")
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", folder)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    printed = ""
    for kind, text in BLOCK.findall((ROOT / "docs" / "examples.md").read_text()):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(compile(text, "docs/examples.md", "exec"), names)
            printed = stream.getvalue()
        elif kind == "text":
            check(printed.splitlines(), text.splitlines(), "python")
        else:
            run_commands(text, folder)


def test_lines_that_differ_are_seen():
    assert same_line("  a  0.1234 x.mp4", "  a  0.1235 x.mp4")
    assert not same_line("  a  0.1234", "  a  0.2234")
    assert not same_line("  a.mp4  0.1", "  b.mp4  0.1")
    with pytest.raises(AssertionError):
        check(["SAME", "more"], ["SAME"], "verify")
