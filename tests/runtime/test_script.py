"""Scripts as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weaksvr.runtime.errors import DataError, OptionError
from weaksvr.runtime.script import MAX_SCRIPT_BYTES, Script, ScriptStep, parse_script, read_script


def test_a_script_with_everything(tmp_path: Path) -> None:
    file = tmp_path / "script.txt"
    text = "\ufeff# comment\r\n\r\ntake the cup\r\n  tighten the bolt | max 30s | min 2 s\nrührt um|MIN 0.5s\n"
    file.write_bytes(text.encode())
    script = read_script(file)
    assert script.texts == ("take the cup", "tighten the bolt", "rührt um")
    assert script.path == str(file)
    assert script.steps[1] == ScriptStep(text="tighten the bolt", min_seconds=2.0, max_seconds=30.0)
    assert script.steps[2].min_seconds == 0.5
    assert script.steps[0].max_seconds is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no step"),
        ("# only a comment\n\n", "holds no step"),
        ("stir | quickly", r"line 1: 'quickly' is no duration; write it as in: stir \| min 2s"),
        ("stir\npour | min 2", "line 2: 'min 2' is no duration"),
        ("stir | min 2s | min 3s", "min is given twice"),
        ("stir | min 5s | max 3s", "min 5 s is longer than max 3 s"),
        ("| min 5s", "a step has no text"),
        ("stir |", "'' is no duration"),
        ("stir | min ٢s", "is no duration"),
        ("a\0b", "NUL"),
    ],
)
def test_what_is_no_script(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_script(text, name="script.txt")


def test_files_that_are_no_scripts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_script(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_script(tmp_path)
    with pytest.raises(DataError, match="null"):
        read_script("a\0b")
    (tmp_path / "latin").write_bytes(b"r\xfchren")
    with pytest.raises(DataError, match="not a text file in UTF-8"):
        read_script(tmp_path / "latin")
    (tmp_path / "large").write_bytes(b"x" * (MAX_SCRIPT_BYTES + 1))
    with pytest.raises(DataError, match="is larger than"):
        read_script(tmp_path / "large")


def test_values_that_cannot_be_meant() -> None:
    with pytest.raises(OptionError, match="without steps"):
        Script(steps=())
    with pytest.raises(OptionError, match="not one text"):
        Script.of("stir")
    with pytest.raises(OptionError, match="no text"):
        Script.of([" "])
    with pytest.raises(OptionError, match="finite number"):
        ScriptStep(text="stir", max_seconds=float("nan"))
    assert Script.of(["stir", "pour"]).texts == ("stir", "pour")


@given(st.text())
def test_any_text_without_bounds_is_a_script(text: str) -> None:
    lines = [line.strip() for line in text.splitlines()]
    if any(line and not line.startswith("#") for line in lines) and not set(text) & set("|\0"):
        script = parse_script(text, name="script")
        assert all(step.text.strip() and "\n" not in step.text for step in script.steps)
