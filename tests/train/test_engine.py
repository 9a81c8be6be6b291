from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from weaksvr.runtime.errors import (
    CheckpointError,
    DataError,
    MissingExtraError,
    OptionError,
    OutputError,
    VideoError,
)
from weaksvr.runtime.evaluate import evaluate
from weaksvr.runtime.manifest import read_dataset
from weaksvr.train.checkpoint import load_checkpoint, load_state
from weaksvr.train.config import override
from weaksvr.train.datasets.splits import load_training_data
from weaksvr.train.device import pick_device
from weaksvr.train.engine import Trainer, train
from weaksvr.train.evaluate import checkpoint_embedder
from weaksvr.train.optimizer import learning_rate_factor
from weaksvr.train.progress import Reporter
from weaksvr.train.run_folder import RunFolder

STILL = ["optim.lr=0", "optim.backbone_lr=0", "optim.weight_decay=0"]
CPU = torch.device("cpu")


def metrics_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def untimed(lines):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def dataset_copy(data, folder, *names):
    """The manifests of `data` in another folder, with the same videos."""
    folder.mkdir()
    (folder / "videos").symlink_to(data / "videos")
    for name in names:
        shutil.copy(data / name, folder)
    return folder


# --- what a run leaves


def test_a_run_holds_its_parts(run_folder):
    files = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("tensorboard/events.out.tfevents")}
    assert len(events) == 1
    assert files - events == {
        "checkpoint/model.safetensors",
        "checkpoint/config.json",
        "last/state.safetensors",
        "metrics.jsonl",
    }


def test_metrics_have_a_line_an_epoch(run_folder, config):
    lines = metrics_of(run_folder)
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        facts = {"epoch", "lr", "scale", "seconds", "best", "selected_on", "selected_by"}
        assert set(line) == {"loss", "coarse", "fine", "val", *facts}
        assert set(line["val"]) == {"auc_vector", "auc_alignment"}
        assert all(0 <= value <= 1 for value in line["val"].values())
        weighted = config.loss.coarse_weight * line["coarse"] + config.loss.fine_weight * line["fine"]
        assert line["loss"] == pytest.approx(weighted, abs=1e-4)
    assert lines[0]["seconds"] <= lines[1]["seconds"]


def test_tensorboard_shows_the_metrics(run_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_folder / "tensorboard")).Reload()
    lines = metrics_of(run_folder)
    for name in ("loss", "coarse", "fine", "lr", "scale"):
        scalars = events.Scalars(f"train/{name}")
        assert [scalar.step for scalar in scalars] == [1, 2]
        assert [scalar.value for scalar in scalars] == pytest.approx([line[name] for line in lines])
    for name in ("auc_vector", "auc_alignment"):
        values = [scalar.value for scalar in events.Scalars(f"val/{name}")]
        assert values == pytest.approx([line["val"][name] for line in lines])


def test_the_checkpoint_is_of_the_best_epoch(run_folder, data, config):
    lines = metrics_of(run_folder)
    best = max(lines, key=lambda line: (line["val"]["auc_alignment"], line["val"]["auc_vector"], -line["epoch"]))
    loaded = load_checkpoint(run_folder)
    assert loaded.record["metrics"] == best
    assert [line["epoch"] for line in lines if line["best"]][-1] == best["epoch"]
    assert loaded.config == config
    assert loaded.record["data"]["folder"] == str(data.resolve())
    assert set(loaded.record["data"]["files"]) == {"train.jsonl", "val.jsonl", "val_pairs.csv"}
    assert loaded.record["sampling"] == loaded.model.sampling.to_json()
    assert loaded.record["preprocess"] == loaded.model.preprocess.to_json()
    assert loaded.record["training"] == {"precision": "fp32", "device": "cpu", "processes": 1}
    assert loaded.record["versions"]["torch"] == torch.__version__


