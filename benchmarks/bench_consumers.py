"""What loads the networks of a bundle, and how near it comes to ONNX Runtime with the very same file.

    python benchmarks/bench_consumers.py [BUNDLE] --out benchmarks/results/consumers.json

Every network of the bundle (the one that comes along, if none is named) is taken as it is; of a bundle in fp32 alone,
fp16 and int8 are made as the export makes them (int8: the image network static, calibrated on the example videos, the
others dynamic), without its gate. Consumers run frames and steps of the example videos at several batch sizes; a
difference is given as a share of the root mean square of ONNX Runtime's output. Then each embeds the example videos,
and their distances are given. Results of other bundles in the results file are kept. The last line of stdout is the
JSON document, before it stands the table.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import io
import json
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import openvino
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from polygraphy.tools._main import main as polygraphy_main
from weaksvr.export.difference import Difference
from weaksvr.export.quantize import quantize
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.runtime import load
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, ROLES, Bundle, NewNetwork
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.preprocess import normalize
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.verify import distance

Feed = Mapping[str, NDArray[Any]]
Outputs = list[NDArray[Any]]

BATCHES: Final = (1, 2, 7, 64)
PAIRS: Final = ("assembly_1", "assembly_2", "assembly_swapped")
EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
_BASIC: Final = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC


def ort(data: bytes) -> Callable[[Feed], Outputs]:
    """ONNX Runtime on the CPU, without the optimisations that crash it with fp16."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.intra_op_num_threads = _BASIC, 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, dict(feed))


def reference_evaluator(data: bytes) -> Callable[[Feed], Outputs]:
    """ONNX's own, in NumPy: what the operators are defined to compute."""
    evaluator = ReferenceEvaluator(onnx.load_from_string(data))
    return lambda feed: evaluator.run(None, dict(feed))


@functools.cache
def _openvino() -> openvino.Core:
    """One core for the life of the process.

    OpenVINO puts the stack for signals of the thread that compiles first on memory of its own, and gives that back with
    the last model; if that happens in another thread, the next signal to the first one kills the process.
    """
    return openvino.Core()


def openvino_cpu(data: bytes) -> Callable[[Feed], Outputs]:
    """OpenVINO on the CPU in fp32; left alone it takes bfloat16 where the CPU has it.

    Raises:
        RuntimeError: if another precision is in effect.
    """
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = _openvino().compile_model(_openvino().read_model(data), "CPU", options)
    effective = compiled.get_property("INFERENCE_PRECISION_HINT")
    if effective != openvino.Type.f32:
        raise RuntimeError(f"OpenVINO computes in {effective}, not in f32")
    return lambda feed: [np.array(array) for array in compiled(dict(feed)).values()]


def check(path: Path) -> None:
    """ONNX's checker, with shape inference. Raises its errors."""
    onnx.checker.check_model(onnx.load(path), full_check=True)


def inspect(path: Path) -> str:
    """What `polygraphy inspect model` says of a file. Raises its errors, and `RuntimeError` if it ends with one."""
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["polygraphy", "inspect", "model", str(path), "--show", "layers"]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # it looks for plugins in a way that Python deprecates
        try:
            code = polygraphy_main()
        except SystemExit as ended:
            code = ended.code
    if code:
        raise RuntimeError(f"polygraphy: exit code {code}: {said.getvalue()}")
    return said.getvalue()


Runner = Callable[[bytes], Callable[[Feed], Outputs]]

REFERENCE: Final = "ONNX Runtime"
RUNNERS: Final[Mapping[str, Runner]] = {
    "OpenVINO (f32)": openvino_cpu,
    "ONNX reference evaluator": reference_evaluator,
}
LOADERS: Final[Mapping[str, Callable[[Path], object]]] = {
    "ONNX checker (full)": check,
    "Polygraphy inspector": inspect,
}
PACKAGES: Final = ("onnxruntime", "openvino", "onnx", "polygraphy")


def compare(data: bytes, rows: NDArray[Any], runner: Runner, batches: Sequence[int]) -> Difference:
    """The largest difference of a consumer from ONNX Runtime over all batch sizes and outputs."""
    session, consumer = ort(data), runner(data)
    graph = onnx.load_from_string(data).graph
    name = graph.input[0].name
    found: list[Difference] = []
    for size in batches:
        feed = {name: rows[:size]}
        names = [f"row {row} of {size}" for row in range(size)]
        for output, wanted, got in zip(graph.output, session(feed), consumer(feed), strict=True):
            found.append(Difference.of(output.name, wanted, got, rows=names))
    worst = found[0]
    for difference in found[1:]:
        worst = worst.merged(difference)
    return worst


def inputs_of(bundle: Bundle, rows: int) -> dict[str, NDArray[Any]]:
    """Real inputs by role, as many rows as asked for: frames, what the image network makes of them, steps."""
    model = load(bundle.path, device="cpu", precision="fp32", num_threads=1)
    sampled = [model.embedder.read(path) for path in sorted(EXAMPLES.glob("*.mp4"))]
    frames = np.concatenate([video.frames.reshape(-1, *video.frames.shape[2:]) for video in sampled])
    pixels = normalize(frames, model.embedder.preprocess)
    views = pixels.reshape(-1, model.embedder.sampling.num_frames, *pixels.shape[1:])
    features = np.stack([model.backend.run("vision", {"frames": view})["features"] for view in views])
    made: dict[str, NDArray[Any]] = {"vision": _repeated(pixels, rows), "temporal": _repeated(features, rows)}
    if model.embedder.tokenizer is not None:
        steps = [line for path in sorted(EXAMPLES.glob("*.txt")) for line in path.read_text().splitlines()]
        made["text"] = _repeated(model.embedder.tokenizer(steps), rows)
    return made


