"""The repository is read back by the published schema, and followed by a small interpreter of the documented rules.

The interpreter knows what Triton's documentation and the source of its core say of shapes, batches, `reshape`,
ensembles and warm-up. It is no Triton: nothing here says how the server schedules, or that it starts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from weaksvr.export.triton import refuse_foreign_repository, write_triton
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle, write_manifest
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.errors import BundleError, BundleIntegrityError, DeviceError, OptionError, OutputError
from weaksvr.runtime.preprocess import normalize

TYPES = {"TYPE_FP32": np.dtype(np.float32), "TYPE_INT64": np.dtype(np.int64)}
ONNX_TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "assembly_1.mp4"


@pytest.fixture(scope="session")
def schema():
    """The published schema. Its package would load a whole gRPC client; the generated module needs none."""
    folder = Path(importlib.util.find_spec("tritonclient").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("model_config_pb2", folder / "grpc" / "model_config_pb2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Refused(Exception):  # noqa: N818 - what a server would say
    """The interpreter's word for what Triton would not load or run."""


def fits(config, shape):
    return len(config) == len(shape) and all(-1 in (a, b) or a == b for a, b in zip(config, shape, strict=True))


def trunks(dims):
    """Products of the sizes between variable ones."""
    found = [1]
    for side in dims:
        found = [*found, 1] if side == -1 else [*found[:-1], found[-1] * side]
    return found


def inner(tensor):
    return list(tensor.reshape.shape) if tensor.HasField("reshape") else list(tensor.dims)


