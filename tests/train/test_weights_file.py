from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from weaksvr.runtime.errors import OptionError
from weaksvr.train.weights_file import load_weights, read_weights


def network(channels=4):
    return nn.Sequential(nn.Conv2d(3, channels, 1), nn.BatchNorm2d(channels), nn.Linear(2, 2))


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in (*first, *second))


@pytest.mark.parametrize("around", [None, "state_dict", "model_state_dict", "model"])
def test_reads_a_state_dict_alone_or_under_the_usual_names(tmp_path, around):
    state = network().state_dict()
    torch.save(state if around is None else {around: state, "epoch": 3}, tmp_path / "weights.pth")
    assert equal(read_weights(tmp_path / "weights.pth"), state)


def test_reads_safetensors(tmp_path):
    state = network().state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    assert equal(read_weights(tmp_path / "weights.safetensors"), state)


def test_says_that_there_is_no_file(tmp_path):
    with pytest.raises(OptionError, match=r"none\.pth: no such file"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
def test_says_that_a_file_is_damaged(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OptionError, match=rf"{name}: is damaged, or"):
        read_weights(tmp_path / name)


def test_says_that_a_file_breaks_off(tmp_path):
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    whole = (tmp_path / "weights.pth").read_bytes()
    (tmp_path / "weights.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OptionError, match="is damaged, or holds more than weights"):
        read_weights(tmp_path / "weights.pth")


class Command:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_runs_no_code_of_a_file(tmp_path):
    (tmp_path / "weights.pth").write_bytes(pickle.dumps({"weight": Command(tmp_path / "made")}))
    with pytest.raises(OptionError, match="nothing of it was run"):
        read_weights(tmp_path / "weights.pth")
    torch.save({"weight": Command(tmp_path / "made")}, tmp_path / "weights.pth")
    with pytest.raises(OptionError, match="nothing of it was run"):
        read_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2], "holds no weights by name"),
        ({}, "holds no weights by name"),
        ({"state_dict": {}}, "holds no weights by name"),
        ({"weight": torch.zeros(2), "epoch": 3}, "what it holds as epoch is not a plain tensor"),
        ({1: torch.zeros(2)}, "what it holds as 1 is not a plain tensor"),
        ({"weight": torch.zeros(2).to_sparse()}, "what it holds as weight is not a plain tensor"),
        (dict.fromkeys("abcde", 0), "what it holds as a, b, c and 2 more is not a plain tensor"),
    ],
)
def test_says_that_a_file_holds_something_else(tmp_path, content, text):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(OptionError, match=text):
        read_weights(tmp_path / "weights.pth")


def test_fills_a_network_and_counts():
    source, target = network(), network()
    classifier = {"head.weight": torch.zeros(9), "head.bias": torch.zeros(9)}
    loaded = load_weights(target, {**source.state_dict(), **classifier}, source="file", leave_out=("head",))
    assert loaded == len(target.state_dict()) == 9
    assert equal(source.state_dict(), target.state_dict())


def test_older_files_do_not_count_batches():
    source, target = network(), network()
    state = {name: tensor for name, tensor in source.state_dict().items() if "num_batches" not in name}
    assert load_weights(target, state, source="file") == 8
    assert torch.equal(source[0].weight, target[0].weight)


def test_converts():
    source, target = network(), network()
    state = {f"old.{name}": tensor for name, tensor in source.state_dict().items()}
    load_weights(
        target,
        state,
        source="file",
        convert=lambda tensors: {name.removeprefix("old."): tensor for name, tensor in tensors.items()},
    )
    assert equal(source.state_dict(), target.state_dict())


def changed(**changes):
    state = {**network().state_dict(), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        (changed(**{"2__bias": None}), "it lacks 2.bias"),
        (changed(head__weight=torch.zeros(2)), "it has besides head.weight"),
        (changed(**{"2__bias": torch.zeros(3)}), r"it has in another size 2.bias \(3,\) for \(2,\)"),
        (changed(**{"2__bias": torch.tensor([0.0, torch.nan])}), "it has numbers that are not finite in 2.bias"),
        ({"other": torch.zeros(2)}, "it lacks 0.weight, 0.bias, 1.weight and 5 more"),
    ],
)
def test_refuses_other_tensors_and_leaves_the_network_as_it_was(tensors, text):
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(OptionError, match="file: the weights are not those of this network: " + text):
        load_weights(target, tensors, source="file")
    assert equal(before, target.state_dict())


def test_says_that_a_conversion_fails():
    def convert(tensors):
        return {"weight": tensors["missing"]}

    with pytest.raises(OptionError, match=r"file: the weights are not those of this network \('missing'\)"):
        load_weights(network(), {"other": torch.zeros(2)}, source="file", convert=convert)
