from __future__ import annotations

import json
import subprocess
import sys

import published_files as fake
import pytest
from click.testing import CliRunner
from weaksvr.train.commands.check_data import command as check
from weaksvr.train.commands.convert_data import command as convert
from weaksvr.train.commands.source_options import FORMAT_NAMES
from weaksvr.train.datasets.formats import FORMATS

MODULE = "weaksvr.train.commands"


@pytest.fixture
def diving(tmp_path):
    """All lists of Diving48-SV and, of every video, an empty folder."""
    source, frames = tmp_path / "lists", tmp_path / "frames"
    fake.write_diving(source)
    for split in ("train", "val", "test"):
        for line in (source / f"{split}_split.txt").read_text().splitlines():
            (frames / line.split()[0]).mkdir(parents=True, exist_ok=True)
    return ["diving48-sv", str(source), "--videos", str(frames), "--out", str(tmp_path / "data")]


@pytest.fixture
def small(tmp_path):
    """A test list of four videos, and nothing else."""
    fake.write_bank(tmp_path, ["1", "2"])
    rows = [(f"v{n}", str(1 + n // 2)) for n in range(4)]
    fake.write_rows(tmp_path / "test_split.txt", rows)
    fake.write_rows(tmp_path / "test_pairs.txt", fake.pairs_of([(name, f".{label}") for name, label in rows], 2))
    for name, _ in rows:
        (tmp_path / "frames" / name).mkdir(parents=True)
    return tmp_path


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)


def test_names_of_the_formats_are_those_of_the_readers():
    assert set(FORMAT_NAMES) == set(FORMATS)


def test_a_whole_dataset_is_written_with_exit_code_0(diving):
    result = invoke(convert, *diving)
    assert result.return_value == 0
    assert result.stdout.splitlines() == [
        f"{diving[-1]}: diving48-sv",
        "  train.jsonl      6035",
        "  train_pairs.csv  50000",
        "  val.jsonl        3024",
        "  val_pairs.csv    400",
        "  test.jsonl       7938",
        "  test_pairs.csv   1000",
        "note: label_bank.json: 1 labels of the bank without a video here: 30",
    ]


def test_what_is_lost_is_exit_code_1_and_in_the_document(small):
    arguments = ["diving48-sv", small, "--videos", small / "frames", "--out", small / "data", "--json"]
    result = invoke(convert, *arguments)
    assert result.return_value == 1
    document = json.loads(result.stdout)
    assert document["schema"] == "weaksvr.convert-data/1"
    assert document["out"] == str(small / "data")
    assert document["lines"] == {"test.jsonl": 4}
    kinds = {finding["kind"]: finding for finding in document["findings"]}
    assert kinds["file-absent"]["count"] == 4
    assert kinds["label-unknown"] == {
        "kind": "label-unknown",
        "severity": "problem",
        "where": "test_pairs.txt",
        "count": 4,
        "examples": ["line 1", "line 2", "line 3", "line 4"],
    }


def test_check_data_says_the_same_of_the_lists(small):
    result = invoke(check, small, "--format", "diving48-sv", "--videos", small / "frames", "--open", "all", "--json")
    assert result.return_value == 1
    document = json.loads(result.stdout)
    assert document["schema"] == "weaksvr.check-data/1"
    assert document["loses_data"] is True
    assert document["splits"]["test"]["present"] == 4
    kinds = {finding["kind"]: finding["count"] for finding in document["findings"]}
    assert kinds["video-unreadable"] == 4  # the folders are empty
    assert kinds["label-unknown"] == 4


def test_check_data_for_people(data):
    result = invoke(check, data, "--open", "1", "--frames", "8")
    assert result.return_value == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{data}: weaksvr, train.jsonl, val.jsonl, test.jsonl, val_pairs.csv, test_pairs.csv")
    assert lines[1].split()[:3] == ["split", "videos", "present"]
    assert [line.split()[:4] for line in lines[2:5]] == [
        ["train", "12", "12", "12"],
        ["val", "6", "6", "6"],
        ["test", "6", "6", "6"],
    ]
    assert lines[-1] == "no problems"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("check_data", ["gone"], "gone: is no folder; give a dataset folder"),
        ("check_data", ["."], ".: holds no train.jsonl"),
        ("check_data", [".", "--videos", "."], "are of published files; add --format NAME"),
        ("check_data", [".", "--kind", "files"], "are of published files; add --format NAME"),
        ("check_data", [".", "--format", "csv-sv"], "label_bank.json: no such file"),
        ("check_data", [".", "--format", "csv-sv", "--uncut"], "--coin-json and --uncut are of coin-sv alone"),
        ("convert_data", ["csv-sv", ".", "--videos", "gone", "--out", "data"], "gone: is no folder"),
        ("convert_data", ["coin-sv", ".", "--videos", ".", "--out", "data", "--uncut"], "add --coin-json FILE"),
    ],
)
def test_trouble_is_one_line_and_exit_code_2(tmp_path, command, arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", f"{MODULE}.{command}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "good"), [("all", True), ("3", True), ("-1", False), ("some", False)])
def test_how_many_to_open(data, value, good):
    result = CliRunner().invoke(check, [str(data), "--frames", "8", "--open", value])
    assert (result.exit_code != 2) is good
    if not good:
        assert "is neither a number of videos nor 'all'" in result.stderr
