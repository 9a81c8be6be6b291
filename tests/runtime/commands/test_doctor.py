"""The command in environments that are broken for real: virtual environments that lack, double or damage a package."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
import resource
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import weaksvr
from click.testing import CliRunner
from weaksvr.runtime.commands.doctor import doctor
from weaksvr.runtime.doctor.packages import is_installed

ROOT = Path(weaksvr.__file__).parent
SITE = Path(sysconfig.get_paths()["purelib"])
DOCUMENT = ROOT / "docs" / "doctor.md"
NOT_LINKED = re.compile(r"__editable__.*|.*\.pth|__pycache__|weaksvr")
CUDA_LIBRARY = "onnxruntime/capi/libonnxruntime_providers_cuda.so"

NO_H264 = """
import ctypes, glob, mmap, os

(path,) = glob.glob(os.path.join(os.path.dirname(os.path.dirname(__file__)), "av.libs", "libavcodec-*"))
avcodec, libc = ctypes.CDLL(path), ctypes.CDLL(None)
avcodec.avcodec_find_decoder.restype = ctypes.c_void_p
while codec := avcodec.avcodec_find_decoder(27):  # AV_CODEC_ID_H264; its AVCodec is made unfindable by number and name
    assert libc.mprotect(ctypes.c_void_p(codec & ~(mmap.PAGESIZE - 1)), 2 * mmap.PAGESIZE, 3) == 0
    ctypes.c_char_p.from_address(codec).value = b"absent"
    ctypes.c_int.from_address(codec + 20).value = 0
"""
# The CPU wheel made to speak as the GPU wheel does where NVIDIA's libraries are not installed.
WITHOUT_CUBLAS = """
def get_available_providers():
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]

def preload_dlls():
    print("Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open shared object file: No such file")
