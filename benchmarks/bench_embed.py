"""How fast many videos are embedded, in how much memory, and how long a first verdict takes.

    python benchmarks/bench_embed.py DATA --out benchmarks/results/embed.json [--repeats 3] [--parts rendered]

DATA is a workbench dataset. Every measurement is a process of its own; the repeats take turns, so that what else the
machine does falls on all alike. Measured are a plain loop over `Embedder.embed`, `embed_stream` with several ways to
share threads out, and `weaksvr-embed` as a whole, on the rendered clips and on noisy 720p clips of 10 s, with the
default bundle and with a ViT-B-32 of random weights; the peak memory of 10 and of all clips; the time of a whole
`weaksvr-verify` process on two clips of 720p, its peak memory on two of 4K, and the time of `weaksvr-verify --help`.
The last line on stdout is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Manifest, write_bundle
from weaksvr.runtime.cpus import available_cpus
from weaksvr.runtime.pipeline import embed_stream, plan_threads
from weaksvr.runtime.spec import SamplingSpec
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.verify import load

FEW = 10
VIT = "ViT-B-32"
VIT_CLIPS = 6
PARTS = ("rendered", "720p", "ViT-B-32, 720p", "verify")


def measure_child(job: Mapping[str, Any]) -> dict[str, float]:
    """One measurement in this process: seconds of embedding (loading left out), and what the process took in all."""
    videos, threads, kind = job["videos"], job["threads"], job["kind"]
    plan = plan_threads(len(videos), total=threads)
    each = job.get("each", threads if kind == "loop" else plan.num_threads)
    model = load(job["bundle"], device="cpu", num_threads=each)
    model.embedder.warm_up()
    began = time.monotonic()
    if kind == "loop":
        done = sum(1 for video in videos if model.embedder.embed(video))
    else:
        stream = embed_stream(model.embedder, videos, workers=job.get("workers", plan.workers))
        done = sum(video.error is None for video in stream)
    seconds = time.monotonic() - began
    if done != len(videos):
        raise SystemExit(f"only {done} of {len(videos)} videos were embedded")
    return {"seconds": seconds, **usage(resource.getrusage(resource.RUSAGE_SELF))}


def run_child(job: Mapping[str, Any]) -> dict[str, float]:
    """A measurement in a process of its own: `measure_child`, or the whole command."""
    if job["kind"] != "command":
        output, _ = run_process([__file__, "--child", json.dumps(job)])
        return dict(json.loads(output))
    with tempfile.TemporaryDirectory() as folder:
        options = ["--out", f"{folder}/out.parquet", "--threads", str(job["threads"]), "--bundle", job["bundle"]]
        module = "weaksvr.runtime.commands.embed"
        output, used = run_process(["-m", module, *job["videos"], *options, "--device", "cpu", "--frames", "--json"])
    return {**used, "seconds": json.loads(output)["seconds"]}


def run_verify(arguments: Sequence[str]) -> dict[str, float]:
    """A whole `weaksvr-verify` process."""
    return run_process(["-m", "weaksvr.runtime.commands.verify", *arguments], codes=(0, 1))[1]


def run_process(arguments: Sequence[str], *, codes: Sequence[int] = (0,)) -> tuple[str, dict[str, float]]:
    """Run Python with `arguments`: its output, and what the process took."""
    began = time.monotonic()
    environment = {**os.environ, "WEAKSVR_CACHE": "off"}
    with subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise SystemExit(f"{' '.join(arguments[:2])} exited with {process.returncode}")
    return output, {"seconds": time.monotonic() - began, **usage(used)}


def usage(used: resource.struct_rusage) -> dict[str, float]:
    """CPU seconds and peak memory."""
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}


def encode(path: Path, *, size: tuple[int, int], seconds: int, seed: int) -> Path:
    """A clip of moving shapes under noise, x264 at its defaults, 25 frames a second."""
    width, height = size
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height + 256, width + 256, 3), np.uint8)
    smooth = (np.cumsum(texture.astype(np.float32) - 127.5, axis=1) / 40 + 127.5).clip(0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(25 * seconds):
            x, y = 128 + int(100 * np.sin(number / 15)), 128 + int(100 * np.cos(number / 40))
            picture = np.ascontiguousarray(smooth[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def encode_apart(path: Path, *, size: tuple[int, int], seconds: int, seed: int) -> Path:
    """`encode` in another process: what this one holds at its peak would be taken for its children's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(encode, (path,), {"size": size, "seconds": seconds, "seed": seed})


def copies(clips: Sequence[Path], number: int, folder: Path) -> list[str]:
    """`number` files with the content of `clips` in turn."""
    folder.mkdir()
    return [str(shutil.copy(clips[i % len(clips)], folder / f"{i:03}.mp4")) for i in range(number)]


