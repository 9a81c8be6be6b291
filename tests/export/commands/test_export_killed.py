"""The whole command, killed while it replaces a bundle that is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.export.commands.export import command

KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
import weaksvr.export.export, weaksvr.export.pretrained
from weaksvr.export.commands.export import command
from weaksvr.runtime.bundle import Bundle

old, out, *arguments = sys.argv[1:]
moments = {  # before which operation on a file of the folder; `turned` once the new manifest has its name
    "the first file is made": lambda event, values, turned: event == "open" and values[2] & os.O_CREAT,
    "a file gets its name": lambda event, values, turned: event == "os.rename",
    "the new manifest gets its name": lambda event, values, turned: is_turn(event, values),
    "that name is synced": lambda event, values, turned: turned and event == "open",
    "an old file is removed": lambda event, values, turned: event == "os.remove",
}

def is_turn(event, values):
    return event == "os.rename" and str(values[1]).endswith("manifest.json")

seen = {}
for moment, is_now in moments.items():
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(old, out)
    child = os.fork()
    if not child:
        turned = False
        def before(event, values):
            global turned
            if any(isinstance(value, str | Path) and str(value).startswith(out) for value in values):
                if is_now(event, values, turned):
                    os.kill(os.getpid(), signal.SIGKILL)
                turned = turned or is_turn(event, values)
        sys.addaudithook(before)
        command.main([*arguments, "--out", out, "--gate-pairs", "2"], standalone_mode=False)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    asked = Bundle.open(out).manifest.checks["gate"]["pairs"]["asked"]  # every hash is compared
    seen[moment] = ["killed" if os.WIFSIGNALED(status) else "ended", asked]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def few_pairs(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    videos = [data / f"videos/val/000{number}.mp4" for number in range(3)]
    (folder / "few.csv").write_text(f"video_a,video_b,same\n{videos[0]},{videos[1]},1\n{videos[0]},{videos[2]},0\n")
    return folder / "few.csv"


def test_there_is_the_old_bundle_or_the_new_one(runs, few_pairs, tmp_path):
    arguments = [str(runs["workbench"]), "--pairs", str(few_pairs)]
    first = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "old")], standalone_mode=False)
    assert first.exit_code == 0, first.exception
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "old", tmp_path / "out", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "the first file is made": ["killed", 10000],
        "a file gets its name": ["killed", 10000],
        "the new manifest gets its name": ["killed", 10000],
        "that name is synced": ["killed", 2],
        "an old file is removed": ["killed", 2],
    }
    again = CliRunner().invoke(
        command, [*arguments, "--out", str(tmp_path / "out"), "--gate-pairs", "2"], standalone_mode=False
    )
    assert "nothing has changed" in again.stderr  # the last one was complete, but for what is swept now
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"manifest.json", *(entry["path"] for entry in listed(tmp_path / "out"))}


def listed(out):
    manifest = json.loads((out / "manifest.json").read_text())
    return [*manifest["files"], manifest["tokenizer"], *manifest["reports"]]
