"""Which open_clip architectures export, and what becomes of them: operators, sizes, distance from PyTorch.

Every architecture is built with random weights and exported as `weaksvr-export --pretrained` does; vision and text are
run at batches of 1, 2, 7 and 64 rows, on rendered frames and plain steps, by PyTorch and by ONNX Runtime. The largest
difference is given as a share of the root mean square of PyTorch's output. Results are added to the results file, one
architecture after the other; the last line of stdout is its JSON document.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import open_clip
import torch
from numpy.typing import NDArray
from torch import nn
from weaksvr.export.graphs import RoleGraph, role_graphs
from weaksvr.export.pretrained import PretrainedModel
from weaksvr.export.to_onnx import OPSET, export_onnx
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.preprocess import normalize
from weaksvr.runtime.spec import SamplingSpec
from weaksvr.runtime.storage import write_text
from weaksvr.train.datasets.workbench.writer import make_dataset
from weaksvr.train.open_clip_weights import PretrainedClip, preprocess_of
from weaksvr.train.torch_backend import TorchBackend
from weaksvr.train.tower_tokenizer import text_config

ARCHITECTURES = (
    "ViT-B-32",
    "MobileCLIP-S1",
    "ViTamin-S",
    "RN50",
    "ViT-B-16",
    "ViT-B-16-SigLIP",
    "convnext_base",
    "ViT-L-14",
)
BATCHES = (1, 2, 7, 64)
OPERATORS = ("LayerNormalization", "Gelu", "Erf", "MatMul", "Gemm", "Conv", "BatchNormalization", "Softmax")
SAMPLING = SamplingSpec(policy="three-view", num_frames=16)


def _model(name: str) -> PretrainedModel:
    torch.manual_seed(0)
    clip = open_clip.create_model(name).eval()
    with torch.no_grad():
        for module in clip.modules():
            if isinstance(module, nn.BatchNorm2d):  # else the features of random weights die out
                module.running_var.fill_(0.1)
    preprocess = preprocess_of({**clip.visual.preprocess_cfg, "interpolation": "bicubic"}, name=name)
    loaded = PretrainedClip(clip=clip, preprocess=preprocess, text=text_config(name), label=name, facts={})
    return PretrainedModel(loaded, SAMPLING)


def _rendered(model: PretrainedModel, folder: Path) -> NDArray[np.float32]:
    """Frames as the image tower takes them, float32 (n, 3, H, W)."""
    embedder = Embedder(TorchBackend(model, torch.device("cpu")), sampling=model.sampling, preprocess=model.preprocess)
    frames = [embedder.read(video).frames for video in sorted(folder.glob("videos/*/*"))]
    return normalize(np.concatenate([part.reshape(-1, *part.shape[2:]) for part in frames]), model.preprocess)


def _tokens(model: PretrainedModel, rows: int) -> NDArray[np.int64]:
    """Random ids that end as texts do; the towers' own tokenizers are not needed for the numbers to agree."""
    rng = np.random.default_rng(0)
    length, last = model.context_length, model.text.clip.vocab_size - 1
    tokens = rng.integers(2, last, (rows, length))
    ends = rng.integers(3, length, rows)
    tokens[np.arange(length) >= ends[:, None]] = 0
    tokens[np.arange(rows), ends] = last  # CLIP finds the end of a text as its largest id
    return tokens