def test_the_best_epoch_is_kept_while_later_ones_are_worse(data, config, tmp_path, monkeypatch):
    results = [(0.5, 0.9), (0.7, 0.2), (0.7, 0.3), (0.7, 0.3), (0.6, 1.0)]
    config = override(config, [f"optim.epochs={len(results)}"])
    trainer = Trainer(
        load_training_data(data, val_fraction=0.2, seed=0),
        RunFolder(tmp_path),
        config,
        device=CPU,
        reporter=Reporter.silent(),
    )
    pending = iter(results)

    def validate():
        alignment, vector = next(pending)
        return {"val": {"auc_alignment": alignment, "auc_vector": vector}}

    monkeypatch.setattr(trainer, "_validate", validate)
    summary = trainer.fit()
    assert [line["best"] for line in metrics_of(tmp_path)] == [True, True, True, False, False]
    assert summary.best["epoch"] == 3
    assert load_checkpoint(tmp_path).record["metrics"]["epoch"] == 3


def test_validation_may_be_rare_but_the_last_epoch_has_it(data, config, tmp_path):
    train(data, tmp_path / "run", override(config, ["optim.epochs=3", "optim.eval_every=2", *STILL]), device="cpu")
    assert [line["val"] is not None for line in metrics_of(tmp_path / "run")] == [False, True, True]


