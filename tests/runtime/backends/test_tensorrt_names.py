"""Every name of TensorRT, CUDA and pycuda that the runtime uses exists, and is called as it is declared.

The lean runtime's bindings can be imported where there is no GPU. The whole TensorRT's can be too, over a library that
a C compiler makes of the nine functions that they link to. `tensorrt_10.txt` says the same of TensorRT 10.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import weaksvr
from weaksvr.runtime.backends import trt

ROOT = Path(weaksvr.__file__).parent
IMPORTS_TENSORRT = re.compile(r"import_module\(\"tensorrt\"\)|\bimport tensorrt\b|names = \(\"tensorrt\"")

Uses = dict[str, set[tuple[int, frozenset[str]] | None]]
"""Dotted names; for each, the calls: how many arguments by position, and which by name. None is no call."""


def uses_of(tree: ast.AST, roots: Mapping[str, str]) -> Uses:
    """What is used of a library.

    Args:
        tree: the code.
        roots: variables by name, those of `self` with the dot, and what each holds: a class, or nothing for the module.
    """
    found: Uses = {}
    functions = {node.func: node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        name = dotted(node, roots)
        if name is None or (name in roots.values() and node not in functions):
            continue
        call = functions.get(node)
        shape = None if call is None else (len(call.args), frozenset(str(item.arg) for item in call.keywords))
        found.setdefault(name, set()).add(shape)
    return found


def dotted(node: ast.AST, roots: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return roots.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    if isinstance(node.value, ast.Name) and node.value.id == "self":
        return roots.get(f".{node.attr}")
    above = dotted(node.value, roots)
    return None if above is None else f"{above}.{node.attr}".lstrip(".")


TENSORRT_ROOTS = {
    "trt": "",
    "._trt": "",
    "._runtime": "Runtime",
    "engine": "ICudaEngine",
    "._engine": "ICudaEngine",
    "context": "IExecutionContext",
    "refitter": "Refitter",
    "parser": "OnnxParserRefitter",
}
TENSORRT = uses_of(ast.parse((ROOT / "runtime/backends/trt.py").read_text()), TENSORRT_ROOTS)


def class_in(path: str, name: str) -> ast.ClassDef:
    tree = ast.parse((ROOT / path).read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


CUDA = uses_of(class_in("runtime/backends/cuda_memory.py", "CudaPython"), {"cudart": "", "._cudart": ""})
PYCUDA = uses_of(
    class_in("runtime/backends/cuda_memory.py", "PyCuda"),
    {
        "driver": "",
        "._driver": "",
        "device": "Device",
        "._context": "Context",
        "._stream": "Stream",
    },
)


def parameters(docstring: str) -> list[list[str]]:
    """The parameters of every overload that a docstring of pybind11 lists, `self` left out; optional ones end in =."""
    found = []
    for line in re.findall(r"^(?:\d+\. )?\w+\((self: [^\n]*)\) ->", docstring, flags=re.MULTILINE):
        items, depth = [""], 0
        for character in re.sub(r"<[^>]*>", "", line):
            depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(character, 0)
            if character == "," and depth == 0:
                items.append("")
            else:
                items[-1] += character
        found.append([re.match(r"\s*(\w+)", item)[1] + ("=" if "=" in item else "") for item in items[1:]])
    return found


def fits(call: tuple[int, frozenset[str]], overload: list[str]) -> bool:
    positional, named = call
    names = [name.rstrip("=") for name in overload]
    rest = names[positional:]
    needed = {name for name in overload[positional:] if not name.endswith("=")}
    return positional <= len(names) and named <= set(rest) and needed <= named


def wrong_calls(uses: Uses, docstrings: Mapping[str, str]) -> list[str]:
    """Uses that do not fit what the docstrings, by dotted name, say. A class stands for its constructor."""
    wrong = []
    for name, calls in uses.items():
        if name not in docstrings:
            wrong.append(f"there is no {name}")
            continue
        overloads = parameters(docstrings[name])
        wrong += [
            f"{name}: {call} fits none of {overloads}"
            for call in calls
            if call is not None and overloads and not any(fits(call, overload) for overload in overloads)
        ]
    return wrong


def docstrings_of(module: ModuleType, names: Iterator[str]) -> dict[str, str]:
    """The docstring of each name that is there; of a class, that of its constructor."""
    found = {}
    for name in names:
        value: Any = module
        for part in name.split("."):
            value = getattr(value, part, None)
        if value is not None:
            found[name] = str((value.__init__ if inspect.isclass(value) else value).__doc__)
    return found


BUILT = uses_of(
    next(
        node
        for node in ast.parse(Path(__file__).with_name("test_contract.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "built"
    ),
    {
        "trt": "",
        "builder": "Builder",
        "definition": "INetworkDefinition",
        "parser": "OnnxParser",
        "config": "IBuilderConfig",
        "optimization": "IOptimizationProfile",
    },
)


def test_what_is_used_was_found():
    assert TENSORRT["IExecutionContext.execute_async_v3"] == {(1, frozenset())}
    assert TENSORRT["ExecutionContextAllocationStrategy.USER_MANAGED"] == {None}
    assert TENSORRT["Runtime"] == {(1, frozenset())}
    assert {"ILogger.ERROR", "ICudaEngine.num_io_tensors", "OnnxParserRefitter.refit_from_bytes"} <= set(TENSORRT)
    assert {"cudaGraphLaunch", "cudaMemcpyKind.cudaMemcpyHostToDevice"} <= set(CUDA)
    assert {"mem_alloc", "Context.push", "Stream.handle", "Device.retain_primary_context"} <= set(PYCUDA)


def test_no_other_module_of_the_runtime_uses_tensorrt():
    users = [path for path in (ROOT / "runtime").rglob("*.py") if IMPORTS_TENSORRT.search(path.read_text())]
    assert users == [ROOT / "runtime/backends/trt.py"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("self._trt.Builder2(1)", "there is no Builder2"),
        ("context.execute_async_v2(1)", "there is no IExecutionContext.execute_async_v2"),
        ("context.execute_async_v3()", "IExecutionContext.execute_async_v3: "),
        ("context.execute_async_v3(1, 2)", "IExecutionContext.execute_async_v3: "),
        ("context.execute_async_v3(stream=1)", "IExecutionContext.execute_async_v3: "),
        ("trt.Runtime()", "Runtime: "),
    ],
)
def test_a_wrong_use_is_seen(line, complaint):
    lean = pytest.importorskip("tensorrt_lean_bindings")
    uses = uses_of(ast.parse(line), TENSORRT_ROOTS)
    (found,) = wrong_calls(uses, docstrings_of(lean, iter(uses)))
    assert found.startswith(complaint)


def test_names_and_calls_are_those_of_the_lean_runtime():
    lean = pytest.importorskip("tensorrt_lean_bindings")
    uses = {name: calls for name, calls in TENSORRT.items() if not name.startswith("OnnxParserRefitter")}
    assert wrong_calls(uses, docstrings_of(lean, iter(uses))) == []


def test_the_lean_runtimes_values_are_what_they_are_taken_for():
    lean = pytest.importorskip("tensorrt_lean_bindings")
    log = trt._make_log(lean)
    assert isinstance(log, lean.ILogger)
    log.log(lean.ILogger.ERROR, "Version tag\n does not match.")
    log.log(lean.ILogger.WARNING, "never mind")
    assert log.last == "Version tag does not match."
    assert tuple(lean.Dims([2, 3])) == (2, 3)
    types = {name: np.dtype(lean.nptype(getattr(lean.DataType, name))).name for name in ("FLOAT", "INT64", "HALF")}
    assert types == {"FLOAT": "float32", "INT64": "int64", "HALF": "float16"}


LINKED = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
LIBRARIES = ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11")
ASK = """
import inspect, json, sys
import tensorrt_bindings
found = {}
for name in json.loads(sys.argv[1]):
    value = tensorrt_bindings
    for part in name.split("."):
        value = getattr(value, part, None)
    if value is not None:
        found[name] = str((value.__init__ if inspect.isclass(value) else value).__doc__)