@dataclasses.dataclass
class Server:
    """Loads a repository and answers requests, as far as the documented rules say how.

    Attributes:
        configs: by model.
        sessions: by model, of the models that have a network.
        batches: batch sizes that the networks were run with, by model.
    """

    configs: dict
    sessions: dict
    batches: dict

    @classmethod
    def load(cls, repository, schema, *, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
        server = cls({}, {}, {})
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, 1
        for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
            config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="ascii"), schema.ModelConfig())
            versions = [path for path in folder.iterdir() if path.is_dir()]
            if config.name != folder.name or [path.name for path in versions] != ["1"]:
                raise Refused(f"{folder.name}: name or versions")
            server.configs[config.name] = config
            if config.HasField("ensemble_scheduling"):
                if config.platform != "ensemble" or config.instance_group:
                    raise Refused(f"{config.name}: no instance group belongs to an ensemble")
                continue
            if config.backend != "onnxruntime":
                raise Refused(f"{config.name}: backend {config.backend}")
            server.sessions[config.name] = onnxruntime.InferenceSession(
                folder / "1" / "model.onnx", options, providers=["CPUExecutionProvider"]
            )
        for name in server.sessions:
            server._check_network(server.configs[name], schema)
        for config in server.configs.values():
            if config.HasField("ensemble_scheduling"):
                server._check_ensemble(config)
            server._warm_up(config, schema)
        return server

    def _check_network(self, config, schema):
        session = self.sessions[config.name]
        ports = ((config.input, session.get_inputs()), (config.output, session.get_outputs()))
        for tensors, found in ports:
            if {tensor.name for tensor in tensors} != {value.name for value in found}:
                raise Refused(f"{config.name}: names")
            for tensor in tensors:
                (value,) = [value for value in found if value.name == tensor.name]
                if ONNX_TYPES[value.type] != schema.DataType.Name(tensor.data_type):
                    raise Refused(f"{config.name}: type of {tensor.name}")
                if trunks(tensor.dims) != trunks(inner(tensor)):
                    raise Refused(f"{config.name}: different size for dims and reshape of {tensor.name}")
                shape = [side if isinstance(side, int) else -1 for side in value.shape]
                if config.max_batch_size > 0 and shape[0] != -1:
                    raise Refused(f"{config.name}: {tensor.name} has no variable first dimension")
                if not fits([-1] * (config.max_batch_size > 0) + inner(tensor), shape):
                    raise Refused(f"{config.name}: {tensor.name} is {shape} in the model, not {inner(tensor)}")
        if config.HasField("dynamic_batching") and config.max_batch_size == 0:
            raise Refused(f"{config.name}: dynamic batching without batches")

    def _check_ensemble(self, config):
        known = {tensor.name: (config, tensor) for tensor in [*config.input, *config.output]}

        def check(name, other, tensor):
            owner, first = known.setdefault(name, (other, tensor))
            sides = [
                (list(t.dims), [-1] * (c.max_batch_size > 0) + list(t.dims))
                for c, t in ((owner, first), (other, tensor))
            ]
            if first.data_type != tensor.data_type:
                raise Refused(f"{config.name}: inconsistent type of {name}")
            if not any(fits(a, b) for a, b in zip(*sides, strict=True)):
                raise Refused(f"{config.name}: inconsistent shape of {name}: {sides[0][1]} and {sides[1][1]}")

        for step in config.ensemble_scheduling.step:
            model = self.configs[step.model_name]
            if 0 < model.max_batch_size < config.max_batch_size:
                raise Refused(f"{config.name}: batch size")
            if {tensor.name for tensor in model.input} != set(step.input_map):
                raise Refused(f"{config.name}: inputs of {model.name}")
            for tensor in model.input:
                check(step.input_map[tensor.name], model, tensor)
            for tensor in model.output:
                if tensor.name in step.output_map:
                    check(step.output_map[tensor.name], model, tensor)

    def _warm_up(self, config, schema):
        for sample in config.model_warmup:
            if sample.batch_size < 1 or (config.max_batch_size == 0 and sample.batch_size != 1):
                raise Refused(f"{config.name}: batch size of the warm-up")
            inputs = {}
            for name, tensor in sample.inputs.items():
                if not tensor.zero_data:
                    raise Refused(f"{config.name}: warm-up data")
                batch = [sample.batch_size] * (config.max_batch_size > 0)
                inputs[name] = np.zeros([*batch, *tensor.dims], TYPES[schema.DataType.Name(tensor.data_type)])
            self.infer(config.name, inputs)

    def infer(self, name, inputs):
        """A request from outside or from an ensemble."""
        config = self.configs[name]
        if set(inputs) != {tensor.name for tensor in config.input}:
            raise Refused(f"{name}: inputs")
        batched = config.max_batch_size > 0
        for tensor in config.input:
            shape = list(inputs[tensor.name].shape)
            if not fits([-1] * batched + list(tensor.dims), shape):
                raise Refused(f"{name}: unexpected shape {shape} of {tensor.name}")
            if batched and not 1 <= shape[0] <= config.max_batch_size:
                raise Refused(f"{name}: batch of {shape[0]}, the most is {config.max_batch_size}")
        return self._run_ensemble(config, inputs) if name not in self.sessions else self._run_network(config, inputs)

    def _run_network(self, config, inputs):
        batch = [len(next(iter(inputs.values())))] * (config.max_batch_size > 0)
        self.batches.setdefault(config.name, []).extend(batch or [0])
        feed = {}
        for tensor in config.input:
            array = inputs[tensor.name]
            assert -1 not in inner(tensor), "variable sizes are not interpreted"
            feed[tensor.name] = array.reshape(*batch, *inner(tensor)) if tensor.HasField("reshape") else array
        names = [tensor.name for tensor in config.output]
        found = dict(zip(names, self.sessions[config.name].run(names, feed), strict=True))
        for tensor in config.output:
            if not fits([*batch, *inner(tensor)], found[tensor.name].shape):
                raise Refused(f"{config.name}: output {tensor.name} is {found[tensor.name].shape}")
            found[tensor.name] = found[tensor.name].reshape(*batch, *tensor.dims)
        return found

    def _run_ensemble(self, config, inputs):
        there = {name: (array, config.max_batch_size > 0) for name, array in inputs.items()}
        waiting = list(config.ensemble_scheduling.step)
        while waiting:
            ready = [step for step in waiting if set(step.input_map.values()) <= set(there)]
            if not ready:
                raise Refused(f"{config.name}: deadlock")
            for step in ready:
                model = self.configs[step.model_name]
                feed = {t.name: self._handed(*there[step.input_map[t.name]], model, t) for t in model.input}
                found = self.infer(model.name, feed)
                there |= {into: (found[name], model.max_batch_size > 0) for name, into in step.output_map.items()}
                waiting.remove(step)
        missing = {tensor.name for tensor in config.output} - set(there)
        if missing:
            raise Refused(f"{config.name}: outputs {missing} are not set")
        return {tensor.name: self._handed(*there[tensor.name], config, tensor) for tensor in config.output}

    @staticmethod
    def _handed(array, batched, model, tensor):
        """A tensor as it is handed to who takes it, who may count items otherwise than who made it."""
        if (model.max_batch_size > 0) == batched:
            return array
        if not batched:
            return array[None] if fits(tensor.dims, array.shape) else array
        return array[0] if len(array) == 1 and not fits(tensor.dims, array.shape) else array