def test_a_run_says_what_it_does(data, config, tmp_path):
    printed = io.StringIO()
    small = dataset_copy(data, tmp_path / "data", "train.jsonl")
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    rows = [{**row, "task": None, "procedure": f"p{number % 4}"} for number, row in enumerate(rows)]
    (small / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reporter = Reporter(Console(file=printed, width=200))
    train(small, tmp_path / "run", override(config, ["optim.epochs=1"]), device="cpu", reporter=reporter)
    reporter.close()
    first, second = (line for line in printed.getvalue().splitlines() if line.strip())
    assert first == f"{small}: no val.jsonl, so 6 of 12 videos were set apart for validation (seed 0); 6 are trained on"
    assert second.startswith("epoch 1/1  coarse ")
    assert "  best  " in second


def test_the_test_set_may_select_and_this_is_said_everywhere(data, config, tmp_path):
    printed = io.StringIO()
    reporter = Reporter(Console(file=printed, width=200))
    settings = ["optim.select=test", "optim.select_method=vector"]
    summary = train(data, tmp_path / "run", override(config, settings), device="cpu", reporter=reporter)
    reporter.close()
    lines = metrics_of(tmp_path / "run")
    assert all(set(line["test"]) == set(line["val"]) == {"auc_vector", "auc_alignment"} for line in lines)
    assert {(line["selected_on"], line["selected_by"]) for line in lines} == {("test", "vector")}
    best = max(lines, key=lambda line: (line["test"]["auc_vector"], line["test"]["auc_alignment"], -line["epoch"]))
    assert summary.best["epoch"] == best["epoch"] == [line["epoch"] for line in lines if line["best"]][-1]
    checkpoint = load_checkpoint(tmp_path / "run")
    assert (checkpoint.record["selected_on"], checkpoint.record["metrics"]["epoch"]) == ("test", best["epoch"])
    assert "test_pairs.csv" in checkpoint.record["data"]["files"]
    first, *epochs = (line for line in printed.getvalue().splitlines() if line.strip())
    assert first == "selected on the test set: optimistic, as published"
    assert all("  test AUC vector " in line for line in epochs)
    assert "  best on the test set  " in epochs[0]
    found = evaluate(checkpoint_embedder(checkpoint, device=CPU), read_dataset(data), matching=False)
    for method, numbers in found.methods.items():
        assert numbers.auc == pytest.approx(best["test"][f"auc_{method}"], abs=1e-5)


def test_without_validation_the_test_set_alone_is_looked_at(data, config, tmp_path):
    small = dataset_copy(data, tmp_path / "data", "train.jsonl", "test.jsonl", "test_pairs.csv")
    train(small, tmp_path / "run", override(config, ["optim.select=test", "optim.epochs=1"]), device="cpu")
    (line,) = metrics_of(tmp_path / "run")
    assert line["val"] is None
    assert line["best"]
    assert load_checkpoint(tmp_path / "run").record["metrics"]["test"] == line["test"]


# --- the same seed, the same weights


def tensors_of(out):
    return {**load_file(out / "last" / "state.safetensors"), **load_file(out / "checkpoint" / "model.safetensors")}


def assert_same_run(left, right):
    tensors, others = tensors_of(left), tensors_of(right)
    assert tensors.keys() == others.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []
    assert untimed(metrics_of(left)) == untimed(metrics_of(right))


def new_temporary_file(folder):
    """A condition: a file is being written in `folder` that is not left from an earlier process."""
    before = set(folder.glob(".*.tmp"))
    return lambda: set(folder.glob(".*.tmp")) - before


def epoch_in_metrics(folder, epoch):
    return lambda: any(line["epoch"] == epoch for line in folder.metrics_lines())


def a_moment_later(seconds):
    end = []

    def come():
        end.append(time.monotonic() + seconds)
        return time.monotonic() > end[0]

    return come


MOMENTS = {  # what must be seen before the kill, in order
    "the first state is being written": lambda run: [new_temporary_file(run.state.parent)],
    "the first epoch is being trained": lambda run: [run.state.exists],
    "the first weights are being written": lambda run: [new_temporary_file(run.checkpoint)],
    "an epoch stands in the metrics alone": lambda run: [epoch_in_metrics(run, 2)],
    "a state is being written": lambda run: [epoch_in_metrics(run, 3), new_temporary_file(run.state.parent)],
    "any moment": lambda run: [epoch_in_metrics(run, 3), a_moment_later(0.15)],
}


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(commands, data, settings, tmp_path):
    options = [option for setting in settings for option in ("--set", setting)]
    options += ["--data", data, "--epochs", "5", "--seed", "1"]
    folder = RunFolder(tmp_path / "run")
    kept = {}
    for name, conditions in MOMENTS.items():
        resume = ["--resume"] if folder.state.exists() else []
        process = commands.start("weaksvr-train", "--out", folder.path, *options, *resume)
        if all(map(process.wait_until, conditions(folder))):
            process.kill()
        assert process.wait() in {0, -9}, process.stderr
        kept[name] = load_state(folder.state)[1]["epoch"] if folder.state.exists() else 0
    assert kept["the first epoch is being trained"] == 0, kept
    assert max(kept.values()) in {2, 3}, kept  # or else the optimiser's state was never needed
    for out, resume in ((folder.path, ["--resume"]), (tmp_path / "other", [])):
        process = commands("weaksvr-train", "--out", out, *options, *resume)
        assert process.wait() == 0, process.stderr
    assert_same_run(folder.path, tmp_path / "other")
    assert not list(folder.path.rglob(".*.tmp"))


def test_a_run_that_was_given_weights_and_killed_at_once_still_starts_from_them(
    commands, data, settings, run_folder, tmp_path
):
    options = [option for setting in settings for option in ("--set", setting)]
    options += ["--data", data, "--epochs", "1", "--seed", "1", "--set", "model.train_text=false"]
    folder = RunFolder(tmp_path / "run")
    process = commands.start("weaksvr-train", "--out", folder.path, *options, "--init", run_folder)
    assert process.wait_until(folder.state.exists)
    process.kill()
    assert process.wait() == -9
    for out, more in ((folder.path, ["--resume"]), (tmp_path / "other", ["--init", run_folder])):
        process = commands("weaksvr-train", "--out", out, *options, *more)
        assert process.wait() == 0, process.stderr
    assert_same_run(folder.path, tmp_path / "other")


# --- resuming


@pytest.fixture
def copied_run(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    return tmp_path / "run"


def test_a_finished_run_has_nothing_left_to_do(data, config, copied_run):
    before = tensors_of(copied_run)
    summary = train(data, copied_run, config, resume=True, device="cpu")
    assert (summary.epochs, summary.best["epoch"]) == (2, load_checkpoint(copied_run).record["metrics"]["epoch"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(copied_run).items())


@pytest.mark.parametrize("setting", ["optim.lr=0.5", "optim.epochs=9", "data.batch_size=2", "augment.noise=0.3"])
def test_other_settings_are_not_resumed(data, config, copied_run, setting):
    with pytest.raises(CheckpointError, match=r"state.safetensors: was written with other settings; resume with those"):
        train(data, copied_run, override(config, [setting]), resume=True, device="cpu")


@pytest.mark.parametrize("name", ["train.jsonl", "val.jsonl", "val_pairs.csv"])
def test_changed_data_are_not_resumed(data, config, copied_run, tmp_path, name):
    changed = dataset_copy(data, tmp_path / "changed", "train.jsonl", "val.jsonl", "val_pairs.csv")
    (changed / name).write_text((changed / name).read_text() + "\n")
    with pytest.raises(CheckpointError, match=r"state.safetensors: the data files have changed since; start anew"):
        train(changed, copied_run, config, resume=True, device="cpu")


def test_nothing_to_resume(data, config, tmp_path):
    with pytest.raises(CheckpointError, match=r"run: there is nothing to resume; start without --resume"):
        train(data, tmp_path / "run", config, resume=True, device="cpu")
    assert not list(tmp_path.iterdir())


# --- where a run may begin


def test_a_folder_that_is_not_empty_is_refused(data, config, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r": exists and is not empty; resume it with --resume, or give another --out"):
        train(data, tmp_path, config, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_bad_videos_leave_nothing_behind(data, config, tmp_path):
    broken = dataset_copy(data, tmp_path / "data", "train.jsonl", "val.jsonl", "val_pairs.csv")
    rows = (data / "train.jsonl").read_text().splitlines()
    row = {**json.loads(rows[0]), "video": "absent.mp4"}
    (broken / "train.jsonl").write_text("\n".join([json.dumps(row), *rows[1:]]))
    with pytest.raises(VideoError, match=r"absent.mp4: "):
        train(broken, tmp_path / "run", config, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_training_set_of_one_procedure_needs_validation_files(data, config, tmp_path):
    folder = dataset_copy(data, tmp_path / "data", "train.jsonl")
    rows = (data / "train.jsonl").read_text().splitlines()[:2]
    (folder / "train.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"no val.jsonl, and too few videos to set two of one"):
        train(folder, tmp_path / "run", config, device="cpu")


def test_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"weaksvr-train needs tensorboard.*pip install 'weaksvr\[train\]'"):
        Reporter(None, tensorboard=tmp_path / "tensorboard")
    Reporter(None)


# --- starting from another run


def test_a_run_starts_from_the_weights_of_another(data, config, run_folder, tmp_path):
    config = override(config, ["optim.epochs=1", "optim.seed=9", *STILL])
    train(data, tmp_path / "run", config, init=run_folder, device="cpu")
    given, kept = load_checkpoint(run_folder).model.state_dict(), load_checkpoint(tmp_path / "run").model.state_dict()
    assert [name for name in given if not torch.equal(given[name], kept[name])] == []


def test_frozen_texts_are_encoded_with_the_weights_that_were_given(data, config, run_folder, tmp_path):
    lines = []
    for train_text in (True, False):
        settings = ["optim.epochs=1", "optim.seed=9", f"model.train_text={train_text}", *STILL]
        out = tmp_path / f"run-{train_text}"
        train(data, out, override(config, settings), init=run_folder, device="cpu")
        lines += metrics_of(out)
    assert lines[0]["coarse"] == pytest.approx(lines[1]["coarse"], abs=1e-4)
    assert lines[0]["fine"] == pytest.approx(lines[1]["fine"], abs=1e-4)


def test_weights_of_another_architecture_are_refused(data, config, run_folder, tmp_path):
    deeper = override(config, [f"model.depth={config.model.depth + 1}"])
    with pytest.raises(CheckpointError, match=rf"{run_folder}: its network is not the one asked for: "):
        train(data, tmp_path / "run", deeper, init=run_folder, device="cpu")
    with pytest.raises(CheckpointError, match=r"nowhere: holds no checkpoint"):
        train(data, tmp_path / "run", config, init=tmp_path / "nowhere", device="cpu")
    assert not (tmp_path / "run").exists()


# --- the step


def gradients_of_first_step(data, config, folder, monkeypatch):
    """Gradients as they reach the optimiser, in one epoch of one step."""
    trainer = Trainer(
        load_training_data(data, val_fraction=0.2, seed=0),
        RunFolder(folder),
        config,
        device=CPU,
        reporter=Reporter.silent(),
    )
    found = {}

    def step(number):
        for name, parameter in trainer.model.named_parameters():
            if number == 0 and parameter.grad is not None:
                found[name] = parameter.grad.clone()
        trainer.optimizer.zero_grad()

    monkeypatch.setattr(trainer, "_step", step)
    trainer.folder.create()
    trainer.fit()
    return found


def test_accumulated_gradients_are_those_of_the_larger_batch(data, config, tmp_path, monkeypatch):
    """For the fine loss inside each paragraph; the coarse one contrasts the videos of one batch alone."""
    settings = ["optim.epochs=1", "loss.coarse_weight=0", "loss.fine=split", "loss.form=masked", "optim.clip_norm=0"]
    large = override(config, [*settings, "data.batch_size=12"])
    small = override(config, [*settings, "data.batch_size=3", "optim.accumulate=4"])
    expected = gradients_of_first_step(data, large, tmp_path / "large", monkeypatch)
    found = gradients_of_first_step(data, small, tmp_path / "small", monkeypatch)
    assert found.keys() >= expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_an_accumulated_step_that_is_not_full_is_a_mean_too(data, config, tmp_path, monkeypatch):
    settings = ["optim.epochs=1", "loss.coarse_weight=0", "loss.fine=split", "loss.form=masked", "optim.clip_norm=0"]
    large = override(config, [*settings, "data.batch_size=12"])
    small = override(config, [*settings, "data.batch_size=6", "optim.accumulate=5"])
    expected = gradients_of_first_step(data, large, tmp_path / "large", monkeypatch)
    found = gradients_of_first_step(data, small, tmp_path / "small", monkeypatch)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_towers_have_a_rate_of_their_own_and_frozen_ones_none(data, config, tmp_path):
    def groups(*settings):
        trainer = Trainer(
            load_training_data(data, val_fraction=0.2, seed=0),
            RunFolder(tmp_path),
            override(config, ["optim.lr=0.5", "optim.backbone_lr=0.25", *settings]),
            device=CPU,
            reporter=Reporter.silent(),
        )
        names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
        return {
            group["peak"]: {names[id(parameter)].partition(".")[0] for parameter in group["params"]}
            for group in trainer.optimizer.param_groups
        }

    rest = {"temporal", "logit_scale", "fine_logit_scale"}
    assert groups("model.train_text=true") == {0.5: rest, 0.25: {"vision", "text"}}
    assert groups("model.train_text=false") == {0.5: rest, 0.25: {"vision"}}
    assert groups("model.train_text=false", "model.freeze_vision=true") == {0.5: rest}


def test_rates_warm_up_and_fall_along_a_cosine():
    factors = [learning_rate_factor(step, 14, 4, 0.1) for step in range(14)]
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    for step in range(4, 14):
        cosine = 0.5 * (1 + math.cos(math.pi * (step - 4) / 10))
        assert factors[step] == pytest.approx(0.1 + 0.9 * cosine)
    assert learning_rate_factor(0, 5, 0, 0.0) == 1.0
    assert all(learning_rate_factor(step, 5, 0, 1.0) == 1.0 for step in range(5))
    assert np.diff(factors[3:]).max() <= 0


def test_the_step_clips_the_gradient(data, config, tmp_path):
    trainer = Trainer(
        load_training_data(data, val_fraction=0.2, seed=0),
        RunFolder(tmp_path),
        override(config, ["optim.clip_norm=0.5"]),
        device=CPU,
        reporter=Reporter.silent(),
    )
    parameters = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    norms = []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: norms.append(torch.stack([p.grad.double().norm() for p in parameters]).norm())
    )
    trainer._step(0)
    assert float(norms[0]) == pytest.approx(0.5, rel=1e-3)
    assert all(parameter.grad is None for parameter in parameters)


# --- devices


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_there_is_not():
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(OptionError, match=r"--device cuda: PyTorch sees no CUDA device; use --device cpu"):
        pick_device("cuda")


def test_fp16_needs_cuda(data, config, tmp_path):
    with pytest.raises(OptionError, match=r"optim.precision=fp16 needs CUDA; use bf16, fp32 or auto"):
        train(data, tmp_path / "run", override(config, ["optim.precision=fp16"]), device="cpu")


def test_bf16_is_used_where_it_is_and_refused_where_it_is_not(data, config, tmp_path, monkeypatch):
    once = dataclasses.replace(config.optim, epochs=1, precision="bf16")
    asked = dataclasses.replace(config, optim=once)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    with pytest.raises(OptionError, match=r"optim.precision=bf16: this cpu device has no bf16; use fp32 or auto"):
        train(data, tmp_path / "run", asked, device="cpu")
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    summary = train(data, tmp_path / "run", asked, device="cpu")
    assert summary.precision == "bf16"
    weights = load_checkpoint(tmp_path / "run").model.state_dict()
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in weights.values())