print(json.dumps(found))
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_bindings") is None, reason="needs tensorrt-cu13-bindings")
def test_names_and_calls_are_those_of_the_whole_tensorrt(tmp_path):
    source = tmp_path / "linked.c"
    source.write_text("".join(f"long {name}(void) {{ return 0; }}\n" for name in LINKED))
    for library in LIBRARIES:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / library, source], check=True)
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([*TENSORRT, *BUILT])],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    docstrings = json.loads(done.stdout)
    assert wrong_calls(TENSORRT, docstrings) == []
    assert wrong_calls(BUILT, docstrings) == []


def test_names_and_calls_are_those_of_tensorrt_10():
    lines = Path(__file__).with_name("tensorrt_10.txt").read_text().splitlines()
    docstrings: dict[str, str] = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, signature = line.partition(" ")
            docstrings[name] = docstrings.get(name, "") + signature + "\n"
    assert set(docstrings) == set(TENSORRT)
    assert wrong_calls(TENSORRT, docstrings) == []


def test_names_and_calls_are_those_of_cuda_python():
    cudart = pytest.importorskip("cuda.bindings.runtime")
    for name, calls in CUDA.items():
        value: Any = cudart
        for part in name.split("."):
            value = getattr(value, part)
        for call in calls - {None}:
            assert call[1] == frozenset(), name
            inspect.signature(value).bind(*range(call[0]))