def random_vit(folder: Path) -> Path:
    """A bundle of ViT-B-32 with random weights: how long a network takes does not depend on its weights."""
    import open_clip
    import torch
    from weaksvr.export.graphs import role_graphs
    from weaksvr.export.pretrained import PretrainedModel
    from weaksvr.export.to_onnx import export_onnx
    from weaksvr.train.open_clip_weights import PretrainedClip, preprocess_of
    from weaksvr.train.tower_tokenizer import text_config

    torch.manual_seed(0)
    clip = open_clip.create_model(VIT).eval()
    preprocess = preprocess_of({**clip.visual.preprocess_cfg, "interpolation": "bicubic"}, name=VIT)
    source = PretrainedClip(clip=clip, preprocess=preprocess, text=text_config(VIT), label=VIT, facts={})
    model = PretrainedModel(source, SamplingSpec(policy="three-view", num_frames=16))
    manifest = Manifest(
        name=VIT,
        description="Random weights.",
        sampling=model.sampling,
        preprocess=preprocess,
        default_method="vector",
    )
    networks = [export_onnx(graph, metadata={}) for role, graph in role_graphs(model).items() if role != "text"]
    return write_bundle(folder, manifest, networks).path


def default_jobs(videos: list[str]) -> dict[str, dict[str, Any]]:
    """With the default bundle: ways and threads, and the command with few clips."""
    base = {"bundle": str(DEFAULT_BUNDLE), "videos": videos}
    found = {
        f"{kind}, {threads} threads": {**base, "kind": kind, "threads": threads}
        for kind in ("loop", "stream", "command")
        for threads in (1, 2)
    }
    few = {**base, "videos": videos[:FEW], "kind": "command", "threads": 2}
    return {**found, f"command, 2 threads, {FEW} clips": few}


def vit_jobs(videos: list[str], bundle: Path) -> dict[str, dict[str, Any]]:
    """With a large network: ways to share two threads out."""
    base = {"bundle": str(bundle), "threads": 2, "videos": videos[:VIT_CLIPS]}
    streams = {
        f"stream, {workers} workers of {each} threads": {**base, "kind": "stream", "workers": workers, "each": each}
        for workers, each in ((1, 2), (2, 1), (2, 2), (3, 1))
    }
    return {"loop, 2 threads": {**base, "kind": "loop"}, **streams}


def summary(runs: Sequence[Mapping[str, float]], **facts: Any) -> dict[str, Any]:
    """Medians, and all times."""
    found = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
    return {**facts, **found, "all_seconds": [round(run["seconds"], 3) for run in runs]}


def measure(
    names: Sequence[str], run: Callable[[str], dict[str, float]], repeats: int
) -> dict[str, list[dict[str, float]]]:
    """All measurements `repeats` times, in turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names:
            found[name].append(run(name))
            print(f"{repeat + 1}/{repeats} {name}: {found[name][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    return found


def throughput(jobs: Mapping[str, dict[str, Any]], repeats: int) -> dict[str, Any]:
    """Results of `jobs` by name."""
    runs = measure(list(jobs), lambda name: run_child(jobs[name]), repeats)
    found = {}
    for name, times in runs.items():
        number = len(jobs[name]["videos"])
        rate = round(number / statistics.median(run["seconds"] for run in times), 2)
        found[name] = summary(times, videos=number, videos_per_second=rate)
    return found


def rendered_clips(data: Path, number: int) -> list[str]:
    """The first clips of a dataset."""
    found = sorted(map(str, data.glob("videos/**/*.mp4")))[:number]
    if len(found) < number:
        raise SystemExit(f"{data}: has {len(found)} videos, {number} are needed")
    return found


def noisy_clips(folder: Path, number: int) -> list[str]:
    """Clips of 10 s and 720p: two, and copies of them."""
    made = [encode_apart(folder / f"hd{i}.mp4", size=(1280, 720), seconds=10, seed=i) for i in range(2)]
    return copies(made, number, folder / "hd")


def part(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One of the `PARTS`."""
    repeats = arguments.repeats
    if name == "rendered":
        return throughput(default_jobs(rendered_clips(arguments.data, arguments.videos)), repeats)
    if name == "720p":
        return throughput(default_jobs(noisy_clips(folder, arguments.videos // 5)), repeats)
    if name == "ViT-B-32, 720p":
        return throughput(vit_jobs(noisy_clips(folder, VIT_CLIPS), random_vit(folder / "vit")), repeats)
    uhd = encode_apart(folder / "uhd.mp4", size=(3840, 2160), seconds=5, seed=0)
    commands: dict[str, list[str]] = {
        "two 10 s clips of 720p": noisy_clips(folder, 2),
        "two 5 s clips of 4K": [str(uhd), shutil.copy(uhd, folder / "again.mp4")],
        "--help": ["--help"],
    }
    runs = measure(list(commands), lambda key: run_verify(commands[key]), max(5, repeats))
    return {key: summary(times) for key, times in runs.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="Workbench dataset.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="Measure these only, and keep the rest of the file.")
    parser.add_argument("--out", type=Path, help="Where the JSON document goes.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--videos", type=int, default=200, help="Clips of the dataset that are embedded.")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure_child(json.loads(arguments.child))))
        return
    known = json.loads(arguments.out.read_text())["parts"] if arguments.out and arguments.out.exists() else {}
    for name in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="weaksvr-bench-") as folder:
            found = part(name, Path(folder), arguments)
        known[name] = {"repeats": arguments.repeats, "load_average": os.getloadavg(), "results": found}
        document = {
            "benchmark": "embed",
            "machine": {"cpus": available_cpus(), "processor": platform.machine()},
            "versions": {"av": av.__version__, "numpy": np.__version__, "onnxruntime": onnxruntime.__version__},
            "parts": {key: known[key] for key in PARTS if key in known},
        }
        if arguments.out:
            write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