"""
SEGFAULT = """
import ctypes
ctypes.string_at(0)
"""


class Environment:
    """A virtual environment that holds links to the packages of this one, which a test takes away or replaces."""

    def __init__(self, root: Path) -> None:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(root)
        paths = sysconfig.get_paths(vars={"base": str(root), "platbase": str(root)}, scheme="venv")
        self.python = Path(paths["scripts"], "python")
        self.site = Path(paths["purelib"])
        self.home = root / "home"
        self.home.mkdir()
        self.variables: dict[str, str] = {"HOME": str(self.home), "PATH": str(self.home)}
        for path in SITE.iterdir():
            if not NOT_LINKED.fullmatch(path.name):
                (self.site / path.name).symlink_to(path)
        (self.site / "weaksvr").symlink_to(ROOT)

    def remove(self, *patterns: str) -> None:
        for pattern in patterns:
            links = list(self.site.glob(pattern))
            assert links, pattern
            for link in links:
                link.unlink()

    def add_wheel(self, name: str, version: str, *, record: str = "", requires: tuple[str, ...] = ()) -> None:
        """The metadata of an installed wheel."""
        folder = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{needs}")
        (folder / "RECORD").write_text(record)

    def append(self, package: str, source: str) -> None:
        """Let the package's `__init__` end in `source`; the rest of it stays."""
        link = self.site / package
        real = link.resolve()
        link.unlink()
        link.mkdir()
        for path in real.iterdir():
            (link / path.name).symlink_to(path)
        (link / "__init__.py").unlink()
        (link / "__init__.py").write_text((real / "__init__.py").read_text() + source)

    def program(self, name: str, source: str) -> None:
        path = self.home / name
        path.write_text(f"#!/bin/sh\n{source}\n")
        path.chmod(0o755)

    def call(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_", "XDG_"))}
        return subprocess.run(
            [self.python, "-m", "weaksvr.runtime.commands.doctor", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=self.home,
            env={**variables, "PYTHONDONTWRITEBYTECODE": "1", **self.variables},
        )


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path / "environment")


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Let `folder` be a disk that has 64 kB to offer. Skips where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (that takes root)")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A broken environment.

    Attributes:
        title: its name in the document.
        name: of the finding that tells it.
        code: the expected exit code.
        seed: breaks the environment and returns the command's arguments; the bundle is the environment's `home/toy`.
        needs_training: whether it is only looked at where training is installed.
    """

    title: str
    name: str
    seed: Callable[[Environment], list[str]]
    code: int = 2
    needs_training: bool = False


def both_wheels(environment):
    environment.add_wheel("onnxruntime-gpu", importlib.metadata.version("onnxruntime"))
    return []


def no_onnxruntime(environment):
    environment.remove("onnxruntime", "onnxruntime-*")
    return []


def missing_provider(environment):
    environment.remove("onnxruntime-*")
    environment.add_wheel("onnxruntime-gpu", "1.31.1", record=f"{CUDA_LIBRARY},sha256=x,284014752\n")
    return []


def gpu_wheel_without_cuda(environment):
    with_gpu(environment)
    environment.remove("onnxruntime-*")
    needs = ("nvidia-absent-library~=13.0; extra == 'cuda'", "numpy")
    environment.add_wheel("onnxruntime-gpu", "1.31.1", requires=needs)
    environment.append("onnxruntime", WITHOUT_CUBLAS)


def cuda_libraries(environment):
    gpu_wheel_without_cuda(environment)
    return ["--device", "cuda"]


def cuda_libraries_auto(environment):
    gpu_wheel_without_cuda(environment)
    return []


def with_gpu(environment):
    environment.program("nvidia-smi", "echo 'NVIDIA H200, 580.65.06, 9.0'")


def cuda_without_gpu(environment):
    return ["--device", "cuda"]


def cuda_on_cpu_wheel(environment):
    with_gpu(environment)
    return ["--device", "cuda"]


def unused_gpu(environment):
    with_gpu(environment)
    return []


def crash(environment):
    environment.append("onnxruntime", SEGFAULT)
    return []


def torch_for_cpu(environment):
    version = importlib.metadata.version("torch").partition("+")[0]
    real = (environment.site / "torch").resolve()
    environment.remove("torch", "torch-*")
    (environment.site / "torch" / "lib").mkdir(parents=True)
    for path in (real / "lib").iterdir():
        if "cuda" not in path.name:
            (environment.site / "torch" / "lib" / path.name).symlink_to(path)
    environment.add_wheel("torch", f"{version}+cpu")
    return []


def no_av(environment):
    environment.remove("av", "av-*", "av.libs")
    return []


def damaged_av(environment):
    environment.remove("av.libs")
    return []


def no_decoder(environment):
    environment.append("av", NO_H264)
    return []


def unloadable_av(environment):
    """As `damaged_av`, but installed by something that left no list of files."""
    environment.remove("av-*", "av.libs")
    environment.add_wheel("av", importlib.metadata.version("av"))
    real = (environment.site / "av").resolve()
    environment.remove("av")
    shutil.copytree(real, environment.site / "av", ignore=shutil.ignore_patterns("*.pxd", "*.pyi"))
    return []


def old_package(environment):
    environment.remove("tokenizers-*")
    environment.add_wheel("tokenizers", "0.20.3")
    return []


def no_package(environment):
    environment.remove("ftfy", "ftfy-*")
    return []


def changed_bundle(environment):
    (path,) = (environment.home / "toy").glob("vision.*.onnx")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return []


def no_bundle(environment):
    (environment.home / "toy" / "manifest.json").unlink()
    return []


def newer_bundle(environment):
    path = environment.home / "toy" / "manifest.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "schema_version": 2, "schema": "weaksvr.bundle/2"}))
    return []


def fp16_on_cpu(environment):
    rename_precision(environment, "fp16", keep=True)
    return ["--precision", "fp16"]


def fp16_alone(environment):
    rename_precision(environment, "fp16", keep=False)
    return []


def rename_precision(environment, precision, *, keep):
    """Call the toy networks `precision`, beside what they are called or instead."""
    path = environment.home / "toy" / "manifest.json"
    document = json.loads(path.read_text())
    renamed = [{**file, "precision": precision} for file in document["files"]]
    document["files"] = [*document["files"], *renamed] if keep else renamed
    path.write_text(json.dumps(document))


def add_engine(environment, **changes):
    """A TensorRT engine of the toy's vision network, which says that it was built on an H200."""
    plan, path = b"a plan", environment.home / "toy" / "manifest.json"
    document = json.loads(path.read_text())
    (vision,) = (file for file in document["files"] if file["role"] == "vision")
    shape = {key: [batch, 3, 16, 16] for key, batch in (("min", 1), ("opt", 4), ("max", 8))}
    engine = {
        "role": "vision",
        "precision": "fp32",
        "path": "engines/vision.fp32.01234567.plan",
        "bytes": len(plan),
        "sha256": hashlib.sha256(plan).hexdigest(),
        "network_sha256": vision["sha256"],
        "tensorrt": "11.4.0.106",
        "compute_capability": "9.0",
        "device_name": "NVIDIA H200",
        "portability": "none",
        "version_compatible": False,
        "stripped": False,
        "profiles": [{"inputs": [{"name": "frames", **shape}]}],
    }
    document["engines"] = [{**engine, **changes}]
    (path.parent / "engines").mkdir()
    (path.parent / engine["path"]).write_bytes(plan)
    path.write_text(json.dumps(document))


def engines_of_tensorrt(environment, version, **changes):
    """Engines, a GPU that fits unless `changes` say otherwise, and TensorRT of a version."""
    with_gpu(environment)
    add_engine(environment, **changes)
    environment.add_wheel("tensorrt-cu13", version)
    return ["--device", "cpu"]  # what ONNX Runtime makes of the GPU is another case


def another_major(environment):
    return engines_of_tensorrt(environment, "10.16.1.11")


def another_major_wanted(environment):
    another_major(environment)
    return ["--backend", "tensorrt"]


def another_gpu(environment):
    return engines_of_tensorrt(environment, "11.4.0.106", device_name="NVIDIA L4", compute_capability="8.9")


def another_model(environment):
    return engines_of_tensorrt(environment, "11.4.0.106", device_name="NVIDIA H100 PCIe")


def engines_without_tensorrt(environment):
    with_gpu(environment)
    add_engine(environment)
    return ["--device", "cpu"]


def tensorrt_without_gpu(environment):
    add_engine(environment)
    return ["--backend", "onnxruntime-tensorrt"]


def uncalibrated(environment):
    path = environment.home / "toy" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "thresholds": []}))
    return []