BASIC = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC


def embedder_of(bundle, precision):
    manifest = bundle.manifest
    backend = OrtBackend(
        bundle,
        device="cpu",
        precision=precision,
        num_threads=1,
        optimization="basic" if precision == "fp16" else "all",
    )
    return Embedder(backend, sampling=manifest.sampling, preprocess=manifest.preprocess)


def through(server, name, sampled, preprocess):
    """What a client does: a request a view, the mean of the vectors, the frames in time order."""
    answers = [server.infer(f"{name}_video", {"frames": normalize(view, preprocess)}) for view in sampled.frames]
    return merged(answers, sampled)


def view_by_view(backend, sampled, preprocess):
    """The same by the bundle's own networks."""
    answers = []
    for view in sampled.frames:
        features = backend.run("vision", {"frames": normalize(view, preprocess)})["features"]
        answers.append(
            {name: array[0] for name, array in backend.run("temporal", {"features": features[None]}).items()}
        )
    return merged(answers, sampled)


def merged(answers, sampled):
    order = np.argsort(sampled.indices, axis=None, kind="stable")
    vector = np.mean([answer["video_vector"] for answer in answers], axis=0)
    return vector, np.concatenate([answer["frame_features"] for answer in answers])[order]


def close(found, expected):
    np.testing.assert_allclose(found[0], expected[0], atol=2e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-5)


@pytest.mark.parametrize("name", ["workbench", "vit"])
@pytest.mark.parametrize(("precision", "device"), [("fp32", "gpu"), ("fp32", "cpu"), ("fp16", "gpu"), ("int8", "cpu")])
def test_the_ensemble_gives_what_the_embedder_gives(
    precise_bundles, dataset, schema, tmp_path, name, precision, device
):
    bundle = precise_bundles[name]
    repository = write_triton(bundle, tmp_path / "repository", precision=precision, device=device)
    assert repository.models == ("test_vision", "test_temporal", "test_text", "test_video")
    level = {"level": BASIC} if precision == "fp16" else {}
    server = Server.load(repository.path, schema, **level)
    embedder = embedder_of(bundle, precision)
    frames = bundle.manifest.sampling.num_frames
    assert set(server.batches["test_vision"]) == {1, frames}
    for clip in dataset.val[:2]:
        sampled = embedder.read(clip.video)
        found = through(server, "test", sampled, bundle.manifest.preprocess)
        assert len(found[1]) == 3 * frames
        close(found, view_by_view(embedder.backend, sampled, bundle.manifest.preprocess))
        if precision != "int8":  # whose ranges depend on what is in a batch
            expected = embedder.embed_sampled(sampled)
            close(found, (expected.vector, expected.frame_features))
    tokens = np.arange(3 * 8, dtype=np.int64).reshape(3, 8)
    tokens = np.pad(tokens, ((0, 0), (0, bundle.manifest.tokenizer.context_length - 8)))
    found = server.infer("test_text", {"tokens": tokens})["text_features"]
    np.testing.assert_allclose(found, embedder.backend.run("text", {"tokens": tokens})["text_features"], atol=2e-5)


