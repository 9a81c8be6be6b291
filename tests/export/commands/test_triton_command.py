from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.export.commands import export
from weaksvr.export.commands.triton import command
from weaksvr.runtime.bundle import Bundle
from weaksvr.runtime.errors import BundleNotFoundError, DeviceError, OutputError

MODULE = "weaksvr.export.commands.triton"
MODELS = [f"test_{role}" for role in ("vision", "temporal", "text", "video")]


def invoke(*arguments, of=command):
    return CliRunner().invoke(of, list(map(str, arguments)), standalone_mode=False)


def test_what_it_says(precise_bundles, tmp_path):
    out = tmp_path / "repository"
    result = invoke(precise_bundles["vit"].path, "--out", out)
    assert result.return_value == 0
    assert result.stdout.splitlines() == [f"model repository: {out} (fp32, on the gpu)", *(f"  {m}" for m in MODELS)]
    assert sorted(path.name for path in out.iterdir()) == sorted([*MODELS, "weaksvr.json"])


def test_json(precise_bundles, tmp_path):
    out = tmp_path / "repository"
    result = invoke(precise_bundles["vit"].path, "--out", out, "--precision", "int8", "--device", "cpu", "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "weaksvr.triton/1"
    assert (document["path"], document["precision"], document["device"]) == (str(out), "int8", "cpu")
    assert document["models"] == MODELS
    assert "test_vision/1/model.onnx" in document["files"]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (["nowhere", "--out", "x"], BundleNotFoundError, "no bundle there"),
        (["{bundle}", "--out", "{bundle}"], OutputError, "is not just what weaksvr-triton wrote"),
        (["{bundle}", "--out", "x", "--precision", "fp8"], DeviceError, "has no precision 'fp8'"),
    ],
)
def test_errors(precise_bundles, tmp_path, monkeypatch, arguments, error, match):
    monkeypatch.chdir(tmp_path)
    result = invoke(*(text.format(bundle=precise_bundles["vit"].path) for text in arguments))
    assert isinstance(result.exception, error)
    with pytest.raises(error, match=match):
        raise result.exception


@pytest.mark.parametrize("arguments", [[], ["bundle"], ["--out", "x"], ["bundle", "--out", "x", "--device", "tpu"]])
def test_usage(arguments):
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_it_needs_neither_torch_nor_an_engine(precise_bundles, tmp_path):
    hidden = "import sys\nfor name in ('torch', 'onnx', 'onnxruntime', 'av'): sys.modules[name] = None\n"
    script = f"{hidden}import runpy\nrunpy.run_module({MODULE!r}, run_name='__main__')"
    arguments = [precise_bundles["vit"].path, "--out", tmp_path / "repository"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("model repository: ")


@pytest.fixture
def pairs(data, tmp_path):
    videos = [data / f"videos/val/000{number}.mp4" for number in range(3)]
    path = tmp_path / "few.csv"
    path.write_text(f"video_a,video_b,same\n{videos[0]},{videos[1]},1\n{videos[0]},{videos[2]},0\n")
    return path


def test_the_export_writes_a_repository_as_well(runs, pairs, tmp_path):
    out, repository = tmp_path / "bundle", tmp_path / "repository"
    arguments = [runs["vit"], "--out", out, "--pairs", pairs, "--name", "test", "--triton", repository, "--json"]
    result = invoke(*arguments, of=export.command)
    assert result.exit_code == 0, result.exception
    document = json.loads(result.stdout)
    assert document["triton"]["models"] == MODELS
    assert result.stderr.splitlines()[-1] == f"triton: {repository} (fp32, on the gpu)"
    sha256 = Bundle.open(out).manifest.network("vision", "fp32").sha256
    assert document["triton"]["files"]["test_vision/1/model.onnx"] == sha256


@pytest.mark.parametrize(("triton", "out"), [("x", "x"), ("x/y", "x"), ("x", "x/y"), ("./x", "z/../x")])
def test_the_two_folders_must_be_apart(runs, tmp_path, monkeypatch, triton, out):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(export.command, [str(runs["vit"]), "--out", out, "--triton", triton])
    assert result.exit_code == 2
    assert "--triton and --out must name two folders, neither of them in the other." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_become_a_repository_is_refused_before_the_work(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    result = invoke(tmp_path / "no-run", "--out", tmp_path / "x", "--triton", tmp_path / "mine", of=export.command)
    with pytest.raises(OutputError, match="mine: exists and is not just what weaksvr-triton wrote"):
        raise result.exception
