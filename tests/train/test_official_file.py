from __future__ import annotations

import collections
import hashlib
import math
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from weaksvr.runtime.errors import CheckpointError
from weaksvr.train.official_file import read_official_file


def saved(path, **changes):
    content = {
        "epoch": 211,
        "optimizer_state_dict1": {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": [{"lr": 5e-4}]},
        "optimizer_state_dict2": {"state": {}, "param_groups": []},
        "auc_value": np.float64(0.8081),
        "wdr_value": np.float32(0.375),
        "loss": torch.tensor(1.5),
        "model_state_dict": collections.OrderedDict(a=torch.arange(4.0), b=torch.tensor(2.0)),
    }
    torch.save({**content, **changes}, path)
    return path


def test_weights_and_numbers_are_read_and_the_rest_is_named(tmp_path):
    path = saved(tmp_path / "best_model.tar")
    found = read_official_file(path)
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {"a": [0.0, 1.0, 2.0, 3.0], "b": 2.0}
    assert found.facts == {"epoch": 211, "auc_value": 0.8081, "wdr_value": 0.375, "loss": 1.5}
    assert found.left_out == ("optimizer_state_dict1", "optimizer_state_dict2")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "value",
    [
        np.float64(-0.1),
        np.float32(1.5),
        np.float16(2.5),
        np.int64(-7),
        np.int32(8),
        np.uint8(200),
        np.array(3.0, ">f8")[()],
    ],
    ids=lambda value: value.dtype.str,
)
def test_numpy_scalars_of_every_common_kind(tmp_path, value):
    path = tmp_path / "model.tar"
    torch.save({"auc_value": value, "model_state_dict": {"a": torch.ones(1)}}, path)
    assert read_official_file(path).facts == {"auc_value": value.item()}


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_scalars_as_older_and_newer_numpy_names_them(tmp_path, module):
    path = tmp_path / "model.tar"
    with zipfile.ZipFile(saved(tmp_path / "here.tar")) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                data, count = re.subn(rb"numpy\._?core\.multiarray", module, data)
                assert count
            target.writestr(name, data)
    assert read_official_file(path).facts["auc_value"] == 0.8081


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before zip"])
def test_both_formats_of_torch(tmp_path, legacy):
    path = tmp_path / "model.tar"
    torch.save({"model_state_dict": {"a": torch.ones(2)}}, path, _use_new_zipfile_serialization=not legacy)
    assert read_official_file(path).tensors["a"].tolist() == [1.0, 1.0]


def test_half_precision_is_widened_and_a_wrapper_taken_off(tmp_path):
    state = {"module.a": torch.tensor([0.1]).half(), "module.module.b": torch.tensor([0.1]).bfloat16()}
    found = read_official_file(saved(tmp_path / "model.tar", model_state_dict=state))
    assert {name: tensor.dtype for name, tensor in found.tensors.items()} == dict.fromkeys(
        ("a", "module.b"), torch.float32
    )
    assert found.tensors["a"].item() == state["module.a"].item()
    assert found.tensors["module.b"].item() == state["module.module.b"].item()


def test_counters_of_batch_normalisation_stay_integers(tmp_path):
    name = "backbone.bn1.num_batches_tracked"
    found = read_official_file(saved(tmp_path / "model.tar", model_state_dict={name: torch.tensor(2**53 + 1)}))
    assert found.tensors[name].dtype == torch.int64
    assert found.tensors[name].item() == 2**53 + 1
    with pytest.raises(
        CheckpointError, match=r"bn1\.num_batches_tracked \(torch\.float32, \(\)\) is not a plain tensor"
    ):
        read_official_file(saved(tmp_path / "model.tar", model_state_dict={name: torch.tensor(1.0)}))


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, np.float64("nan"), "0.8", None, [1.0], torch.ones(2), 10**400, True]
)
def test_what_is_no_number_is_left_out(tmp_path, value):
    found = read_official_file(saved(tmp_path / "model.tar", auc_value=value))
    assert "auc_value" not in found.facts
    assert "auc_value" in found.left_out