def test_the_bundle_that_comes_along(schema, tmp_path):
    bundle = Bundle.open(DEFAULT_BUNDLE)
    name = bundle.manifest.name
    repository = write_triton(bundle, tmp_path / "new" / "repository")
    server = Server.load(repository.path, schema)
    embedder = embedder_of(bundle, "fp32")
    sampled = embedder.read(EXAMPLE)
    expected = embedder.embed_sampled(sampled)
    found = through(server, name, sampled, bundle.manifest.preprocess)
    close(found, (expected.vector, expected.frame_features))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_batches_of_frames(precise_bundles, schema, tmp_path, size, frames):
    bundle = precise_bundles["vit"]
    server = Server.load(write_triton(bundle, tmp_path / "repository").path, schema)
    pixels = normalize(np.resize(frames["vit"], (size, *frames["vit"].shape[1:])), bundle.manifest.preprocess)
    found = server.infer("test_vision", {"frames": pixels})["features"]
    expected = embedder_of(bundle, "fp32").backend.run("vision", {"frames": pixels})["features"]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_more_than_a_batch_is_refused(precise_bundles, schema, tmp_path):
    server = Server.load(write_triton(precise_bundles["vit"], tmp_path / "repository").path, schema)
    with pytest.raises(Refused, match="batch of 65, the most is 64"):
        server.infer("test_vision", {"frames": np.zeros((65, 3, 32, 32), np.float32)})
    with pytest.raises(Refused, match=r"unexpected shape \[5, 3, 32, 32\] of frames"):
        server.infer("test_video", {"frames": np.zeros((5, 3, 32, 32), np.float32)})


@pytest.mark.parametrize(
    ("model", "old", "new", "match"),
    [
        ("temporal", "max_batch_size: 0", "max_batch_size: 8", "temporal: features is .* in the model, not"),
        (
            "temporal",
            "reshape {\n    shape: [ 1, 4,",
            "reshape {\n    shape: [ 2, 4,",
            "different size for dims and resh",
        ),
        ("vision", "max_batch_size: 64", "max_batch_size: 0", "vision: frames is .* in the model, not"),
        ("vision", "max_batch_size: 64", "max_batch_size: 3", "batch of 4, the most is 3"),
        ("vision", "TYPE_FP32", "TYPE_INT64", "type of frames"),
        ("video", "dims: [ 4, 3, 32", "dims: [ 4, 3, 16", "inconsistent shape of frames"),
        ("video", 'value: "frame_features"', 'value: "elsewhere"', "outputs .* are not set"),
        ("text", "test_text", "other", "name or versions"),
    ],
)
def test_the_interpreter_sees_what_is_wrong(precise_bundles, schema, tmp_path, model, old, new, match):
    repository = write_triton(precise_bundles["vit"], tmp_path / "repository").path
    config = repository / f"test_{model}" / "config.pbtxt"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))

    def serve():
        frames = {"frames": np.zeros((4, 3, 32, 32), np.float32)}
        return Server.load(repository, schema).infer("test_video", frames)

    with pytest.raises(Refused, match=match):
        serve()


def test_the_networks_are_the_bundles_own(precise_bundles, tmp_path):
    bundle = precise_bundles["workbench"]
    repository = write_triton(bundle, tmp_path / "repository", precision="int8", device="cpu")
    for role in ("vision", "temporal", "text"):
        network = bundle.manifest.network(role, "int8")
        data = (repository.path / f"test_{role}" / "1" / "model.onnx").read_bytes()
        assert hashlib.sha256(data).hexdigest() == network.sha256 == repository.files[f"test_{role}/1/model.onnx"]
    tokenizer = (repository.path / "test_text" / "tokenizer.json").read_bytes()
    assert hashlib.sha256(tokenizer).hexdigest() == bundle.manifest.tokenizer.sha256
    on_disk = {p.relative_to(repository.path).as_posix(): p for p in repository.path.rglob("*") if p.is_file()}
    listed = json.loads(on_disk.pop("weaksvr.json").read_bytes())
    assert listed["files"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in on_disk.items()}
    assert listed["files"] == repository.files
    assert (listed["schema"], listed["precision"], listed["device"]) == ("weaksvr.triton-repository/1", "int8", "cpu")
    assert list((repository.path / "test_video" / "1").iterdir()) == []
    assert {path.stat().st_mode & 0o777 for path in repository.path.rglob("*") if path.is_dir()} == {0o755}
    assert repository.path.stat().st_mode & 0o777 == 0o755