def _repeated(array: NDArray[Any], rows: int) -> NDArray[Any]:
    return array[np.arange(rows) % len(array)]


def networks_of(bundle: Bundle, inputs: Mapping[str, NDArray[Any]]) -> Iterator[NewNetwork]:
    """All networks of a bundle, and the precisions that it has not, made of those in fp32."""
    for file in bundle.manifest.files:
        network = NewNetwork.of(file, bundle.read(file))
        yield network
        if bundle.manifest.precisions == ("fp32",):
            yield to_fp16(network)
            static = file.role == "vision"
            batches = [inputs[file.role][:16]] if static else []
            data = quantize(network.data, static=static, name=file.inputs[0].name, batches=batches)
            if data is not None:
                yield dataclasses.replace(network, precision="int8", data=data)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consumer:
    """A backend for the deployed code, made of a consumer's networks."""

    networks: Mapping[str, Callable[[Feed], Outputs]]
    precision: str
    device: str = "cpu"
    provider: str = "a consumer"

    def run(self, role: str, inputs: Feed) -> dict[str, NDArray[Any]]:
        """See `Backend.run`."""
        names = [tensor.name for tensor in ROLES[role].outputs]
        return dict(zip(names, self.networks[role](inputs), strict=True))


def example_distances(bundle: Bundle, files: Mapping[str, bytes], runner: Runner, precision: str) -> list[float]:
    """How far the first example video is from the one of the same procedure, and from the one with swapped steps."""
    manifest = bundle.manifest
    networks = {role: runner(files[role]) for role in ("vision", "temporal")}
    backend = Consumer(networks=networks, precision=precision)
    embedder = Embedder(backend, sampling=manifest.sampling, preprocess=manifest.preprocess)
    first, *others = (embedder.embed(EXAMPLES / f"{name}.mp4") for name in PAIRS)
    return [round(distance(first, other, method=manifest.default_method), 5) for other in others]


def measure(bundle: Bundle, folder: Path, batches: Sequence[int], consumers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for every network and consumer, then one for every consumer and precision."""
    inputs = inputs_of(bundle, max(batches))
    files: dict[str, dict[str, bytes]] = {}
    for network in networks_of(bundle, inputs):
        path = folder / f"{network.role}.{network.precision}.onnx"
        path.write_bytes(network.data)
        files.setdefault(network.precision, {})[network.role] = network.data
        about = {"model": bundle.manifest.name, "precision": network.precision, "role": network.role}
        for consumer, loads in LOADERS.items():
            loads(path)
            yield {**about, "consumer": consumer}
        for consumer in consumers:
            difference = compare(network.data, inputs[network.role], RUNNERS[consumer], batches)
            numbers = {"relative": float(f"{difference.relative:.3g}"), "cosine": round(difference.cosine, 8)}
            yield {**about, "consumer": consumer, "batches": list(batches), **numbers}
        print(f"{network.role} {network.precision}: done", file=sys.stderr, flush=True)
    for precision, networks in files.items():
        for consumer, runner in {REFERENCE: ort, **{name: RUNNERS[name] for name in consumers}}.items():
            distances = example_distances(bundle, {**files["fp32"], **networks}, runner, precision)
            about = {"model": bundle.manifest.name, "precision": precision, "consumer": consumer}
            yield {**about, "distances": distances}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line for every model, precision and consumer, a column for every role, and the distances."""
    lines = ["| model | precision | consumer | vision | temporal | text | distances |", "|---|---|---|---|---|---|---|"]
    order = [REFERENCE, *RUNNERS, *LOADERS]
    keys = dict.fromkeys((row["model"], row["precision"], row["consumer"]) for row in rows)
    precisions = ("fp32", "fp16", "int8")
    for key in sorted(keys, key=lambda key: (key[0], precisions.index(key[1]), order.index(key[2]))):
        own = [row for row in rows if (row["model"], row["precision"], row["consumer"]) == key]
        by_role = {row.get("role"): row for row in own}
        cells = [_cell(by_role.get(role)) for role in ("vision", "temporal", "text")]
        distances = by_role.get(None, {}).get("distances", [])
        lines.append(f"| {' | '.join((*key, *cells, ', '.join(f'{value:.4f}' for value in distances)))} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['relative']:.1e}" if "relative" in row else "loads"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--consumers", nargs="+", choices=list(RUNNERS), default=list(RUNNERS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/consumers.json")
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    known = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    with tempfile.TemporaryDirectory(prefix="weaksvr-bench-") as folder:
        rows = [row for row in known if row["model"] != bundle.manifest.name]
        rows += measure(bundle, Path(folder), arguments.batches, arguments.consumers)
    document = {
        "benchmark": "consumers",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "rows": rows,
    }
    write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    print(table(rows))
    print(json.dumps(document))


if __name__ == "__main__":
    main()
