"""What `weaksvr.runtime` offers, and what it loads to do so."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import weaksvr.runtime

HEAVY = ("onnxruntime", "av", "tokenizers", "ftfy", "torch", "numpy", "rich")


def loaded_after(program: str, *arguments: object) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `program`."""
    program += "\nimport sys\nprint('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return set(output.rpartition("MODULES")[2].split())


def test_the_public_names_are_sorted_and_there():
    names = weaksvr.runtime.__all__
    assert names == sorted(names)
    for name in names:
        assert getattr(weaksvr.runtime, name) is not None
    assert set(names) <= set(dir(weaksvr.runtime))


def test_all_errors_are_public():
    errors = importlib.import_module("weaksvr.runtime.errors")
    assert set(errors.__all__) <= set(weaksvr.runtime.__all__)
    assert weaksvr.runtime.VideoError is errors.VideoError


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match=r"module 'weaksvr\.runtime' has no attribute 'nonsense'"):
        _ = weaksvr.runtime.nonsense


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import weaksvr.runtime").intersection((*HEAVY, "click"))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_loads_nothing_heavy_before_it_works(option):
    program = f"""
import sys
from weaksvr.runtime.commands.verify import main
sys.argv = ["weaksvr-verify", "{option}"]
try:
    main()
except SystemExit as stop:
    assert stop.code == 0
"""
    assert not loaded_after(program).intersection(HEAVY)


def test_a_verdict_takes_no_torch(toy_bundle, videos):
    program = """
import sys
from weaksvr.runtime import load
model = load(sys.argv[1])
assert model.verify(sys.argv[2], sys.argv[3]).same
before = "tokenizers" in sys.modules
model.embed_text(["take the cup"])
assert not before
"""
    found = loaded_after(program, toy_bundle, videos.first, videos.again)
    assert {"onnxruntime", "av", "numpy", "tokenizers"} <= found
    assert "torch" not in found
    assert "onnx" not in found


def test_every_module_of_the_runtime_can_be_loaded_without_torch():
    program = """
import importlib, pkgutil
import weaksvr.runtime
for module in pkgutil.walk_packages(weaksvr.runtime.__path__, "weaksvr.runtime."):
    importlib.import_module(module.name)
"""
    assert not loaded_after(program) & {"torch", "open_clip", "torchvision", "onnx"}