def test_a_client_finds_what_it_needs(precise_bundles, schema, tmp_path):
    bundle = precise_bundles["vit"]
    manifest = bundle.manifest
    server = Server.load(write_triton(bundle, tmp_path / "repository").path, schema)
    about = {key: value.string_value for key, value in server.configs["test_video"].parameters.items()}
    assert about["weaksvr.name"] == "test"
    assert about["weaksvr.precision"] == "fp32"
    assert about["weaksvr.default_method"] == manifest.default_method
    assert json.loads(about["weaksvr.preprocess"]) == manifest.preprocess.to_json()
    assert json.loads(about["weaksvr.sampling"]) == {"policy": "three-view", "num_frames": 4, "views": 3}
    assert json.loads(about["weaksvr.thresholds"]) == [entry.to_json() for entry in manifest.thresholds]
    text = {key: value.string_value for key, value in server.configs["test_text"].parameters.items()}
    tokenizer = json.loads(text["weaksvr.tokenizer"])
    assert (tokenizer["path"], tokenizer["context_length"]) == ("tokenizer.json", 32)
    for role in ("vision", "temporal", "text"):
        parameters = server.configs[f"test_{role}"].parameters
        network = manifest.network(role, "fp32")
        assert parameters["weaksvr.sha256"].string_value == network.sha256
        assert (parameters["weaksvr.role"].string_value, parameters["weaksvr.opset"].string_value) == (role, "20")


def test_thresholds_are_those_of_the_precision(precise_bundles, schema, tmp_path):
    repository = write_triton(precise_bundles["vit"], tmp_path / "repository", precision="fp16")
    server = Server.load(repository.path, schema, level=BASIC)
    assert server.configs["test_video"].parameters["weaksvr.thresholds"].string_value == "[]"


def test_requests_are_not_joined_where_they_would_change_one_another(precise_bundles, schema, tmp_path):
    bundle = precise_bundles["vit"]
    repository = write_triton(bundle, tmp_path / "repository", precision="int8", device="cpu")
    server = Server.load(repository.path, schema)
    assert server.configs["test_vision"].HasField("dynamic_batching")  # static: its ranges are in the graph
    assert not server.configs["test_text"].HasField("dynamic_batching")
    assert [note.partition(" finds")[0] for note in repository.notes] == ["the temporal network", "the text network"]
    assert write_triton(bundle, tmp_path / "fp32").notes == ()
    tokens = np.zeros((2, 32), np.int64)
    tokens[1] = np.arange(1000, 1032)
    together = server.infer("test_text", {"tokens": tokens})["text_features"][0]
    alone = server.infer("test_text", {"tokens": tokens[:1]})["text_features"][0]
    assert np.abs(together - alone).max() > 1e-4  # this is why


@pytest.mark.parametrize(("device", "kind"), [("cpu", "KIND_CPU"), ("gpu", "KIND_GPU")])
def test_instances_are_placed_on_the_device(precise_bundles, schema, tmp_path, device, kind):
    server = Server.load(write_triton(precise_bundles["vit"], tmp_path / "r", device=device).path, schema)
    for name in server.sessions:
        config = server.configs[name]
        (group,) = config.instance_group
        assert schema.ModelInstanceGroup.Kind.Name(group.kind) == kind
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        tf32 = [(entry.name, dict(entry.parameters)) for entry in accelerators]
        assert tf32 == ([("cuda", {"use_tf32": "0"})] if device == "gpu" else [])
        assert config.HasField("dynamic_batching") == (config.max_batch_size > 0)
    assert server.configs["test_vision"].HasField("dynamic_batching")
    assert server.configs["test_text"].HasField("dynamic_batching")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_the_same_bundle_gives_the_same_bytes(precise_bundles, tmp_path):
    first = write_triton(precise_bundles["vit"], tmp_path / "first")
    again = write_triton(precise_bundles["vit"], tmp_path / "again")
    assert contents(first.path) == contents(again.path)
    assert first.files == again.files


