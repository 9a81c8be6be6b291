"""One bundle, unchanged, in everything that reads ONNX; the functions tested are those of the documented table."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from weaksvr.export.to_onnx import OPSET
from weaksvr.runtime import load
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "plain_bundle.py"
ROLES = ("vision", "temporal", "text")
PRECISIONS = ("fp32", "fp16", "int8")
LIMITS = {"fp32": (1e-4, 0.999999), "fp16": (0.05, 0.9995), "int8": (0.5, 0.99)}
NETWORKS = [
    *((model, precision, role) for model in ("workbench", "vit") for precision in PRECISIONS for role in ROLES),
    *(("default", "fp32", role) for role in ROLES),
]


@pytest.fixture(scope="session")
def consumers():
    """`benchmarks/bench_consumers.py`, which is no package's module."""
    spec = importlib.util.spec_from_file_location("bench_consumers", ROOT / "benchmarks" / "bench_consumers.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def inputs(consumers):
    """Real inputs by role, for a bundle's folder."""
    return functools.cache(lambda folder: consumers.inputs_of(Bundle.open(folder), 64))


@pytest.fixture(scope="module")
def deployed():
    return load(device="cpu", num_threads=1)


@pytest.fixture(params=NETWORKS, ids="-".join)
def network(request, precise_bundles):
    """A bundle and the entry of one of its networks."""
    model, precision, role = request.param
    bundle = Bundle.open(DEFAULT_BUNDLE) if model == "default" else precise_bundles[model]
    return bundle, bundle.manifest.network(role, precision)


@pytest.mark.parametrize(
    ("consumer", "batches"), [("OpenVINO (f32)", (1, 2, 7, 64)), ("ONNX reference evaluator", (1, 2, 7))]
)
def test_it_computes_what_onnx_runtime_does_at_every_batch_size(network, consumers, inputs, consumer, batches):
    bundle, file = network
    rows = inputs(bundle.path)[file.role]
    difference = consumers.compare(bundle.read(file), rows, consumers.RUNNERS[consumer], batches)
    largest, cosine = LIMITS[file.precision]
    assert difference.finite
    assert difference.relative < largest
    assert difference.cosine > cosine


def test_the_checker_and_the_inspector_load_the_file(network, consumers):
    bundle, file = network
    consumers.check(bundle.path / file.path)
    said = consumers.inspect(bundle.path / file.path)
    assert f"ONNX Opset: {OPSET}" in said
    for tensor in (*file.inputs, *file.outputs):
        assert f"{tensor.name} [dtype={tensor.dtype}, shape={tensor.shape}]" in said


def test_opset_version_and_metadata_are_those_of_the_manifest(network):
    bundle, file = network
    model = onnx.load_from_string(bundle.read(file))
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    assert opsets.pop("") == file.opset == OPSET
    assert not {node.domain for node in model.graph.node} - {""}
    metadata = {e.key: e.value for e in model.metadata_props if e.key.startswith("weaksvr.")}
    if bundle.path != DEFAULT_BUNDLE:
        assert metadata == {"weaksvr.name": bundle.path.name}
        return
    manifest = bundle.manifest
    assert metadata.pop("weaksvr.version") == manifest.tools["weaksvr"]
    assert json.loads(metadata.pop("weaksvr.sampling")) == manifest.sampling.to_json()
    assert json.loads(metadata.pop("weaksvr.preprocess")) == manifest.preprocess.to_json()
    assert metadata == {"weaksvr.name": manifest.name, "weaksvr.role": file.role}


def test_no_weight_is_unused_and_the_mask_is_there_once(network):
    bundle, file = network
    graph = onnx.load_from_string(bundle.read(file)).graph
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    masks = [array for array in arrays if array.dtype.kind == "f" and np.isinf(array).any()]
    assert len(masks) == (file.role == "text")


def test_norms_and_activations_are_single_operators(precise_bundles):
    bundle = precise_bundles["vit"]
    for role, gelus, norms in (("vision", 2, 6), ("text", 2, 5)):
        for precision in PRECISIONS:
            graph = onnx.load_from_string(bundle.read(bundle.manifest.network(role, precision))).graph
            kinds = [node.op_type for node in graph.node]
            assert (kinds.count("Gelu"), kinds.count("LayerNormalization")) == (gelus, norms)
            assert not {"Erf", "ReduceMean", "Pow"} & set(kinds)


def test_a_difference_is_seen(consumers, precise_bundles, inputs):
    bundle = precise_bundles["vit"]
    right, wrong = (bundle.read(bundle.manifest.network("vision", precision)) for precision in ("fp32", "int8"))
    rows = inputs(bundle.path)["vision"]
    difference = consumers.compare(right, rows, lambda _: consumers.ort(wrong), (1, 2))
    assert difference.relative > LIMITS["fp32"][0]


def test_a_damaged_file_is_refused(consumers, precise_bundles, tmp_path):
    bundle = precise_bundles["vit"]
    model = onnx.load_from_string(bundle.read(bundle.manifest.network("vision", "fp32")))
    model.graph.node[0].op_type = "Nonsense"
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(onnx.checker.ValidationError, match="No Op registered for Nonsense"):
        consumers.check(tmp_path / "wrong.onnx")
    with pytest.raises(FileNotFoundError, match=r"missing\.onnx"):
        consumers.inspect(tmp_path / "missing.onnx")


def test_openvino_says_in_which_precision_it_computes(consumers, precise_bundles, monkeypatch):
    bundle = precise_bundles["vit"]
    data = bundle.read(bundle.manifest.network("vision", "fp32"))
    monkeypatch.setattr(consumers.openvino.Type, "f32", consumers.openvino.Type.bf16)
    with pytest.raises(RuntimeError, match=r"OpenVINO computes in .*float32.*, not in f32"):
        consumers.openvino_cpu(data)


SIGNALLED = """
import faulthandler, signal, sys, threading
from pathlib import Path
import bench_consumers
faulthandler.enable()  # as pytest does: signals are handled on a stack of their own
models = [bench_consumers.openvino_cpu(Path(sys.argv[1]).read_bytes())]
releasing = threading.Thread(target=models.clear)
releasing.start()
releasing.join()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_process_that_ran_openvino_survives_a_signal(precise_bundles):
    bundle = precise_bundles["vit"]
    path = bundle.path / bundle.manifest.network("temporal", "fp32").path
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", SIGNALLED, path], env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr


def test_the_documented_table_is_the_one_that_was_measured(consumers):
    document = json.loads((ROOT / "benchmarks" / "results" / "consumers.json").read_text())
    text = (ROOT / "docs" / "consumers.md").read_text()
    assert consumers.table(document["rows"]) in text
    assert {name for name, version in document["versions"].items() if f"{name} {version}" not in text} == set()
    assert f"opset {OPSET}" in text
    names = {row["consumer"] for row in document["rows"]}
    assert names == {consumers.REFERENCE, *consumers.RUNNERS, *consumers.LOADERS}
    for row in document["rows"]:
        if "relative" in row:
            largest, cosine = LIMITS[row["precision"]]
            assert row["relative"] < largest
            assert row["cosine"] > cosine
    distances = [row["distances"] for row in document["rows"] if "distances" in row]
    threshold = Bundle.open(DEFAULT_BUNDLE).manifest.threshold("alignment", "fp32", "three-view-16").threshold
    assert len(distances) == 9
    assert all(same < threshold < other for same, other in distances)
    assert f"{threshold:.4f}" in text


@pytest.mark.parametrize("consumer", ["OpenVINO (f32)", "ONNX reference evaluator"])
def test_verdicts_through_a_consumer_are_those_of_the_runtime(consumers, deployed, consumer):
    bundle = deployed.bundle
    files = {role: bundle.read(bundle.manifest.network(role, "fp32")) for role in ("vision", "temporal")}
    found = consumers.example_distances(bundle, files, consumers.RUNNERS[consumer], "fp32")
    first, *others = (ROOT / "examples" / f"{name}.mp4" for name in consumers.PAIRS)
    assert found == pytest.approx([deployed.verify(first, other).distance for other in others], abs=1e-5)


def plain(*arguments):
    """Run the plain script where `weaksvr` cannot be imported."""
    hidden = f"import runpy, sys\nsys.modules['weaksvr'] = None\nsys.argv = {['plain', *map(str, arguments)]!r}\n"
    run = f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", hidden + run], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def test_the_plain_script_imports_nothing_of_ours():
    tree = ast.parse(SCRIPT.read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - sys.stdlib_module_names == {"av", "numpy", "onnxruntime"}


@pytest.mark.parametrize(("other", "same"), [("assembly_2", True), ("assembly_swapped", False)])
@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_the_plain_script_comes_to_the_verdicts_of_the_runtime(deployed, other, same, method):
    videos = [ROOT / "examples" / f"{name}.mp4" for name in ("assembly_1", other)]
    done = plain(DEFAULT_BUNDLE, *videos, "--method", method)
    assert done.stderr == ""
    assert done.returncode == (0 if same else 1)
    found, expected = json.loads(done.stdout), deployed.verify(*videos, method=method)
    assert found["distance"] == pytest.approx(expected.distance, abs=1e-6)
    assert (found["same"], found["threshold"], found["method"]) == (same, expected.threshold, method)
    assert (found["same"], found["sampling"]) == (expected.same, expected.sampling)


def test_the_plain_script_prepares_frames_as_the_runtime_does(precise_bundles, dataset):
    """The other way of resizing and a method of a bundle's own choice."""
    bundle = precise_bundles["vit"]
    assert bundle.manifest.preprocess.resize == "shorter"
    videos = [clip.video for clip in dataset.val[:2]]
    done = plain(bundle.path, *videos)
    assert done.stderr == ""
    expected = load(bundle.path, device="cpu", precision="fp32", num_threads=1).verify(*videos)
    assert json.loads(done.stdout)["distance"] == pytest.approx(expected.distance, abs=1e-6)


def test_the_plain_script_says_what_is_wrong(precise_bundles, tmp_path):
    bundle = Path(shutil.copytree(precise_bundles["vit"].path, tmp_path / "bundle"))
    done = plain(bundle, "a.mp4", "b.mp4", "--precision", "int8")
    assert done.returncode == 1
    assert re.match(r"the bundle has no threshold for \{'method': 'vector', 'precision': 'int8'", done.stderr)
    path = bundle / precise_bundles["vit"].manifest.network("vision", "fp32").path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    done = plain(bundle, "a.mp4", "b.mp4")
    assert done.stderr == f"{path.name}: was changed since the bundle was made\n"