def cache_below_a_file(environment):
    (environment.home / "file").touch()
    environment.variables["HF_HOME"] = str(environment.home / "file" / "hub")
    return []


def temporary_elsewhere(environment):
    environment.variables["TMPDIR"] = str(environment.home / "nowhere")
    return []


def full_temporary(environment):
    environment.variables["TMPDIR"] = str(environment.home / "full")
    return []


def full_cache(environment):
    environment.variables["HF_HOME"] = str(environment.home / "full")
    return []


CASES = [
    Case(title="Both wheels of ONNX Runtime", name="onnxruntime", seed=both_wheels),
    Case(title="No ONNX Runtime", name="onnxruntime", seed=no_onnxruntime),
    Case(title="A provider's library is gone", name="onnxruntime-gpu", seed=missing_provider),
    Case(title="NVIDIA's libraries are missing, `--device cuda`", name="networks", seed=cuda_libraries),
    Case(title="NVIDIA's libraries are missing", name="networks", seed=cuda_libraries_auto, code=0),
    Case(title="The CPU wheel, `--device cuda`", name="networks", seed=cuda_on_cpu_wheel),
    Case(title="The CPU wheel beside a GPU", name="networks", seed=unused_gpu, code=0),
    Case(title="No GPU, `--device cuda`", name="networks", seed=cuda_without_gpu),
    Case(title="ONNX Runtime crashes", name="networks", seed=crash),
    Case(title="A torch for the CPU beside PyPI's torchvision", name="torchvision", seed=torch_for_cpu),
    Case(title="No av", name="av", seed=no_av),
    Case(title="av's libraries are gone", name="av", seed=damaged_av),
    Case(title="av cannot be loaded", name="video", seed=unloadable_av),
    Case(title="No video decoder", name="video", seed=no_decoder),
    Case(title="A package is missing", name="ftfy", seed=no_package),
    Case(title="A package is too old", name="tokenizers", seed=old_package),
    Case(title="A file of the bundle was changed", name="files", seed=changed_bundle),
    Case(title="No bundle", name="files", seed=no_bundle),
    Case(title="A newer bundle", name="files", seed=newer_bundle),
    Case(title="fp16 asked for on a CPU", name="networks", seed=fp16_on_cpu),
    Case(title="A bundle for GPUs alone, on a CPU", name="networks", seed=fp16_alone),
    Case(title="TensorRT of another version than the engines", name="engines", seed=another_major, code=0),
    Case(title="The same, `--backend tensorrt`", name="engines", seed=another_major_wanted),
    Case(title="Engines of another GPU", name="engines", seed=another_gpu, code=0),
    Case(title="Engines of another model of GPU", name="engines", seed=another_model, code=0),
    Case(title="Engines and a GPU, but no TensorRT", name="engines", seed=engines_without_tensorrt, code=0),
    Case(title="No GPU, `--backend onnxruntime-tensorrt`", name="networks", seed=tensorrt_without_gpu),
    Case(title="A bundle without thresholds", name="verdicts", seed=uncalibrated, code=0),
    Case(title="The cache folder cannot be written to", name="cache", seed=cache_below_a_file, needs_training=True),
    Case(title="The cache folder's disk is full", name="cache", seed=full_cache, needs_training=True),
    Case(title="The disk of temporary files is full", name="temporary", seed=full_temporary, needs_training=True),
    Case(title="TMPDIR names no folder", name="temporary", seed=temporary_elsewhere, code=0),
]