def test_a_repository_of_ours_is_replaced(precise_bundles, tmp_path):
    out = tmp_path / "repository"
    write_triton(precise_bundles["workbench"], out)
    write_triton(precise_bundles["vit"], out, device="cpu")
    assert contents(out) == contents(write_triton(precise_bundles["vit"], tmp_path / "other", device="cpu").path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "repository"]


def test_an_empty_folder_will_do(precise_bundles, tmp_path):
    (tmp_path / "empty").mkdir()
    assert write_triton(precise_bundles["vit"], tmp_path / "empty").path == tmp_path / "empty"


@pytest.mark.parametrize("foreign", ["notes.txt", "model/config.pbtxt", "weaksvr.json"])
def test_a_folder_that_is_something_else_is_refused(precise_bundles, tmp_path, foreign):
    path = tmp_path / "out" / foreign
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "else"}')
    with pytest.raises(
        OutputError, match=r"out: exists and is not just what weaksvr-triton wrote .*; choose a new or empty"
    ):
        write_triton(precise_bundles["vit"], tmp_path / "out")
    assert path.read_text() == '{"schema": "else"}'
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["detector/1/model.onnx", "test_text/2/model.onnx", "test_vision/config.pbtxt"])
def test_a_repository_that_somebody_worked_on_is_refused(precise_bundles, tmp_path, name):
    out = write_triton(precise_bundles["vit"], tmp_path / "out").path
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("by hand")
    with pytest.raises(OutputError, match="is not just what weaksvr-triton wrote"):
        write_triton(precise_bundles["vit"], out)
    assert (out / name).read_text() == "by hand"


def test_a_bundle_is_refused_as_repository(precise_bundles, tmp_path):
    copy = shutil.copytree(precise_bundles["vit"].path, tmp_path / "bundle")
    with pytest.raises(OutputError, match="is not just what weaksvr-triton wrote"):
        write_triton(precise_bundles["vit"], copy)


def test_a_file_a_link_and_a_place_below_a_file_are_refused(precise_bundles, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file: cannot be written to as a folder"):
        write_triton(precise_bundles["vit"], tmp_path / "file")
    with pytest.raises(OutputError, match=r"cannot be made: .*file is not a folder"):
        write_triton(precise_bundles["vit"], tmp_path / "file" / "new")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with pytest.raises(OutputError, match="link: is a link, which cannot be replaced by a folder"):
        write_triton(precise_bundles["vit"], tmp_path / "link")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are of another kind")
def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(OutputError, match="new: cannot be made: no permission to write in"):
        refuse_foreign_repository(tmp_path / "new")


@pytest.mark.parametrize(
    ("choice", "error", "match"),
    [
        ({"precision": "bf16"}, DeviceError, "has no precision 'bf16'; it has fp32, fp16, int8"),
        (
            {"precision": "fp16", "device": "cpu"},
            DeviceError,
            "precision fp16 is for the gpu; use --device gpu, or anot",
        ),
        (
            {"precision": "int8", "device": "gpu"},
            DeviceError,
            "precision int8 is for the cpu; use --device cpu, or anot",
        ),
        ({"device": "tpu"}, OptionError, "device 'tpu' is not known; use one of cpu, gpu"),
    ],
)
def test_what_cannot_be_meant_is_refused(precise_bundles, tmp_path, choice, error, match):
    with pytest.raises(error, match=match):
        write_triton(precise_bundles["vit"], tmp_path / "new" / "out", **choice)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_network_is_refused_and_nothing_is_left(precise_bundles, tmp_path):
    copy = shutil.copytree(precise_bundles["vit"].path, tmp_path / "bundle")
    path = copy / precise_bundles["vit"].manifest.network("temporal", "fp32").path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    old = write_triton(precise_bundles["workbench"], tmp_path / "old").path
    before = contents(old)
    for out in (old, tmp_path / "new" / "repository"):
        with pytest.raises(BundleIntegrityError, match="was changed since the bundle was made"):
            write_triton(Bundle.open(copy, verify=False), out)
    assert contents(old) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bundle", "old"]


def test_sizes_that_the_bundle_does_not_say_are_refused(precise_bundles, tmp_path):
    copy = shutil.copytree(precise_bundles["vit"].path, tmp_path / "bundle")
    manifest = Bundle.open(copy).manifest
    files = []
    for file in manifest.files:
        outputs = tuple(dataclasses.replace(t, shape=("N", "F")) if t.name == "features" else t for t in file.outputs)
        files.append(dataclasses.replace(file, outputs=outputs))
    loose = write_manifest(copy, dataclasses.replace(manifest, files=tuple(files)))
    with pytest.raises(BundleError, match=r"must know the size of features, but the bundle says \['N', 'F'\]"):
        write_triton(loose, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("ViT-B-32/openai", "ViT-B-32-openai"), ("../a b\n", "a-b"), ("模型", "model"), ("x.y_z", "x.y_z")],
)
def test_names_become_names_of_folders(precise_bundles, schema, tmp_path, name, prefix):
    bundle = precise_bundles["vit"]
    named = Bundle(bundle.path, dataclasses.replace(bundle.manifest, name=name))
    repository = write_triton(named, tmp_path / "out")
    assert repository.models[-1] == f"{prefix}_video"
    server = Server.load(repository.path, schema)
    assert server.configs[f"{prefix}_video"].parameters["weaksvr.name"].string_value == name


