from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.export.commands.export import command
from weaksvr.runtime.bundle import Bundle
from weaksvr.runtime.errors import OptionError
from weaksvr.train.commands.evaluate import command as evaluate
from weaksvr.train.config import override

from ..conftest import make_run

MODULE = [sys.executable, "-m", "weaksvr.export.commands.export"]


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture(scope="module")
def printed(runs, data, tmp_path_factory):
    """What the command prints for people, and the bundle that it wrote."""
    folder = tmp_path_factory.mktemp("printed")
    videos = [data / f"videos/val/000{number}.mp4" for number in range(3)]
    (folder / "few.csv").write_text(f"video_a,video_b,same\n{videos[0]},{videos[1]},1\n{videos[0]},{videos[2]},0\n")
    options = ["--pairs", folder / "few.csv", "--name", "mine", "--description", "Knows little."]
    return invoke(runs["vit"], "--out", folder / "bundle", *options), folder / "bundle"


def test_the_summary_for_people(printed):
    result, out = printed
    assert result.exit_code == 0
    assert result.return_value == 0
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "compared with PyTorch on 3 pairs of 3 real videos (10000 were asked for, these videos make no more)"
    )
    assert re.fullmatch(r"fp32  \d\.\d MB  \d+\.\d ms a video on the cpu  smallest cosine (1\.0{7}|0\.9{7})", lines[1])
    for line, method in zip(lines[2:4], ("vector", "alignment"), strict=True):
        found = re.fullmatch(
            rf" *{method}  AUC (\d\.\d{{4}}) \(PyTorch (\d\.\d{{4}})\)  threshold \d\.\d{{4}}  "
            r"equal error rate \d\.\d{4}  verdicts that flipped 0 \(of all pairs at most 63\.16% with 95 % confidence\)"
            r"  ties \d",
            line,
        )
        assert found, line
        assert found[1] == found[2]
    size = sum(path.stat().st_size for path in out.iterdir() if path.name != "manifest.json")
    manifest = Bundle.open(out).manifest
    assert lines[4:] == [
        f"bundle: {out} ({size / 1e6:.1f} MB), compares by {manifest.default_method} unless told otherwise",
        f"report: {out / manifest.reports[-1].path}",
    ]
    assert result.stderr.splitlines() == [
        "exporting the vision network",
        "exporting the temporal network",
        "exporting the text network",
        "comparing fp32 with PyTorch on 3 videos, 3 pairs",
    ]


def test_the_options_reach_the_bundle(printed):
    manifest = Bundle.open(printed[1]).manifest
    assert (manifest.name, manifest.description) == ("mine", "Knows little.")
    assert manifest.checks["pairs_from"] == "few.csv"
    assert manifest.checks["gate"]["pairs"] == {"asked": 10000, "compared": 3, "labelled": 2, "same": 1, "videos": 3}


def test_what_was_selected_on_the_test_set_is_labelled(configs, tested, tmp_path):
    config = override(configs["vit"], ["optim.select=test"])
    run, out = make_run(tmp_path / "run", tested, config), tmp_path / "bundle"
    told = invoke(run, "--out", out, "--gate-pairs", "3")
    assert told.exit_code == 0
    assert "selected on the test set: optimistic, as published" in told.stdout.splitlines()
    manifest = Bundle.open(out).manifest
    assert manifest.training["selected_on"] == "test"
    assert "Its epoch was selected on the test set" in manifest.description
    kept = invoke(run, "--out", out, "--gate-pairs", "3", "--json")
    assert json.loads(kept.stdout)["selected_on"] == "test"
    evaluated = CliRunner().invoke(evaluate, [str(out), "--data", str(tested)], standalone_mode=False)
    assert evaluated.exit_code == 0
    assert "selected on the test set: optimistic, as published" in evaluated.stdout.splitlines()


def test_help_and_version_load_nothing_heavy():
    for option, expected in (("--help", "nothing is written"), ("--version", "export")):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *MODULE[1:], option],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0
        assert expected in done.stdout
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert "click" in loaded
        assert not loaded & {"torch", "onnx", "onnxruntime", "onnxscript", "open_clip", "av", "numpy", "rich"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["--out", "x"],
        ["run", "--out", "x", "--pairs"],
        ["a", "b"],
        ["run", "--out", "x", "--gate-pairs", "0"],
        ["run", "--out", "x", "--int8-mode", "guess"],
    ],
)
def test_usage(arguments):
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_a_limit_that_cannot_be_meant_is_refused_before_the_work(tmp_path):
    result = invoke(tmp_path, "--out", tmp_path / "x", "--limit", "int8=1")
    assert isinstance(result.exception, OptionError)
    assert str(result.exception).startswith("limit 'int8=1' must be such as int8.flips=0.002")


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("number", "stage", "code"),
    [(signal.SIGINT, "exporting the temporal network", 2), (signal.SIGKILL, "comparing fp32", -signal.SIGKILL)],
    ids=["interrupt", "kill"],
)
def test_whatever_stops_it_the_old_bundle_stays(printed, runs, tmp_path, number, stage, code):
    out = tmp_path / "bundle"
    printed[1].replace(out)
    try:
        before = contents(out)
        process = subprocess.Popen(
            [*MODULE, str(runs["workbench"]), "--out", str(out)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert any(line.startswith(stage) for line in process.stderr)
            process.send_signal(number)
            rest, errors = process.communicate(timeout=60)
        assert (process.returncode, rest) == (code, "")
        if code == 2:
            assert errors.splitlines()[-1] == "error: interrupted"
        assert contents(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    finally:
        out.replace(printed[1])