def rows_of(text: str) -> dict[str, tuple[str, str, str, str]]:
    """State, what, why and remedy by name, out of what the command printed."""
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"  (ok|warning|problem|       ) +(\S+) +(.+)", line)
        if match and match[1].strip():
            rows[match[2]] = [match[1], match[3], "", ""]
        elif match:
            last = list(rows.values())[-1]
            last[("why", "remedy").index(match[2]) + 2] = match[3]
    return {name: (row[0], row[1], row[2], row[3]) for name, row in rows.items()}


def documented() -> dict[str, tuple[str, str, str, str]]:
    """The rows of the document's table: state, what, why and remedy by title."""
    rows = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 5 and cells[1] in ("problem", "warning"):
            rows[cells[0]] = (cells[1], cells[2], cells[3], cells[4].strip("`"))
    return rows


def general(text: str, environment: Environment) -> str:
    """`text` without what differs from one machine to the next: paths, versions, sizes."""
    text = text.replace(f"{environment.home}/", "").replace(str(environment.site), "site-packages")
    text = re.sub(r"[\d.]+ GB", "0.0 GB", text)
    text = re.sub(r"\d+ threads", "2 threads", text)
    text = re.sub(r"takes /\S+ instead", "takes /tmp instead", text)
    text = re.sub(r"\blib\w+-[0-9a-f]{8}\.so[.\d]*", "libavcodec.so", text)
    text = re.sub(r"\.[0-9a-f]{8}\.", ".12345678.", text)
    text = re.sub(r"and \d+ more", "and 9 more", text)
    return re.sub(r"\d+(\.\d+)+(\+cpu)?", "1.2.3", text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_broken_environment(case, environment, toys):
    if case.needs_training and not is_installed("train"):
        pytest.skip("training is not installed here")
    if case.seed is torch_for_cpu and not is_installed("train"):
        pytest.skip("torch is not installed here")
    toys.write(environment.home / "toy")
    arguments = case.seed(environment)
    with contextlib.ExitStack() as stack:
        if case.seed in (full_cache, full_temporary):
            stack.enter_context(full_disk(environment.home / "full"))
        found = environment.call("toy", *arguments)
    assert found.stderr == ""
    assert "Traceback" not in found.stdout
    assert found.returncode == case.code, found.stdout
    assert found.stdout.splitlines()[0] == ("READY" if case.code == 0 else "NOT READY")
    rows = rows_of(found.stdout)
    wrong = [name for name, row in rows.items() if row[0] != "ok"]
    assert wrong == [case.name], found.stdout  # one cause is told once
    told = [general(text, environment) for text in rows[case.name]]
    assert told == [general(text, environment) for text in documented()[case.title]]


def test_the_document_tells_of_the_tested_environments():
    assert list(documented()) == [case.title for case in CASES]


def test_all_is_well(environment, toys):
    found = environment.call(toys.write(environment.home / "toy"))
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[0] == "READY"
    rows = rows_of(found.stdout)
    assert {row[0] for row in rows.values()} == {"ok"}
    known = "calibrated for vector and alignment at uniform-4"
    assert rows["model"][1] == f"toy: fp32 (vision, temporal, text; {known}); uniform-4"
    assert rows["networks"][1] == f"cpu (CPUExecutionProvider), fp32, {len(os.sched_getaffinity(0))} threads"
    assert rows["verdicts"][1] == "uniform-4; vector (default) at 0.25, alignment at 0.02"
    assert rows["video"][1].startswith("decodes h264, ")
    assert rows["gpu"][1] == "none: there is no nvidia-smi, which comes with NVIDIA's driver"
    assert "numpy" in rows["runtime"][1]


def test_json(environment, toys):
    toys.write(environment.home / "toy")
    found = environment.call("toy", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    document = json.loads(found.stdout)
    assert document["schema"] == "weaksvr.doctor/1"
    assert (document["ready"], document["bundle"]) == (True, "toy")
    assert document["would_run"] == {
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "threads": len(os.sched_getaffinity(0)),
        "sampling": "uniform-4",
        "comparisons": [
            {"method": "vector", "threshold": 0.25, "default": True},
            {"method": "alignment", "threshold": 0.02, "default": False},
        ],
        "notes": [],
    }
    for finding in document["findings"]:
        assert set(finding) == {"topic", "name", "state", "what", "why", "remedy"}


def test_json_of_a_broken_environment(environment, toys):
    toys.write(environment.home / "toy")
    changed_bundle(environment)
    found = environment.call("toy", "--json")
    assert found.returncode == 2
    document = json.loads(found.stdout)
    assert (document["ready"], document["would_run"]) == (False, None)
    (wrong,) = (finding for finding in document["findings"] if finding["state"] != "ok")
    assert wrong["topic"] == "bundle"
    assert wrong["remedy"] == "weaksvr-export RUN --out toy"


def test_what_a_remedy_recommends_works(environment, toys, videos):
    """The command that is recommended for fp16 on a CPU, run as it stands."""
    toys.write(environment.home / "toy")
    remedy = rows_of(environment.call("toy", *fp16_on_cpu(environment)).stdout)["networks"][3]
    words = remedy.replace("A B", f"{videos.first} {videos.again}").split()
    assert words[0] == "weaksvr-verify"
    command = [environment.python, "-m", "weaksvr.runtime.commands.verify", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=environment.home)
    assert done.stdout.startswith("SAME\n"), done.stderr


def test_nothing_heavy_is_loaded_and_nothing_is_left_behind(environment, toys):
    toys.write(environment.home / "toy")
    before = sorted(environment.home.rglob("*"))
    program = """
import sys
from weaksvr.runtime.doctor.examine import examine
assert examine("toy").ready
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    command = [environment.python, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, cwd=environment.home)
    heavy = {"av", "numpy", "onnxruntime", "open_clip", "tensorrt", "tokenizers", "torch", "torchvision"}
    assert not heavy & set(done.stdout.split())
    assert sorted(environment.home.rglob("*")) == before


def test_a_file_size_limit_is_told(environment, toys):
    """A disk that is full in another way: no file may grow beyond 4 kB."""
    toys.write(environment.home / "toy")
    command = [environment.python, "-m", "weaksvr.runtime.commands.doctor", "toy"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=environment.home,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.stderr == ""
    state, _, why, remedy = rows_of(done.stdout)["temporary"]
    assert state in ("warning", "problem")
    assert why.endswith(": File too large")
    assert remedy == "export TMPDIR=FOLDER"


@pytest.mark.parametrize("arguments", [["a", "b"], ["--device", "x"], ["--nonsense"]])
def test_usage(arguments):
    assert CliRunner().invoke(doctor, arguments).exit_code == 2


def test_the_help_names_every_option_and_the_exit_codes():
    text = CliRunner().invoke(doctor, ["--help"]).output
    for word in ("BUNDLE", "--device", "--precision", "--json", "--version", "0 if there is no problem", "2 if there"):
        assert word in " ".join(text.split())
