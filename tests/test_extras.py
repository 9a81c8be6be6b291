"""Commands without what they need name the `pip install` line that mends it; what needs no torch runs without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from weaksvr.runtime.bundle import MANIFEST_NAME
from weaksvr.runtime.bundle_format import Manifest
from weaksvr.runtime.spec import PreprocessSpec, SamplingSpec

HIDE = """
import sys
hidden, module, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = "weaksvr"
for name in hidden.split(","):
    sys.modules[name] = None  # `import name` now raises ModuleNotFoundError
import runpy
runpy.run_module(f"weaksvr.{module}", run_name="__main__")
"""
TORCH = "torch,torchvision,open_clip,timm,safetensors"


def run_without(hidden: str, module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command's module in a fresh interpreter that cannot import the libraries `hidden`, split by commas."""
    return subprocess.run(
        [sys.executable, "-c", HIDE, hidden, module, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle as far as it is read before ONNX Runtime is needed."""
    manifest = Manifest(
        name="empty",
        description="No networks.",
        sampling=SamplingSpec(num_frames=4, policy="uniform"),
        preprocess=PreprocessSpec(height=16, width=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        default_method="vector",
    )
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest.to_json()))
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "test"):
        rows = [{"video": f"{split}{i}.mp4", "steps": ["take the cup", "stir"][: 1 + i]} for i in range(2)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def assert_names_the_cure(done: subprocess.CompletedProcess[str], extra: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert f"pip install 'weaksvr[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_verify_without_onnxruntime_names_the_extra(bundle, tmp_path):
    done = run_without("onnxruntime", "runtime.commands.verify", "a.mp4", "b.mp4", "--bundle", bundle)
    assert_names_the_cure(done, "cpu")
    assert "weaksvr[gpu]" in done.stderr


def test_embed_without_pyarrow_names_the_extra(bundle, tmp_path):
    out = tmp_path / "embeddings.parquet"
    done = run_without("pyarrow", "runtime.commands.embed", "a.mp4", "--out", out, "--bundle", bundle)
    assert_names_the_cure(done, "embed")
    assert not out.exists()


def test_demo_without_gradio_names_the_extra(bundle):
    done = run_without("gradio", "demo.commands.demo", "--bundle", bundle)
    assert_names_the_cure(done, "demo")


def test_gallery_without_lancedb_names_the_extra(tmp_path):
    assert_names_the_cure(run_without("lancedb", "runtime.commands.gallery", "list", tmp_path / "gallery"), "gallery")


def test_train_without_torch_names_the_extra(dataset, tmp_path):
    out = tmp_path / "run"
    done = run_without(TORCH, "train.commands.train", "--data", dataset, "--out", out)
    assert_names_the_cure(done, "train")
    assert not out.exists()


def test_evaluating_a_run_without_torch_names_the_extra(dataset, tmp_path):
    done = run_without(TORCH, "train.commands.evaluate", tmp_path / "run", "--data", dataset)
    assert_names_the_cure(done, "train")


def test_evaluating_a_bundle_without_onnxruntime_names_the_extra(dataset, bundle):
    done = run_without(f"{TORCH},onnxruntime", "train.commands.evaluate", bundle, "--data", dataset)
    assert_names_the_cure(done, "cpu")


@pytest.mark.parametrize(
    ("hidden", "extra"),
    [("onnx", "export"), ("onnxscript", "export"), (TORCH, "export"), ("onnxruntime", "cpu")],
)
def test_export_without_its_libraries_names_the_extra(tmp_path, hidden, extra):
    out = tmp_path / "bundle"
    done = run_without(hidden, "export.commands.export", tmp_path / "run", "--out", out)
    assert_names_the_cure(done, extra)
    assert not out.exists()


def test_make_videos_needs_neither_torch_nor_onnxruntime(tmp_path):
    arguments = (tmp_path / "videos", "--train", "1", "--size", "64", "--json")
    done = run_without(f"{TORCH},onnx,onnxruntime,tokenizers", "train.commands.make_videos", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lines"]["train.jsonl"] == 1


@pytest.mark.parametrize("module", ["convert_data", "check_data"])
def test_reading_data_needs_neither_torch_nor_onnxruntime(tmp_path, module):
    (tmp_path / "label_bank.json").write_text('{"0": ["Back", "15som"]}')
    (tmp_path / "test_split.txt").write_text("abc 0")
    (tmp_path / "abc").mkdir()
    convert = ("diving48-sv", tmp_path, "--out", tmp_path / "data")
    arguments = convert if module == "convert_data" else (tmp_path, "--format", "diving48-sv")
    hidden = f"{TORCH},onnx,onnxruntime,tokenizers"
    done = run_without(hidden, f"train.commands.{module}", *arguments, "--videos", tmp_path, "--json")
    assert done.returncode == 1, done.stderr  # the other lists are absent
    assert {finding["kind"] for finding in json.loads(done.stdout)["findings"]} >= {"file-absent"}
