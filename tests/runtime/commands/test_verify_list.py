from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from weaksvr.runtime.abstention import Abstention
from weaksvr.runtime.commands.verify import verify
from weaksvr.runtime.familiarity import describe_videos


@pytest.fixture
def folder(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "again", "other"):
        shutil.copy(getattr(videos, name), tmp_path / f"{name}.mp4")
    (tmp_path / "bad.mp4").write_text("no video")
    return tmp_path


def invoke(bundle, *arguments):
    return CliRunner().invoke(verify, [*arguments, "--bundle", str(bundle)], standalone_mode=False)


def rows_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["again.mp4"], 0),
        (["again.mp4", "other.mp4"], 1),
        (["again.mp4", "other.mp4", "--reference", "other.mp4"], 0),
        (["again.mp4", "other.mp4", "bad.mp4"], 2),
        (["again.mp4", "--threshold", "0"], 1),
    ],
)
def test_exit_codes(folder, toy_bundle, arguments, code):
    found = invoke(toy_bundle, "--reference", "first.mp4", *arguments)
    assert found.return_value == code


def test_a_list_into_a_file_that_goes_on(folder, toy_bundle):
    Path("list.txt").write_text("again.mp4\nother.mp4\nbad.mp4\n")
    command = [sys.executable, "-m", "weaksvr.runtime.commands.verify", "--bundle", str(toy_bundle)]
    command += ["--reference", "first.mp4", "--list", "list.txt", "--out", "out.csv"]
    first = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert first.returncode == 2
    assert first.stdout.startswith("out.csv: 3 recordings: 1 same, 1 different, 1 failed\n  references first.mp4\n")
    assert first.stderr.startswith("failed: bad.mp4: ")
    assert first.stderr.count("\n") == 1
    assert [row["verdict"] for row in rows_of("out.csv")] == ["same", "different", ""]
    assert rows_of("out.csv")[2]["error"].startswith("bad.mp4: ")
    shutil.copy("first.mp4", "bad.mp4")
    again = invoke(toy_bundle, *command[5:])
    assert again.return_value == 1
    assert "3 recordings: 2 same, 1 different; 2 of them compared before\n" in again.output
    assert [row["verdict"] for row in rows_of("out.csv")] == ["same", "different", "same"]


def test_changed_options_are_refused(folder, toy_bundle):
    arguments = ["--reference", "first.mp4", "again.mp4", "--out", "out.csv"]
    assert invoke(toy_bundle, *arguments).return_value == 0
    before = Path("out.csv").read_bytes()
    for change in (["--threshold", "0.2"], ["--method", "alignment"], ["--reference", "other.mp4"]):
        refused = invoke(toy_bundle, *arguments, *change)
        assert "was begun with other references" in str(refused.exception)
        assert Path("out.csv").read_bytes() == before
    shutil.copy("other.mp4", "first.mp4")  # the same name, another video
    assert "was begun with other references" in str(invoke(toy_bundle, *arguments).exception)
    assert invoke(toy_bundle, *arguments, "--fresh").return_value == 1


def test_a_table_with_parts_as_json(folder, toy_bundle):
    Path("list.csv").write_text("video,start,end\nfirst.mp4,0.6,1.8\nfirst.mp4,,\n")
    part = ["--reference-start", "0.6", "--reference-end", "1.8", "--threshold", "0.000001"]
    found = invoke(toy_bundle, "--reference", "first.mp4", *part, "--list", "list.csv", "--json")
    assert found.return_value == 1
    document = json.loads(found.stdout)
    assert document["schema"] == "weaksvr.verify-many/1"
    assert [row["verdict"] for row in document["recordings"]] == ["same", "different"]
    assert (document["same"], document["different"], document["failed"]) == (1, 1, 0)
    assert document["references"] == ["first.mp4 from 0.6 s to 1.8 s"]


def test_every_recording_is_printed_without_a_file(folder, toy_bundle):
    found = invoke(toy_bundle, "--reference", "first.mp4", "--reference", "other.mp4", "other.mp4", "bad.mp4")
    lines = found.stdout.splitlines()
    assert lines[0].startswith("SAME       0.0000  other.mp4  (nearest: other.mp4)")
    assert lines[1].startswith("FAILED             bad.mp4: ")


def test_parts_of_two_videos(folder, toy_bundle):
    same = ["first.mp4", "first.mp4", "--threshold", "0.000001"]
    assert invoke(toy_bundle, *same).return_value == 0
    assert invoke(toy_bundle, *same, "--start", "1.2").return_value == 1
    assert invoke(toy_bundle, *same, "--start", "1.2", "--reference-start", "1.2").return_value == 0
    assert invoke(toy_bundle, *same, "--end", "1.2", "--reference-end", "1.2").return_value == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "first.mp4"], "give the videos to compare"),
        (["a", "b", "--list", "x"], "need --reference"),
        (["a", "b", "--out", "x"], "need --reference"),
        (["a", "b", "--fresh"], "need --reference"),
        (["a"], "give two videos"),
        (["a", "b", "--start", "3", "--end", "2"], "0 <= start < end"),
        (["--reference", "none.mp4", "first.mp4"], r"none.mp4: no such file"),
        (["--reference", "first.mp4", "--list", "none.txt"], "the list cannot be read"),
        (["--reference", "first.mp4", "again.mp4", "--out", "no/out.csv"], "there is no folder"),
    ],
)
def test_trouble(folder, toy_bundle, arguments, message):
    before = sorted(folder.iterdir())
    assert message in str(invoke(toy_bundle, *arguments).exception)
    assert sorted(folder.iterdir()) == before


def test_undecided_is_an_exit_code_of_its_own(folder, toys):
    features = np.random.default_rng(0).normal(size=(8, 4, 5)).astype(np.float32)
    anything = dataclasses.replace(describe_videos(list(features), [0] * 8), limit=1e9)
    entry = dataclasses.replace(
        toys.threshold("vector", 0.25), abstention=Abstention(low=0.2, high=2.0, familiarity=anything)
    )
    bundle = toys.write(folder / "bundle", thresholds=(entry,))
    found = invoke(bundle, "first.mp4", "other.mp4")
    assert found.return_value == 3
    assert found.stdout.startswith("UNDECIDED\n")
    assert "  note       undecided: the distance is within 0.2000 to 2.0000" in found.stdout
    document = json.loads(invoke(bundle, "first.mp4", "other.mp4", "--json").stdout)
    assert (document["verdict"], document["same"]) == ("undecided", False)
    assert invoke(bundle, "first.mp4", "other.mp4", "--threshold", "0.25").return_value == 1
    many = invoke(bundle, "--reference", "first.mp4", "first.mp4", "other.mp4", "--out", "out.csv")
    assert many.return_value == 3
    assert "2 recordings: 1 same, 1 undecided\n" in many.stdout
    assert [row["verdict"] for row in rows_of("out.csv")] == ["same", "undecided"]
    assert rows_of("out.csv")[1]["notes"].startswith("undecided: ")
