"""The wheel: it holds all of the package and nothing else, and runs outside the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [ROOT.joinpath(*name.split(".")[1:]).relative_to(ROOT) for name in PROJECT["tool"]["setuptools"]["packages"]]
PARTS = sorted({folder.parts[0] for folder in PACKAGES if folder.parts})
META_FILES = ("pyproject.toml", "README.md", "LICENSE", "__init__.py")
MAX_BYTES = 35_000_000
DEFAULT_BUNDLE = ROOT / "runtime" / "assets" / "default"
EXAMPLES = ROOT / "examples"


def run(*arguments: str | Path, cwd: Path, code: int = 0, **variables: str) -> str:
    """Run Python with `arguments`, expect an exit code, and return stdout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WEAKSVR"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy without what earlier builds left behind, which would find its way into the wheel."""
    source = tmp_path_factory.mktemp("source")
    for name in META_FILES:
        shutil.copy(ROOT / name, source)
    for part in (*PARTS, "examples", "tests", "benchmarks"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and none of its dependencies."""
    target = tmp_path_factory.mktemp("site")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    run("-m", "pip", *install, "--target", target, wheel, cwd=target.parent)
    return target


def expected_files() -> set[str]:
    """What the package consists of, by its place in the wheel."""
    sources = {path for folder in PACKAGES for path in (ROOT / folder).glob("*.py")}
    typed = {ROOT / part / "py.typed" for part in PARTS}
    configs = set((ROOT / "train" / "open_clip_configs").glob("*.json"))
    assets = {path for path in (ROOT / "runtime" / "assets").rglob("*") if path.is_file()}
    clips = {path for kind in ("mp4", "txt") for path in EXAMPLES.glob(f"*.{kind}")}
    style = {ROOT / "demo" / "style.css"}
    return {
        f"weaksvr/{path.relative_to(ROOT).as_posix()}" for path in sources | typed | configs | assets | clips | style
    }


def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name for name in names if name.startswith("weaksvr/")}
    assert inside == expected_files()
    outside = {name.partition("/")[0] for name in names - inside}
    assert outside == {f"weaksvr-{PROJECT['project']['version']}.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.startswith("weaksvr/train/open_clip_configs/") for name in names)
    assert "weaksvr/examples/assembly_1.mp4" in names


def test_wheel_is_small_enough_for_a_package_index(wheel):
    assert wheel.stat().st_size < MAX_BYTES


def test_bare_install_chooses_no_onnxruntime_and_needs_no_torch(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(name).decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    bare = {line for line in required if "extra ==" not in line}
    assert len(bare) == len(PROJECT["project"]["dependencies"])
    assert not [line for line in bare if line.startswith(("onnx", "torch"))]
    assert {line.removeprefix("Provides-Extra: ") for line in lines if line.startswith("Provides-Extra: ")} == {
        "cpu",
        "gpu",
        "train",
        "export",
        "tensorrt",
        "demo",
        "embed",
        "gallery",
    }


def test_installed_wheel_is_what_gets_imported(installed):
    code = "import weaksvr, weaksvr.runtime.verify as module; print(weaksvr.__file__, module.__file__)"
    for path in run("-c", code, cwd=installed.parent, PYTHONPATH=str(installed)).split():
        assert Path(path).is_relative_to(installed)


@pytest.mark.parametrize("command", sorted(PROJECT["project"]["scripts"]))
def test_installed_commands_run_outside_the_repository(installed, command):
    script = installed / "bin" / command
    version = run(script, "--version", cwd=installed.parent, PYTHONPATH=str(installed))
    assert version == f"{command} {PROJECT['project']['version']}\n"
    assert run(script, "--help", cwd=installed.parent, PYTHONPATH=str(installed)).startswith(f"Usage: {command} ")


@pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle")
@pytest.mark.parametrize(("other", "same"), [("assembly_2.mp4", True), ("assembly_swapped.mp4", False)])
def test_installed_wheel_gives_the_verdicts_of_the_readme(installed, other, same):
    arguments = [EXAMPLES / "assembly_1.mp4", EXAMPLES / other, "--json"]
    script = installed / "bin" / "weaksvr-verify"
    text = run(script, *arguments, cwd=installed.parent, code=0 if same else 1, PYTHONPATH=str(installed))
    assert json.loads(text)["same"] is same
