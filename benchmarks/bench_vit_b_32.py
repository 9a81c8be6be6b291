"""What int8 gains on a CPU, and what it costs: a ViT-B-32 through the gate, and its speed against PyTorch.

A ViT-B-32 with random weights is trained for a few steps on rendered videos. It is exported twice, with static and with
dynamic int8, and compared with PyTorch on at least 10,000 pairs of rendered test videos (`--skip-gate` leaves that
out). Then the image and the temporal network embed the 16 frames of one video: PyTorch fp32 (eager), ONNX Runtime
fp32, and int8 of both kinds, each in a process of its own with the same number of threads, in turns, so that whatever
else the machine does falls on all alike. The ratio to PyTorch is that of the medians; the best times stand beside.

The work folder is kept, so an interrupted benchmark goes on where it stopped. The last line of stdout is the results
file's JSON document.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from weaksvr.export.export import ExportOptions, export_run
from weaksvr.runtime.backends import Backend
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.backends.precision import has_int8_instructions
from weaksvr.runtime.bundle import Bundle
from weaksvr.runtime.storage import write_text
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import TrainConfig, override
from weaksvr.train.datasets.workbench.writer import make_dataset
from weaksvr.train.engine import train
from weaksvr.train.presets import preset
from weaksvr.train.torch_backend import TorchBackend

KINDS = ("static", "dynamic")
FRAMES = 16


def _config(steps: int) -> TrainConfig:
    """A ViT-B-32 from random weights, small batches, as few frames as say something."""
    changes = ["model.clip=ViT-B-32", "model.pretrained=", "model.attention_scale=head"]
    changes += ["model.position_std=0.02", "optim.backbone_lr=1e-4", "optim.lr=3e-4", "optim.clip_norm=1"]
    changes += ["data.num_frames=8", "data.policy=uniform", "data.batch_size=4", "data.workers=1"]
    changes += [f"data.samples_per_epoch={4 * steps}", "optim.epochs=1", "optim.precision=fp32"]
    return override(preset("paper"), changes)


def _make_run(work: Path, *, steps: int, videos: int) -> Path:
    data, run = work / "data", work / "run"
    if not data.exists():
        make_dataset(data, train=4 * steps, val=8, test=videos)
    if not (run / "checkpoint").exists():
        train(data, run, _config(steps), device="cpu")
    return run


def _gate(run: Path, work: Path, kind: str, *, pairs: int) -> dict[str, Any]:
    """The gate's report on a bundle with int8 of this kind; with fp16 too where it is the first one."""
    out = work / kind
    if not out.exists():
        options = ExportOptions(fp16=kind == KINDS[0], int8=kind, gate_pairs=pairs)
        export_run(run, out, pairs_file=work / "data/test_pairs.csv", options=options)
    manifest = Bundle.open(out).manifest
    return {
        "checks": dict(manifest.checks),
        "thresholds": [threshold.to_json() for threshold in manifest.thresholds],
        "megabytes": {
            name: round(sum(file.bytes for file in manifest.files if file.precision == name) / 1e6, 1)
            for name in manifest.precisions
        },
    }


def _serve(connection: Connection, engine: str, work: str, threads: int) -> None:
    """The process of one engine: says how long each video took."""
    backend = _backend(engine, Path(work), threads)
    frames = np.random.default_rng(0).normal(size=(FRAMES, 3, 224, 224)).astype(np.float32)
    while connection.recv():
        start = time.perf_counter()
        _embed(backend, frames)
        connection.send(time.perf_counter() - start)


def _embed(backend: Backend, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    features = backend.run("vision", {"frames": frames})["features"]
    T = 8  # what the run was trained with
    vectors: NDArray[np.float32] = backend.run("temporal", {"features": features.reshape(-1, T, features.shape[-1])})[
        "video_vector"
    ]
    return vectors


def _backend(engine: str, work: Path, threads: int) -> Backend:
    if engine == "PyTorch fp32":
        torch.set_num_threads(threads)
        return TorchBackend(load_checkpoint(work / "run").model.cpu().eval(), torch.device("cpu"))
    precision, kind = engine.removeprefix("ONNX Runtime ").split()[0], engine.rsplit(maxsplit=1)[-1]
    folder = work / (kind if kind in KINDS else KINDS[0])
    return OrtBackend(Bundle.open(folder), device="cpu", precision=precision, num_threads=threads)


def _speed(work: Path, *, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    engines = ("PyTorch fp32", "ONNX Runtime fp32", *(f"ONNX Runtime int8 {kind}" for kind in KINDS))
    spawn = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    for engine in engines:
        ours, theirs = spawn.Pipe()
        spawn.Process(target=_serve, args=(theirs, engine, str(work), threads), daemon=True).start()
        ends[engine] = ours
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    for done in range(rounds + 2):
        for engine, end in ends.items():
            end.send(True)
            took = end.recv()
            if done >= 2:  # the first ones allocate
                seconds[engine].append(took)
    for end in ends.values():
        end.send(False)
    slow = statistics.median(seconds[engines[0]])
    return {
        engine: {
            "median_ms": round(statistics.median(values) * 1e3, 1),
            "best_ms": round(min(values) * 1e3, 1),
            "ratio": round(slow / statistics.median(values), 2),
            "best_ratio": round(min(seconds[engines[0]]) / min(values), 2),
        }
        for engine, values in seconds.items()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for data, run and bundles; kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/vit_b_32.json")
    parser.add_argument("--steps", type=int, default=12, help="training steps")
    parser.add_argument("--videos", type=int, default=144, help="test videos, of which all pairs are compared")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only-speed", action="store_true", help="keep the gate's results of the results file")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if not arguments.only_speed:
        run = _make_run(arguments.work, steps=arguments.steps, videos=arguments.videos)
        document["gate"] = {kind: _gate(run, arguments.work, kind, pairs=arguments.pairs) for kind in KINDS}
    document["speed"] = _speed(arguments.work, threads=arguments.threads, rounds=arguments.rounds)
    document |= {
        "benchmark": "vit_b_32",
        "frames": FRAMES,
        "threads": arguments.threads,
        "int8_instructions": has_int8_instructions(),
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    for engine, found in document["speed"].items():
        print(f"{engine:<28}{found['median_ms']:>9.1f} ms  {found['ratio']:>5.2f} times PyTorch's speed")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
