"""Verifying two videos of 60 s, 1080p, from file to verdict, with a ViT-B-32: against peers' decoders and PyTorch.

    python benchmarks/bench_verify.py WORK --out benchmarks/results/verify.json [--clips DIR] [--rounds 7] [--cold 3]

A ViT-B-32 with random weights is trained for two steps and exported with dynamic int8 through the gate; the speed of a
network does not depend on what it has learned. Both videos are the one-minute x264 clip of the decode benchmark, under
two names; 16 frames of each are looked at.

First every decoder that returns exact frames decodes both clips, in two ways: one after the other with all threads, and
both at the same time with a share of them. The fastest way of the fastest one is the peer. It is put before PyTorch
(eager, fp32) and before ONNX Runtime (fp32). Every stack is a process of its own and gets as many threads; rounds take
turns, so that whatever else the machine does falls on all alike. "cold" is a whole process, from its start to its end:
imports, loading, one verdict. The last line of stdout is the results file's JSON document.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from decode_clips import CLIPS, make_clip
from decode_peers import load_reader, version_of
from numpy.typing import NDArray

FRAMES = 16
SIDE = 224
CLIP = "x264_1080p.mp4"
EXACT_PEERS = ("torchcodec exact", "decord", "video_reader-rs", "OpenCV grab", "PyAV sequential")
OURS = {"weaksvr fp32": ("fp32", "uniform"), "weaksvr int8, segment": ("int8", "segment")}
ENGINES = ("PyTorch fp32", "ONNX Runtime fp32")
WAYS = ("in turn", "together")


def make_bundle(work: Path) -> Path:
    """The bundle of a ViT-B-32 that takes 16 frames; kept in `work`, its run too."""
    from weaksvr.export.export import ExportOptions, export_run
    from weaksvr.train.config import override
    from weaksvr.train.datasets.workbench.writer import make_dataset
    from weaksvr.train.engine import train
    from weaksvr.train.presets import preset

    data, run, bundle = work / "data", work / "run", work / "bundle"
    if not data.exists():
        make_dataset(data, train=8, val=8, test=12)
    if not (run / "checkpoint").exists():
        changes = ["model.clip=ViT-B-32", "model.pretrained=", "model.attention_scale=head", "model.position_std=0.02"]
        changes += [f"data.num_frames={FRAMES}", "data.policy=uniform", "data.batch_size=4", "data.workers=1"]
        changes += ["data.samples_per_epoch=8", "optim.epochs=1", "optim.precision=fp32"]
        train(data, run, override(preset("paper"), changes), device="cpu")
    if not bundle.exists():
        options = ExportOptions(int8="dynamic", gate_pairs=66)
        export_run(run, bundle, pairs_file=data / "test_pairs.csv", options=options)
    return bundle


def uniform(num_frames: int) -> list[int]:
    """The middles of equal segments."""
    return [(2 * j + 1) * num_frames // (2 * FRAMES) for j in range(FRAMES)]


def decode_with(peer: str, way: str, threads: int) -> Callable[[list[str]], list[NDArray[np.uint8]]]:
    """Both clips through a peer's decoder, scaled by it."""
    reader = load_reader(peer)
    (clip,) = (clip for clip in CLIPS if clip.file == CLIP)
    width = round(SIDE * clip.width / clip.height)
    indices = uniform(clip.num_frames)

    def decode(paths: list[str]) -> list[NDArray[np.uint8]]:
        if way == "in turn":
            return [reader(path, indices, SIDE, width, threads) for path in paths]
        with ThreadPoolExecutor(len(paths)) as pool:
            return [*pool.map(lambda path: reader(path, indices, SIDE, width, max(1, threads // len(paths))), paths)]

    return decode


def verifier(stack: str, work: Path, threads: int) -> Callable[[list[str]], float]:
    """A stack, loaded: two paths to their distance."""
    if stack in OURS:
        from weaksvr.runtime import load

        precision, sampling = OURS[stack]
        model = load(work / "bundle", device="cpu", precision=precision, sampling=sampling, num_threads=threads)
        return lambda paths: model.verify(*paths, method="vector", threshold=0.5).distance
    engine, peer, way = stack.split(" + ")
    backend = _backend(engine, work, threads)
    decode = decode_with(peer, way, threads)
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32) * 255  # CLIP's
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32) * 255

    def verify(paths: list[str]) -> float:
        frames = np.concatenate(decode(paths))
        left = (frames.shape[2] - SIDE) // 2
        pixels = (frames[:, :, left : left + SIDE].astype(np.float32) - mean) / std
        features = backend.run("vision", {"frames": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})["features"]
        vectors = backend.run("temporal", {"features": features.reshape(len(paths), FRAMES, -1)})["video_vector"]
        first, second = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float(np.linalg.norm(first - second))

    return verify


def _backend(engine: str, work: Path, threads: int) -> Any:
    if engine == "PyTorch fp32":
        import torch
        from weaksvr.train.checkpoint import load_checkpoint
        from weaksvr.train.torch_backend import TorchBackend

        torch.set_num_threads(threads)
        return TorchBackend(load_checkpoint(work / "run").model.cpu().eval(), torch.device("cpu"))
    from weaksvr.runtime.backends.ort import OrtBackend
    from weaksvr.runtime.bundle import Bundle

    return OrtBackend(Bundle.open(work / "bundle"), device="cpu", precision="fp32", num_threads=threads)


def serve(connection: Connection, job: str, work: str, threads: int, paths: list[str]) -> None:
    """The process of one stack, or of one decoder: says how long each round took, or what went wrong."""
    try:
        decoding = job.split(" + ")
        task: Callable[[list[str]], Any] = (
            decode_with(*decoding, threads) if len(decoding) == 2 else verifier(job, Path(work), threads)
        )
        while connection.recv():
            start = time.perf_counter()
            task(paths)
            connection.send(time.perf_counter() - start)
    except Exception as error:  # noqa: BLE001 - a peer may fail in any way
        connection.send(f"{type(error).__name__}: {error}".splitlines()[0])


def in_turns(jobs: list[str], work: Path, threads: int, paths: list[str], rounds: int) -> dict[str, list[float] | str]:
    """Seconds of each round of each job, the first left out; or why there are none."""
    spawn = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    for job in jobs:
        ours, theirs = spawn.Pipe()
        spawn.Process(target=serve, args=(theirs, job, str(work), threads, paths), daemon=True).start()
        ends[job] = ours
    found: dict[str, list[float] | str] = {job: [] for job in jobs}
    for done in range(rounds + 1):
        for job, end in ends.items():
            seconds = found[job]
            if isinstance(seconds, str):
                continue
            end.send(True)
            took = end.recv()
            if isinstance(took, str):
                found[job] = took
            elif done:
                seconds.append(took)
    for job, end in ends.items():
        if not isinstance(found[job], str):
            end.send(False)
    return found


def cold(stacks: list[str], work: Path, threads: int, paths: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of whole processes; the first round, which fills the system's caches, is left out."""
    found: dict[str, list[float]] = {stack: [] for stack in stacks}
    for done in range(rounds + 1):
        for stack in stacks:
            command = [sys.executable, __file__, str(work), "--once", stack, *paths, "--threads", str(threads)]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if done:
                found[stack].append(time.perf_counter() - start)
    return found


def _summary(seconds: dict[str, list[float]], slow: str) -> dict[str, dict[str, float]]:
    middle = {stack: statistics.median(values) for stack, values in seconds.items()}
    return {
        stack: {
            "median_seconds": round(middle[stack], 3),
            "best_seconds": round(min(values), 3),
            "gain": round(middle[slow] / middle[stack], 2),
        }
        for stack, values in seconds.items()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for data, run and bundle; kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "verify.json")
    parser.add_argument("--clips", type=Path, default=Path("build/decode_clips"), help="where clips are made and kept")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", type=int, default=3, help="rounds of whole processes")
    parser.add_argument("--once", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        stack, *paths = options.once
        print(verifier(stack, options.work, options.threads)(paths))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    make_bundle(options.work)
    (clip,) = (clip for clip in CLIPS if clip.file == CLIP)
    first = make_clip(clip, options.clips)
    second = options.work / "second.mp4"
    shutil.copyfile(first, second)
    paths = [str(first), str(second)]
    candidates = [f"{peer} + {way}" for peer in EXACT_PEERS for way in WAYS]
    decoded = in_turns(candidates, options.work, options.threads, paths, 2)
    best = min((min(seconds), job) for job, seconds in decoded.items() if not isinstance(seconds, str))[1]
    stacks = [*OURS, *(f"{engine} + {best}" for engine in ENGINES)]
    warm = in_turns(stacks, options.work, options.threads, paths, options.rounds)
    failed = {job: why for job, why in warm.items() if isinstance(why, str)}
    if failed:
        sys.exit(f"a stack failed: {failed}")
    peer = min(stacks[2:], key=lambda stack: statistics.median(warm[stack]))
    document = {
        "benchmark": "verify",
        "clips": f"{clip.name}, {clip.height} lines, {clip.seconds} s, twice",
        "frames": FRAMES,
        "threads": options.threads,
        "decoders": {
            job: seconds if isinstance(seconds, str) else round(min(seconds), 3) for job, seconds in decoded.items()
        },
        "gain_against": {"warm": peer},
        "warm": _summary(warm, peer),
        "versions": {
            **{peer: version_of(peer) for peer in ("weaksvr", best.split(" + ")[0])},
            **{name: importlib.metadata.version(name) for name in ("torch", "onnxruntime")},
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "load": round(os.getloadavg()[0], 1),
    }
    if options.cold:
        seconds = cold(stacks, options.work, options.threads, paths, options.cold)
        slow = min(stacks[2:], key=lambda stack: statistics.median(seconds[stack]))
        document["gain_against"]["cold"] = slow
        document["cold"] = _summary(seconds, slow)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