def test_a_bundle_without_text(precise_bundles, schema, tmp_path):
    bundle = precise_bundles["vit"]
    files = tuple(file for file in bundle.manifest.files if file.role != "text")
    silent = Bundle(bundle.path, dataclasses.replace(bundle.manifest, files=files, tokenizer=None))
    repository = write_triton(silent, tmp_path / "out")
    assert repository.models == ("test_vision", "test_temporal", "test_video")
    Server.load(repository.path, schema)


def test_more_frames_than_a_batch_make_the_batch_larger(precise_bundles, schema, tmp_path):
    bundle = precise_bundles["vit"]
    manifest = bundle.manifest
    frames, files = 100, []
    for file in manifest.files:
        shapes = {
            t.name: tuple(frames if side == 4 else side for side in t.shape) for t in (*file.inputs, *file.outputs)
        }
        inputs, outputs = (
            tuple(dataclasses.replace(t, shape=shapes[t.name]) if file.role == "temporal" else t for t in tensors)
            for tensors in (file.inputs, file.outputs)
        )
        files.append(dataclasses.replace(file, inputs=inputs, outputs=outputs))
    sampling = dataclasses.replace(manifest.sampling, num_frames=frames)
    long = Bundle(bundle.path, dataclasses.replace(manifest, files=tuple(files), sampling=sampling))
    repository = write_triton(long, tmp_path / "out")
    vision = (repository.path / "test_vision" / "config.pbtxt").read_text()
    config = text_format.Parse(vision, schema.ModelConfig())
    assert config.max_batch_size == frames
    assert [sample.batch_size for sample in config.model_warmup] == [1, frames]
    assert math.prod(config.input[0].dims) == 3 * 32 * 32


@pytest.mark.skipif(sys.platform == "win32", reason="limits are of another kind")
def test_a_full_disk_leaves_the_old_repository(precise_bundles, tmp_path):
    out = write_triton(precise_bundles["vit"], tmp_path / "out").path
    before = contents(out)
    limited = "import resource, runpy\nresource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
    command = "runpy.run_module('weaksvr.export.commands.triton', run_name='__main__')"
    arguments = [precise_bundles["workbench"].path, "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", limited + command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert re.search(r"model\.onnx: cannot be written: File too large", done.stderr)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_renamed_keeps_its_name(precise_bundles, tmp_path, monkeypatch):
    out = write_triton(precise_bundles["vit"], tmp_path / "out").path
    before, rename = contents(out), Path.rename

    def failing(path, target):
        if path.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="out: cannot be written: Input/output error"):
        write_triton(precise_bundles["vit"], out, device="cpu")
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