def test_attributes_that_a_pickle_gives_to_a_container_change_nothing(tmp_path):
    state = collections.OrderedDict(a=torch.ones(1))
    state._metadata = {}
    state.values = 5
    found = read_official_file(saved(tmp_path / "model.tar", model_state_dict=state))
    assert found.tensors["a"].item() == 1.0


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, "touch {}", r"(posix|nt)\.system"),
        (eval, "open({!r}, 'w')", r"(builtins\.)?eval"),
        (np.fromfile, "{}", r"numpy\.fromfile|numpy\._?core\.\w+\.fromfile"),
    ],
)
@pytest.mark.parametrize("how", ["zip", "before zip", "bare pickle"])
def test_nothing_in_a_file_is_run(tmp_path, function, arguments, name, how):
    touched, path = tmp_path / "touched", tmp_path / "model.tar"
    content = {"model_state_dict": {"a": torch.ones(1)}, "auc_value": Runs(function, arguments.format(str(touched)))}
    if how == "bare pickle":
        path.write_bytes(pickle.dumps({**content, "model_state_dict": {}}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(
        CheckpointError, match=rf"its pickle asks for ({name}), which no weights need; nothing of it was run"
    ):
        read_official_file(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "value",
    [np.array([1.0]), np.str_("x"), np.dtype([("a", "f4")]), collections.deque(), print, np.datetime64("2023-01-01")],
    ids=["array", "text", "structure", "deque", "function", "date"],
)
def test_other_things_than_numbers_are_refused(tmp_path, value):
    with pytest.raises(CheckpointError, match=r"model.tar: (its pickle asks for|is damaged, or no weights of PyTorch)"):
        read_official_file(saved(tmp_path / "model.tar", auc_value=value))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before zip"])
def test_truncated_files(tmp_path, share, legacy):
    whole, path = tmp_path / "whole.tar", tmp_path / "cut.tar"
    state = {"model_state_dict": {"a": torch.rand(100)}}
    torch.save(state, whole, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(CheckpointError, match=r"cut.tar: is damaged, or no weights of PyTorch \(.+\); fetch it again"):
        read_official_file(path)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\x80\x02}.", b"PK\x03\x04", bytes(600)])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "page.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"page.tar: .*\S") as caught:
        read_official_file(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    for path in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(CheckpointError, match=r"no such file; give the best_model.tar of the published code"):
            read_official_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"a": torch.ones(1)}, 3: 4}, r"holds no 'model_state_dict' \(it has state_dict, 3\)"),
        ({"model_state_dict": {}}, r"holds no 'model_state_dict' \(it has model_state_dict\)"),
        ([torch.ones(1)], r"holds no 'model_state_dict' \(it is no dictionary\)"),
        ({"model_state_dict": {"a": 1.0, "b": torch.ones(1)}}, r"what it holds under a is not a tensor"),
        ({"model_state_dict": {3: torch.ones(1)}}, r"what it holds under 3 is not a tensor"),
        (
            {"model_state_dict": {"a": torch.ones(1, dtype=torch.int64)}},
            r"a \(torch.int64, \(1,\)\) is not a plain tensor",
        ),
        (
            {"model_state_dict": {"a": torch.ones(1, dtype=torch.float64)}},
            r"a \(torch.float64, \(1,\)\) is not a plain",
        ),
        ({"model_state_dict": {"a": torch.ones(1).expand(10**12)}}, r"a \(torch.float32, \(1000000000000,\)\) is not"),
        ({"model_state_dict": {"a": torch.eye(2).to_sparse()}}, r"a \(torch.float32, \(2, 2\)\) is not a plain tensor"),
        (
            {"model_state_dict": {"a": torch.ones(2, device="meta")}},
            r"a \(torch.float32, \(2,\)\) is not a plain tensor",
        ),
        ({"model_state_dict": {"a": torch.tensor([1.0, math.nan])}}, r"a holds numbers that are not finite"),
        ({"model_state_dict": {"a": torch.tensor(math.inf)}}, r"a holds numbers that are not finite"),
    ],
)
def test_what_is_no_network(tmp_path, content, message):
    path = tmp_path / "model.tar"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        read_official_file(path)