def _differences(graph: RoleGraph, data: bytes, rows: NDArray[Any], batches: tuple[int, ...]) -> dict[str, float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    found = {}
    for size in batches:
        (array,) = session.run(None, {given.name: rows[:size]})
        with torch.no_grad():
            wanted = graph.module(torch.from_numpy(rows[:size])).numpy()
        if array.shape != wanted.shape:
            raise SystemExit(f"batch of {size}: shape {array.shape}, not {wanted.shape}")
        scale = float(np.sqrt(np.square(wanted, dtype=np.float64).mean()))
        found[str(size)] = float(np.abs(array - wanted).max()) / scale
    return found


def _graph_facts(data: bytes, graph: RoleGraph) -> dict[str, Any]:
    """Operators, and what should not be there: pieces of an operator, unused or repeated weights, further masks."""
    proto = onnx.load_from_string(data)
    kinds = collections.Counter(node.op_type for node in proto.graph.node)
    used = {name for node in proto.graph.node for name in node.input}
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    large = [array.tobytes() for array in arrays.values() if array.nbytes >= 1024]
    norms = sum(isinstance(module, nn.LayerNorm) for module in graph.module.modules())
    return {
        "megabytes": round(len(data) / 1e6, 1),
        "opset": max(entry.version for entry in proto.opset_import),
        "nodes": len(proto.graph.node),
        "operators": {kind: kinds[kind] for kind in OPERATORS if kinds[kind]},
        "layer_norms_in_pytorch": norms,
        "unused_weights": len(set(arrays) - used),
        "repeated_weights": len(large) - len(set(large)),
        "causal_masks": sum(array.dtype == np.float32 and bool(np.isinf(array).any()) for array in arrays.values()),
    }


def _measure(name: str, videos: Path, batches: tuple[int, ...]) -> dict[str, Any]:
    began = time.monotonic()
    model = _model(name)
    graphs = role_graphs(model)
    rows = {"vision": _rendered(model, videos), "text": _tokens(model, max(batches))}
    result: dict[str, Any] = {"image": model.preprocess.height, "context_length": model.context_length, "roles": {}}
    for role, inputs in rows.items():
        data = export_onnx(graphs[role], metadata={}).data
        facts = _graph_facts(data, graphs[role])
        parameters = sum(parameter.numel() for parameter in graphs[role].module.parameters())
        differences = _differences(graphs[role], data, inputs, batches)
        result["roles"][role] = {"parameters": parameters, **facts, "relative_difference": differences}
        del data
        gc.collect()
    return {**result, "seconds": round(time.monotonic() - began, 1)}


def _table(results: Mapping[str, Any]) -> str:
    head = (
        "| architecture | role | MB | nodes | LayerNormalization (PyTorch's) | Gelu | Erf | masks | unused | repeated "
    )
    lines = [head + "| largest relative difference, by batch |", "|---" * 11 + "|"]
    for name, result in results.items():
        for role, facts in result["roles"].items():
            kinds = facts["operators"]
            differences = ", ".join(f"{size}: {value:.1e}" for size, value in facts["relative_difference"].items())
            norms = f"{kinds.get('LayerNormalization', 0)} ({facts['layer_norms_in_pytorch']})"
            counts = (facts["causal_masks"], facts["unused_weights"], facts["repeated_weights"])
            cells = (name, role, facts["megabytes"], facts["nodes"], norms, kinds.get("Gelu", 0), kinds.get("Erf", 0))
            lines.append(f"| {' | '.join(map(str, (*cells, *counts, differences)))} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architectures", nargs="*", default=ARCHITECTURES, help="Default: the documented list.")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="Rows that are run at a time.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/architectures.json")
    arguments = parser.parse_args()
    known = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    results = known.get("architectures", {})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weaksvr-bench-") as folder:
        videos = Path(folder) / "videos"
        make_dataset(videos, train=0, val=2, test=0)
        for name in arguments.architectures:
            results[name] = _measure(name, videos, tuple(arguments.batches))
            document = {
                "benchmark": "architectures",
                "opset": OPSET,
                "versions": {
                    "torch": torch.__version__,
                    "open_clip": open_clip.__version__,
                    "onnxruntime": onnxruntime.__version__,
                },
                "machine": platform.machine(),
                "architectures": {key: results[key] for key in sorted(results, key=_order)},
            }
            write_text(arguments.out, json.dumps(document, indent=2) + "\n")
            print(_table({name: results[name]}), flush=True)
    print(_table(document["architectures"]))
    print(json.dumps(document))


def _order(name: str) -> tuple[int, str]:
    return (ARCHITECTURES.index(name) if name in ARCHITECTURES else len(ARCHITECTURES), name)


if __name__ == "__main__":
    main()
