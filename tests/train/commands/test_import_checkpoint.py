from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
from click.testing import CliRunner
from official_networks import SMALL, SMALL_CLIP, random_state
from weaksvr.runtime.errors import CheckpointError, OptionError
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.commands.import_checkpoint import command

CLIP = "weaksvr-test-imported"
MODULE = [sys.executable, "-m", "weaksvr.train.commands.import_checkpoint"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    config = tmp_path_factory.mktemp("open_clip") / f"{CLIP}.json"
    config.write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(config)
    path = tmp_path_factory.mktemp("published") / "best_model.tar"
    facts = {"epoch": 7, "auc_value": np.float64(0.8081), "wdr_value": float("nan")}
    torch.save({"model_state_dict": random_state(SMALL, seed=0), "optimizer_state_dict1": {}, **facts}, path)
    return path


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


def test_the_summary_for_people(file, tmp_path):
    result = invoke(file, "--out", tmp_path / "run", "--clip", CLIP)
    assert result.return_value == 0, result.output
    sha256 = load_checkpoint(tmp_path / "run").record["imported"]["sha256"]
    assert result.stdout.splitlines() == [
        f"{file}: WeakSVR, {CLIP}, 4 frames a view",
        f"  sha256     {sha256}",
        "  it reports epoch 7, auc_value 0.8081",
        "  tensors    96 used, 4 take no part: TE.patch_to_embedding.weight, TE.patch_to_embedding.bias, "
        "cls_fc.weight, cls_fc.bias",
        "  left out   optimizer_state_dict1, wdr_value",
        f"weights: {tmp_path / 'run' / 'checkpoint'}",
        "it has no data: export it with --pairs FILE, or the bundle has no threshold",
    ]


def test_the_document(file, tmp_path):
    result = invoke(file, "--out", tmp_path / "run", "--clip", CLIP, "--json")
    document = json.loads(result.stdout)
    assert len(document.pop("unused")) == 4
    assert len(document.pop("sha256")) == 64
    assert document == {
        "schema": "weaksvr.import-checkpoint/1",
        "out": str(tmp_path / "run"),
        "file": str(file),
        "network": "WeakSVR",
        "clip": CLIP,
        "num_frames": 4,
        "reported": {"epoch": 7, "auc_value": 0.8081},
        "used": 96,
        "left_out": ["optimizer_state_dict1", "wdr_value"],
    }


def test_the_published_towers_are_the_default(file, tmp_path):
    result = invoke(file, "--out", tmp_path / "run")
    assert isinstance(result.exception, CheckpointError)
    assert "missing: backbone.transformer.resblocks.10" in str(result.exception)


def test_usage(file, tmp_path):
    assert CliRunner().invoke(command, []).exit_code == 2
    assert CliRunner().invoke(command, [str(file)]).exit_code == 2
    assert isinstance(invoke(file, "--out", tmp_path / "run", "--clip", "nothing").exception, OptionError)


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_hostile_file_is_one_line_and_nothing_happens(tmp_path):
    file, out = tmp_path / "best_model.tar", tmp_path / "run"
    torch.save({"model_state_dict": {"a": Runs(tmp_path / "touched")}}, file)
    done = subprocess.run([*MODULE, file, "--out", out], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "its pickle asks for posix.system, which no weights need; nothing of it was run" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["best_model.tar"]