# pycuda 2026.1: its bindings (src/wrapper/wrap_cudadrv.cpp), with how many arguments each takes as it is used here.
OF_PYCUDA = {
    "init": {0},
    "Error": {None},
    "Device": {1},
    "Device.name": {0},
    "Device.compute_capability": {0},
    "Device.retain_primary_context": {0},
    "Context.push": {0},
    "Context.pop": {0},
    "Stream": {0},
    "Stream.handle": {None},
    "Stream.synchronize": {0},
    "mem_alloc": {1},
    "pagelocked_empty": {2},
    "memcpy_htod_async": {3},
    "memcpy_dtoh_async": {3},
}


def test_names_are_those_of_pycuda():
    assert {name: {call and call[0] for call in calls} for name, calls in PYCUDA.items()} == OF_PYCUDA


def own_parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)[1:]


def test_the_simulation_has_nothing_that_tensorrt_lacks(simulation):
    lean = pytest.importorskip("tensorrt_lean_bindings")
    made_by_others = ("ICudaEngine", "IExecutionContext")
    compared = []
    for kind in vars(simulation.tensorrt).values():
        if not inspect.isclass(kind) or kind.__name__ == "OnnxParserRefitter":
            continue
        for name, value in vars(kind).items():
            if name.startswith("_") and (name != "__init__" or kind.__name__ in made_by_others):
                continue
            assert hasattr(getattr(lean, kind.__name__), name), (kind.__name__, name)
            if inspect.isfunction(value):
                declared = parameters(getattr(getattr(lean, kind.__name__), name).__doc__)
                assert own_parameters(value) in [[item.rstrip("=") for item in overload] for overload in declared]
                compared.append(name)
    assert len(compared) > 10


def test_the_simulation_has_nothing_that_cuda_lacks(simulation, monkeypatch):
    monkeypatch.delitem(sys.modules, "cuda.bindings.runtime")
    cudart = pytest.importorskip("cuda.bindings.runtime")
    assert cudart is not simulation.cuda
    for name, value in vars(type(simulation.cuda)).items():
        if name.startswith("cuda"):
            assert hasattr(cudart, name), name
        if name.startswith("cuda") and inspect.isfunction(value):
            assert own_parameters(value) == list(inspect.signature(getattr(cudart, name)).parameters), name
