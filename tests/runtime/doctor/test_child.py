from __future__ import annotations

import json
import os
import sys

import pytest
from weaksvr.runtime.doctor import child
from weaksvr.runtime.doctor.child import Outcome, Probe

DOING = json.dumps({"doing": "counting", "library": "abacus"})


@pytest.fixture
def run_program(tmp_path, monkeypatch):
    """Runs a program in the place of the interpreter that is given the probe."""

    def run(source: str, **limit: float) -> Outcome:
        path = tmp_path / "program"
        path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{source}\n")
        path.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(child.sys, "executable", str(path))
            with Probe("video") as probe:
                return probe.outcome(**limit)

    return run


def test_a_result(run_program):
    found = run_program(f"print({DOING!r}); print('noise'); print('[1]'); print('{{\"result\": {{\"a\": 1}}}}')")
    assert found == Outcome(result={"a": 1})


def test_an_error(run_program):
    found = run_program(f"""print({DOING!r}); print('{{"error": ["DeviceError", "no device"]}}')""")
    assert found == Outcome(kind="DeviceError", library="abacus", reason="counting: no device")


def test_a_crash(run_program):
    found = run_program(f"print({DOING!r}, flush=True); os.kill(os.getpid(), 11)")
    assert found == Outcome(library="abacus", reason="counting: the process crashed with SIGSEGV")


def test_a_crash_with_a_last_word(run_program):
    found = run_program("print('free(): invalid pointer', file=sys.stderr, flush=True); os.abort()")
    assert found.reason == "starting: the process crashed with SIGABRT (free(): invalid pointer)"


def test_an_end_without_a_word(run_program):
    found = run_program(f"print({DOING!r}, flush=True); os._exit(7)")
    assert found == Outcome(library="abacus", reason="counting: the process ended with exit code 7")


def test_what_is_stuck_is_ended(run_program, tmp_path):
    note = tmp_path / "pid"
    program = f"""
with open({str(note)!r} + ".part", "w") as file: file.write(str(os.getpid()))
os.rename({str(note)!r} + ".part", {str(note)!r})
print({DOING!r}, flush=True); time.sleep(600)"""
    found = run_program(program, limit_seconds=3)
    assert found.result is None
    assert found.reason.endswith(": not done after 3 s")
    if note.exists():  # else it had not even started
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)


def test_leaving_early_ends_the_probe(monkeypatch):
    with Probe("video") as probe:
        process = probe._process
        assert process is not None
    assert process.poll() is not None


def test_an_interpreter_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(child.sys, "executable", str(tmp_path / "none"))
    with Probe("video") as probe:
        found = probe.outcome()
    assert found.reason == f"{tmp_path}/none cannot be started: No such file or directory"


def test_the_working_directory_stands_in_for_no_library(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken in')")
    monkeypatch.chdir(tmp_path)
    with Probe("video") as probe:
        found = probe.outcome()
    assert found.result is not None, found.reason
    assert "h264" in found.result["decoders"]
