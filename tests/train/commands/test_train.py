from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file

MODULE = "weaksvr.train.commands.train"


@pytest.fixture(scope="session")
def options(settings):
    return [*(option for setting in settings for option in ("--set", setting)), "--device", "cpu"]


def copied(data, folder):
    folder.mkdir()
    (folder / "videos").symlink_to(data / "videos")
    for path in data.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


def assert_trouble(process, message):
    """Exit code 2, nothing on stdout, one line on stderr that says `message`."""
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
    assert option == "--version" or "--fine-loss" in done.stdout


def test_a_run_for_people(commands, data, options, tmp_path):
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", "--epochs", "1", *options)
    # --set is the last word, so two epochs are trained
    assert process.wait() == 0, process.stderr
    assert "trained 2 epochs in" in process.stdout
    assert "best on validation: epoch" in process.stdout
    assert f"weights: {tmp_path / 'run' / 'checkpoint'}" in process.stdout
    assert process.stderr.count("epoch ") == 2
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_json_is_one_document(commands, data, options, tmp_path):
    shown = ["--fine-loss", "none", "--seed", "5", "--json", "--set", "optim.epochs=1"]
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", *options, *shown)
    assert process.wait() == 0, process.stderr
    document = json.loads(process.stdout)
    assert document["schema"] == "weaksvr.train/1"
    assert (document["epochs"], document["device"], document["precision"]) == (1, "cpu", "fp32")
    assert document["out"] == str(tmp_path / "run")
    assert (document["selected_on"], document["selected_by"]) == ("val", "alignment")
    assert "fine" not in document["best"]
    config = json.loads((tmp_path / "run" / "checkpoint" / "config.json").read_text())["config"]
    assert (config["loss"]["fine"], config["optim"]["seed"], config["preset"]) == ("none", 5, "workbench")


def test_the_test_set_selects_on_request(commands, data, options, tmp_path):
    more = ["--select", "test", "--set", "optim.epochs=1"]
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", *options, *more)
    assert process.wait() == 0, process.stderr
    assert "best on the test set: epoch 1, AUC alignment" in process.stdout
    assert "selected on the test set: optimistic, as published" in process.stdout.splitlines()
    assert "selected on the test set: optimistic, as published" in process.stderr.splitlines()
    more += ["--resume", "--json"]
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", *options, *more)
    assert process.wait() == 0, process.stderr
    document = json.loads(process.stdout)
    assert (document["selected_on"], document["best"]["selected_on"]) == ("test", "test")
    assert set(document["best"]["test"]) == {"auc_vector", "auc_alignment"}


def test_a_test_set_that_is_not_there_cannot_select(commands, data, options, tmp_path):
    folder = copied(data, tmp_path / "data")
    for name in ("test.jsonl", "test_pairs.csv"):
        (folder / name).unlink()
    process = commands("weaksvr-train", "--data", folder, "--out", tmp_path / "run", *options, "--select", "test")
    assert_trouble(process, f"{folder}: its test set is not there, but is to select the epoch; add test.jsonl")
    assert not (tmp_path / "run").exists()


