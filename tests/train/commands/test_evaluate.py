from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

MODULE = "weaksvr.train.commands.evaluate"


def assert_trouble(process, message):
    assert process.wait() == 2, process.stderr
    assert process.stdout == ""
    (line,) = [line for line in process.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_torch(option):
    timed = [sys.executable, "-X", "importtime", "-m", MODULE, option]
    done = subprocess.run(timed, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & {"torch", "open_clip", "onnxruntime", "av"}
    assert option == "--version" or "RUN_OR_BUNDLE" in done.stdout


def test_validation_gives_what_training_wrote(commands, data, run_folder):
    process = commands("weaksvr-evaluate", run_folder, "--data", data, "--split", "val", "--device", "cpu", "--json")
    assert process.wait() == 0, process.stderr
    document = json.loads(process.stdout)
    assert document["schema"] == "weaksvr.evaluate/1"
    assert (document["split"], document["num_videos"], document["num_pairs"]) == ("val", 6, 9)
    assert document["model"] == str(run_folder)
    assert document["ran_on"] == "cpu, PyTorch, fp32, three-view-8"
    assert (document["sampling"], document["selected_on"]) == ("three-view-8", "val")
    assert document["orientation"] == {"positive": "same", "score": "-distance", "perfect": 1.0, "chance": 0.5}
    assert (document["groups"], document["unit"]) == (1, "videos")
    kept = json.loads((run_folder / "checkpoint" / "config.json").read_text())["metrics"]["val"]
    for method in ("vector", "alignment"):
        result = document["methods"][method]
        assert result["auc"] == pytest.approx(kept[f"auc_{method}"], abs=1e-5)
        assert set(result["auc_by_kind"]) == {"swap", "drop", "replace", "repeat"}
        assert (result["threshold"], result["accuracy"]) == (None, None)
        assert set(result["intervals"]) == {"auc", "eer", "wdr"}
        for name, (low, high) in result["intervals"].items():
            assert low <= result[name] <= high


def test_test_split_for_people(commands, data, run_folder):
    process = commands("weaksvr-evaluate", run_folder, "--data", data, "--device", "cpu")
    assert process.wait() == 0, process.stderr
    assert process.stdout.startswith("test: 6 videos, ")
    for word in (
        "AUC: positive = same, score = -distance; 1.0 is perfect, 0.5 chance",
        "vector  AUC",
        "alignment  AUC",
        "equal error rate",
        "WDR",
        "matching  vector: accuracy",
        "matching  alignment: accuracy",
        "within a question",
        "published AUC, of the chosen index: ",
        "0.0 is perfect, 0.5 chance",
        "95 % intervals, bootstrap of videos (too few groups of linked ones to draw: 1)",
        "WDR: distances that tell nothing give 0.",
        "sampling: three-view-8, three views of 8 frames, the published test protocol",
        "ran on: cpu, PyTorch",
    ):
        assert word in process.stdout
    assert "selected on" not in process.stdout


def test_another_sampling_is_said_not_to_be_the_published_one(commands, data, run_folder):
    more = ["--sampling", "uniform", "--split", "val", "--device", "cpu"]
    process = commands("weaksvr-evaluate", run_folder, "--data", data, *more)
    assert process.wait() == 0, process.stderr
    line = "sampling: uniform-8, 8 frames, not the published test protocol, which is three-view"
    assert line in process.stdout.splitlines()


def test_a_run_that_was_selected_on_the_test_set_is_labelled(commands, data, run_folder, tmp_path):
    from weaksvr.train.checkpoint import load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(run_folder)
    record = {name: value for name, value in checkpoint.record.items() if name != "schema"}
    save_checkpoint(tmp_path / "run", checkpoint.model, {**record, "selected_on": "test"})
    process = commands("weaksvr-evaluate", tmp_path / "run", "--data", data, "--device", "cpu")
    assert process.wait() == 0, process.stderr
    assert "selected on the test set: optimistic, as published" in process.stdout.splitlines()
    record = {name: value for name, value in record.items() if name != "metrics"} | {"imported": {}}
    save_checkpoint(tmp_path / "imported", checkpoint.model, record)
    process = commands("weaksvr-evaluate", tmp_path / "imported", "--data", data, "--device", "cpu")
    assert process.wait() == 0, process.stderr
    assert "imported: what chose its epoch is not known" in process.stdout


def test_a_dataset_without_that_split(commands, data, run_folder, tmp_path):
    shutil.copy(data / "train.jsonl", tmp_path)
    process = commands("weaksvr-evaluate", run_folder, "--data", tmp_path, "--device", "cpu")
    assert_trouble(process, f"{tmp_path}: the test split needs pairs")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--backend", "tensorrt"],
            "--backend tensorrt: a RUN is evaluated with PyTorch; export it for other backends",
        ),
        (["--precision", "fp16"], "--precision fp16: a RUN is evaluated in fp32; export it for other precisions"),
        (["--data", "absent"], "absent: is no folder"),
    ],
)
def test_options_that_cannot_be_meant(commands, data, run_folder, more, message):
    process = commands("weaksvr-evaluate", run_folder, "--data", data, "--device", "cpu", *more)
    assert_trouble(process, message)


def test_what_is_neither_a_run_nor_a_bundle(commands, data, tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        process = commands("weaksvr-evaluate", path, "--data", data, "--device", "cpu")
        assert_trouble(process, f"{path}: holds no checkpoint")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: save_file({"a": torch.zeros(2)}, path), "not a file of ours"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "the file is damaged"),
        (lambda path: (path.parent / "config.json").write_text("{}"), "not those the weights were trained with"),
    ],
    ids=["foreign", "damaged", "edited"],
)
def test_a_checkpoint_that_is_not_ours(commands, data, run_folder, tmp_path, damage, message):
    shutil.copytree(run_folder / "checkpoint", tmp_path / "run")
    damage(tmp_path / "run" / "model.safetensors")
    process = commands("weaksvr-evaluate", tmp_path / "run", "--data", data, "--device", "cpu")
    assert_trouble(process, message)


def test_a_missing_extra_is_named_with_its_remedy(data, run_folder):
    code = f"import sys; sys.modules['torch'] = None; from {MODULE} import main; main()"
    command = [sys.executable, "-c", code, str(run_folder), "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: evaluating a RUN needs torch, which is not installed: pip install 'weaksvr[train]'\n"
