"""The same checkpoint gives the same bytes in every process, in every precision."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

from weaksvr.export.calibration import calibration_data
from weaksvr.export.quantize import quantize
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.export.to_int8 import calibration_batches
from weaksvr.runtime.bundle import ROLES

ELSEWHERE = """
import hashlib, json, sys
from pathlib import Path
from weaksvr.export.calibration import calibration_data
from weaksvr.export.graphs import role_graphs
from weaksvr.export.quantize import quantize
from weaksvr.export.source import run_source
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.export.to_int8 import calibration_batches
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.bundle import ROLES

source = run_source(Path(sys.argv[1]))
batches = calibration_batches(source.embedder(), source.data)
found = {}
for role, graph in role_graphs(source.model).items():
    network = export_onnx(graph, metadata={"weaksvr.name": sys.argv[2]})
    (tensor,) = ROLES[role].inputs
    found[role] = {
        "fp32": network.data,
        "fp16": to_fp16(network).data,
        **{
            f"int8 {static}": quantize(network.data, static=static, name=tensor.name, batches=batches[role] * static)
            for static in (False, True)
        },
    }
digest = lambda data: None if data is None else hashlib.sha256(data).hexdigest()
print(json.dumps({role: {kind: digest(data) for kind, data in kinds.items()} for role, kinds in found.items()}))
"""


def digest(data):
    return None if data is None else hashlib.sha256(data).hexdigest()


def test_two_processes_give_the_same_bytes(runs, exports):
    """Also where sets and dictionaries are ordered otherwise."""
    exported, run = exports["workbench"], runs["workbench"]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, run, "workbench"],
        capture_output=True,
        text=True,
        check=True,
        timeout=1800,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    batches = calibration_batches(exported.source, calibration_data(exported.checkpoint, None))
    here = {}
    for role, network in exported.networks.items():
        (tensor,) = ROLES[role].inputs
        kinds = {"fp32": network.data, "fp16": to_fp16(network).data}
        for static in (False, True):
            given = batches[role] if static else []
            kinds[f"int8 {static}"] = quantize(network.data, static=static, name=tensor.name, batches=given)
        here[role] = {kind: digest(data) for kind, data in kinds.items()}
    assert json.loads(done.stdout) == here
    found = [value for kinds in here.values() for value in kinds.values() if value]
    assert len(set(found)) == len(found) >= 10  # every role in every precision, but where int8 leaves it as it is