def test_init_starts_from_another_run(commands, data, options, run_folder, tmp_path):
    still = [option for name in ("lr", "backbone_lr", "weight_decay") for option in ("--set", f"optim.{name}=0")]
    more = ["--init", run_folder, *still, "--set", "optim.epochs=1"]
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", *options, *more)
    assert process.wait() == 0, process.stderr
    kept, given = (load_file(run / "checkpoint" / "model.safetensors") for run in (tmp_path / "run", run_folder))
    assert all((kept[name] == given[name]).all() for name in given)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "optim.speed=3"], "--set optim.speed=3: optim has no 'speed'; it has optimizer, epochs, lr"),
        (["--set", "lr=3"], "--set lr=3: write section.key=value"),
        (["--set", "optim.lr=fast"], "--set optim.lr=fast: could not convert"),
        (["--set", "model.clip=ViT-Z-1"], "model.clip = 'ViT-Z-1' is not an open_clip model"),
        (["--set", "model.pretrained=nowhere"], "model.pretrained = 'nowhere': no such file"),
        (["--set", "optim.precision=fp16"], "optim.precision=fp16 needs CUDA"),
        (["--preset", "best"], "preset 'best' is not known; did you mean paper"),
        (["--resume"], "there is nothing to resume; start without --resume"),
        (["--init", "nowhere"], "nowhere: holds no checkpoint"),
        (["--init", "nowhere", "--resume"], "--init and --resume exclude one another"),
        (["--set", "data.num_frames=2000", "--set", "data.cache="], "needed; use a longer video"),
        (["--set", "data.samples_per_epoch=1"], "1 training videos an epoch are too few to contrast"),
    ],
)
def test_options_that_cannot_be_meant(commands, data, options, tmp_path, more, message):
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", *options, *more)
    assert_trouble(process, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [["--fine-loss", "best"], ["--epochs", "0"], ["--seed", "-1"], ["--device", "tpu"]])
def test_usage(commands, data, tmp_path, more):
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "run", *more)
    assert process.wait() == 2
    assert f"Invalid value for '{more[0]}'" in process.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_taken(commands, data, options, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path, *options)
    assert_trouble(process, f"{tmp_path}: exists and is not empty; resume it with --resume, or give another --out")
    (tmp_path / "file").write_text("mine")
    process = commands("weaksvr-train", "--data", data, "--out", tmp_path / "file" / "run", *options)
    assert_trouble(process, "run: cannot be created: Not a directory")


@pytest.mark.parametrize(
    ("name", "number", "line", "message"),
    [
        ("train.jsonl", 3, '{"video": "a.mp4", "steps": ["one"', "is not JSON"),
        ("train.jsonl", 1, '{"video": "a.mp4"}', "lacks 'steps'"),
        ("val.jsonl", 2, '{"steps": ["a"]}', "lacks 'video'"),
        ("val_pairs.csv", 4, "a.mp4,b.mp4", "columns"),
    ],
)
def test_a_damaged_line_is_named_by_file_and_number(commands, data, options, tmp_path, name, number, line, message):
    folder = copied(data, tmp_path / "data")
    lines = (folder / name).read_text().splitlines()
    lines[number - 1] = line
    (folder / name).write_text("\n".join(lines))
    process = commands("weaksvr-train", "--data", folder, "--out", tmp_path / "run", *options)
    assert_trouble(process, f"{folder / name}:{number}: ")
    assert message in process.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["missing", "not a video", "cut"])
def test_a_video_that_cannot_be_used_is_named(commands, data, options, tmp_path, kind, workers):
    folder = copied(data, tmp_path / "data")
    lines = (folder / "train.jsonl").read_text().splitlines()
    row = json.loads(lines[4])
    whole = (data / row["video"]).read_bytes()
    content = {"missing": None, "not a video": b"steps\n", "cut": whole[: len(whole) // 3]}[kind]
    if content is not None:
        (folder / "bad.mp4").write_bytes(content)
    lines[4] = json.dumps({**row, "video": "bad.mp4"})
    (folder / "train.jsonl").write_text("\n".join(lines))
    more = ["--set", f"data.workers={workers}", "--set", "data.cache="]
    process = commands("weaksvr-train", "--data", folder, "--out", tmp_path / "run", *options, *more)
    assert_trouble(process, f"{folder / 'bad.mp4'}: ")
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_dataset(commands, options, tmp_path):
    for folder, message in ((tmp_path / "absent", "is no folder"), (tmp_path, "holds no train.jsonl")):
        process = commands("weaksvr-train", "--data", folder, "--out", tmp_path / "run", *options)
        assert_trouble(process, f"{folder}: {message}")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named_with_its_remedy(data, tmp_path):
    code = f"import sys; sys.modules['torch'] = None; from {MODULE} import main; main()"
    command = [sys.executable, "-c", code, "--data", str(data), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: weaksvr-train needs torch, which is not installed: pip install 'weaksvr[train]'\n"
    assert not list(tmp_path.iterdir())
