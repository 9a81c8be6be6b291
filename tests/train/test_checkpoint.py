from __future__ import annotations

import json
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from weaksvr.runtime.errors import CheckpointError, OutputError
from weaksvr.train.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    save_state,
)


@pytest.fixture
def folder(model, config, tmp_path):
    save_checkpoint(tmp_path / "run" / "checkpoint", model, {"config": config.to_json(), "note": "é"})
    return tmp_path / "run" / "checkpoint"


def header_of(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def rewrite(path, change):
    """Change the settings inside the weights file, and beside it."""
    record = json.loads(header_of(path)["__metadata__"]["weaksvr"])
    record = change(record)
    save_file(load_file(path), path, metadata={"weaksvr": json.dumps(record), "format": "pt"})
    (path.parent / "config.json").write_text(json.dumps(record))


@torch.no_grad()
def test_what_is_saved_is_loaded(folder, model, config):
    for path in (folder, folder.parent):
        loaded = load_checkpoint(path)
        assert loaded.config == config
        assert loaded.folder == folder
        assert loaded.record["note"] == "é"
        assert not loaded.model.training
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], tensor), name
    frames = torch.rand(1, config.data.num_frames, 3, config.data.size, config.data.size)
    for left, right in zip(model.encode_video(frames), loaded.model.encode_video(frames), strict=True):
        assert torch.equal(left, right)


def test_a_checkpoint_is_weights_and_readable_settings(folder):
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json"}
    readable = json.loads((folder / "config.json").read_text())
    assert readable == json.loads(header_of(folder / "model.safetensors")["__metadata__"]["weaksvr"])
    assert readable["schema"] == "weaksvr.checkpoint/1"


def test_saving_again_replaces(folder, model, config):
    save_checkpoint(folder, model, {"config": config.to_json(), "note": "second"})
    assert load_checkpoint(folder).record["note"] == "second"
    assert len(list(folder.iterdir())) == 2


def test_a_folder_without_a_checkpoint(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(
            CheckpointError, match=rf"{path}: holds no checkpoint \(looked for checkpoint.model.safetensors"
        ):
            find_checkpoint(path)


def test_weights_of_another_program(folder):
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model.safetensors: not a file of ours"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x80\x02 this was a pickle"),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    ],
    ids=["empty", "pickle", "cut", "cut in the header", "absurd header"],
)
def test_a_damaged_file(folder, damage):
    damage(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model.safetensors: cannot be read as safetensors .*damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda record: {**record, "schema": "weaksvr.checkpoint/2"},
            r"its schema is 'weaksvr.checkpoint/2', this version",
        ),
        (lambda record: {**record, "schema": "weaksvr.state/1"}, r"its schema is 'weaksvr.state/1'"),
        (lambda record: [record], r"its schema is None"),
        (lambda record: {"schema": record["schema"]}, r"model.safetensors: training settings cannot be read"),
        (
            lambda record: {**record, "config": {**record["config"], "optim": {"speed": 1}}},
            r"unexpected keyword.*'speed'",
        ),
    ],
)
def test_settings_that_this_version_does_not_read(folder, change, message):
    rewrite(folder / "model.safetensors", change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_header_that_is_not_json(folder):
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors", metadata={"weaksvr": "{"})
    with pytest.raises(CheckpointError, match=r"cannot be read as safetensors"):
        load_checkpoint(folder)


def test_edited_settings_are_refused(folder):
    path = folder / "config.json"
    record = json.loads(path.read_text())
    record["config"]["data"]["num_frames"] += 1
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"config.json: its settings are not those the weights were trained with"):
        load_checkpoint(folder)


@pytest.mark.parametrize("content", [None, "{", "[]", b"\xff\xfe"])
def test_settings_that_are_missing_or_unreadable(folder, content):
    path = folder / "config.json"
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    with pytest.raises(CheckpointError, match=r"config.json: (missing or not JSON|its settings are not those)"):
        load_checkpoint(folder)


def test_tensors_of_another_architecture(folder):
    def deeper(record):
        record["config"]["model"]["depth"] += 1
        return record

    rewrite(folder / "model.safetensors", deeper)
    with pytest.raises(
        CheckpointError, match=r"model.safetensors: its tensors are not those of .* as this version builds"
    ):
        load_checkpoint(folder)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(folder, model, config, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device"):
        save_checkpoint(folder, model, {"config": config.to_json()})
    assert (folder / "model.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_state_goes_round_with_the_optimizer(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([{"params": [layer.weight], "lr": 0.5}, {"params": [layer.bias]}], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.rand(4, 3)).square().sum().backward()
        optimizer.step()
    path = tmp_path / "last" / "state.safetensors"
    tensors = {f"model.{name}": tensor for name, tensor in layer.state_dict().items()}
    save_state(path, {**tensors, **optimizer_tensors(optimizer)}, {"epoch": 3, "best": None})
    loaded, record = load_state(path)
    assert (record["epoch"], record["best"]) == (3, None)
    other = torch.nn.Linear(3, 2)
    other.load_state_dict({name: loaded[f"model.{name}"] for name in ("weight", "bias")})
    resumed = torch.optim.AdamW([{"params": [other.weight], "lr": 0.5}, {"params": [other.bias]}], lr=0.1)
    restore_optimizer(resumed, loaded)
    batch = torch.rand(4, 3)
    for network, steps in ((layer, optimizer), (other, resumed)):
        steps.zero_grad()
        network(batch).square().sum().backward()
        steps.step()
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)


def test_state_that_cannot_be_resumed(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"state.safetensors: there is nothing to resume; start without --resume"):
        load_state(tmp_path / "state.safetensors")
    shutil.copy(folder / "model.safetensors", tmp_path / "state.safetensors")
    with pytest.raises(
        CheckpointError, match=r"its schema is 'weaksvr.checkpoint/1', this version reads 'weaksvr.state"
    ):
        load_state(tmp_path / "state.safetensors")
    (tmp_path / "state.safetensors").write_bytes(np.zeros(64, np.uint8).tobytes())
    with pytest.raises(CheckpointError, match=r"state.safetensors: cannot be read as safetensors"):
        load_state(tmp_path / "state.safetensors")
