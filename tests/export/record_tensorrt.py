"""Writes `tensorrt_api.json`: what the Python bindings of TensorRT have, and how it is called.

    pip download --no-deps tensorrt-cu13-bindings==VERSION && unzip -d FOLDER *.whl
    python tests/export/record_tensorrt.py FOLDER... > tests/export/tensorrt_api.json

The bindings load without a GPU, and without the libraries that they are made for: a C compiler makes empty ones here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CLASSES = (
    *("Builder", "BuilderFlag", "DataType", "EngineInspector", "HardwareCompatibilityLevel", "IBuilderConfig"),
    *("ICudaEngine", "IExecutionContext", "IHostMemory", "ILayer", "ILogger", "INetworkDefinition"),
    *("IOptimizationProfile", "IProgressMonitor", "ITensor", "ITimingCache", "LayerInformationFormat"),
    *("NetworkDefinitionCreationFlag", "OnnxParser", "OnnxParserRefitter", "ParserError", "ProfilingVerbosity"),
    *("Refitter", "Runtime"),
)
FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins"),
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
PREFIXES = ("tensorrt_bindings.tensorrt.", "typing_extensions.", "typing.", "collections.abc.")


def record() -> dict[str, dict[str, object]]:
    """Every class with its members: the signatures of a method, or what else a member is."""
    import tensorrt_bindings as trt

    return {name: dict(members(getattr(trt, name))) for name in CLASSES}


def members(kind: type) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name in sorted(dir(kind)):
        value = getattr(kind, name)
        if name.startswith("_") and name != "__init__":
            continue
        lines = [re.sub(r"^\d+\. ", "", line.strip()) for line in (getattr(value, "__doc__", None) or "").splitlines()]
        signatures = [line for line in lines if line.startswith(f"{name}(self") and "*args" not in line]
        if isinstance(value, property):
            found.append((name, "property" if value.fset else "read-only property"))
        elif signatures:
            found.append((name, [short(signature) for signature in signatures]))
        elif name != "__init__":
            found.append((name, "class" if isinstance(value, type) else "constant"))
    return found


def short(signature: str) -> str:
    for prefix in PREFIXES:
        signature = signature.replace(prefix, "")
    return signature


def record_in(folder: Path) -> dict[str, object]:
    """What the bindings in a folder have, recorded in a process that loads them."""
    (info,) = folder.glob("tensorrt_cu*_bindings-*.dist-info")
    version = info.name.partition("-")[2].removesuffix(".dist-info")
    major = version.partition(".")[0]
    with tempfile.TemporaryDirectory() as made:
        source = Path(made) / "empty.c"
        source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
        for library in LIBRARIES:
            file = f"lib{library}.so.{major}"
            command = ["cc", "-shared", "-fPIC", "-o", f"{made}/{file}", str(source), f"-Wl,-soname,{file}"]
            subprocess.run(command, check=True)
        environment = {**os.environ, "LD_LIBRARY_PATH": made, "PYTHONPATH": str(folder)}
        done = subprocess.run([sys.executable, __file__], env=environment, check=True, capture_output=True, text=True)
    return {version: json.loads(done.stdout)}


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:]]
    merged: dict[str, object] = {}
    for path in folders:
        merged |= record_in(path)
    json.dump(merged if folders else record(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
