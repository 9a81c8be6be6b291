from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from weaksvr.runtime.errors import CheckpointError
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import override
from weaksvr.train.distributed import (
    average_gradients,
    gather_indices,
    gather_with_gradient,
    rank,
    start,
    stop,
    world_size,
)
from weaksvr.train.engine import train
from weaksvr.train.presets import preset

PROGRAM = str(Path(__file__).parent / "joined_batch.py")
LOSSES = (
    {"fine": "none", "form": "batch", "train_text": True},
    {"fine": "none", "form": "batch", "train_text": False, "script_negatives": 2, "mask_repeated": False},
    {"fine": "viterbi", "form": "batch", "train_text": True},
    {"fine": "split", "form": "masked", "train_text": True},
    {"fine": "order", "form": "batch", "train_text": True, "script_negatives": 2},
)


@pytest.fixture(scope="module")
def out(data, settings, tmp_path_factory):
    """A folder with what the same step gave in one process and in two, and with a RUN of two processes."""
    folder = tmp_path_factory.mktemp("joined")
    given = [str(data), json.dumps(settings), json.dumps(LOSSES)]
    runpy.run_path(PROGRAM)["main"](*given, str(folder / "one"))
    options = [option for setting in settings for option in ("--set", setting)]
    options += ["--set", "data.batch_size=2", "--set", "optim.accumulate=2", "--json"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, PROGRAM, *given, folder / "two", "--data", data, "--out", folder / "run", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (folder / "run.json").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def results(out):
    """What the one process knows, and what both of two know."""
    return [dict(np.load(out / f"{name}.npz")) for name in ("one.0", "two.0", "two.1")]


@pytest.mark.parametrize("number", range(len(LOSSES)), ids=[f"{loss['fine']}-{loss['form']}" for loss in LOSSES])
def test_two_processes_have_the_loss_and_gradients_of_one_with_the_joined_batch(results, number):
    one, *two = results
    names = [name for name in one if name.startswith(f"{number}.gradient.")]
    assert len(names) > 20
    for each in two:
        assert each.keys() == one.keys()
        np.testing.assert_allclose(each[f"{number}.coarse"], one[f"{number}.coarse"], rtol=0, atol=1e-5)
        for name in names:
            np.testing.assert_allclose(each[name], one[name], rtol=0, atol=1e-5, err_msg=name)
    assert max(np.abs(one[name]).max() for name in names) > 1e-3


def test_rows_are_joined_in_the_order_of_the_processes(results):
    for each in results:
        assert each["gathered"].ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_a_run_of_two_processes_is_one_run(out):
    document = json.loads((out / "run.json").read_text())
    assert document["epochs"] == 2
    assert len((out / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    loaded = load_checkpoint(out / "run")
    assert loaded.record["training"]["processes"] == 2
    assert loaded.record["metrics"] == document["best"]


def test_another_number_of_processes_does_not_resume_it(out, data, settings, tmp_path):
    shutil.copytree(out / "run", tmp_path / "run")
    config = override(preset("workbench"), [*settings, "data.batch_size=2", "optim.accumulate=2"])
    with pytest.raises(CheckpointError, match=r"was written with precision fp32, device cpu, processes 2; resume with"):
        train(data, tmp_path / "run", config, resume=True, device="cpu")


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    start(torch.device("cpu"))
    assert (rank(), world_size()) == (0, 1)
    rows = torch.rand(2, 3, requires_grad=True)
    assert gather_with_gradient(rows) is rows
    assert gather_indices([3, 1]) == [3, 1]
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    average_gradients(layer)
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    stop()
