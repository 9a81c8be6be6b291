"""A corpus through Ray Data with the runtime's stage: two workers of one CPU each, on a local Ray.

    python benchmarks/bench_embed_ray.py DATA --out benchmarks/results/embed_ray.json [--videos 200]

DATA is a workbench dataset. Shows that `EmbedStage` runs as it is in an existing engine: the same vectors as a plain
loop over `Embedder.embed`, and how long both take, starting Ray and loading models among it. The last line on stdout is
JSON. Needs ray[data], of the dependency group `bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import ray
from weaksvr.runtime.cpus import available_cpus
from weaksvr.runtime.embed_stage import EmbedStage
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.verify import load

WORKERS = 2
BATCH = 16


def by_ray(videos: list[str], out: Path) -> float:
    """Embed into Parquet files below `out`; seconds."""
    began = time.monotonic()
    # One CPU more than the workers hold: reading and writing are tasks that need one, too.
    ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.from_items([{"video": video} for video in videos]).repartition(-(-len(videos) // BATCH)).map_batches(
        EmbedStage,
        fn_constructor_kwargs={"device": "cpu", "num_threads": 1},
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        num_cpus=1,
    ).write_parquet(str(out))
    seconds = time.monotonic() - began
    ray.shutdown()
    return seconds


def by_loop(videos: list[str]) -> tuple[float, dict[str, np.ndarray]]:
    """Embed in this process; seconds, and vectors by video."""
    began = time.monotonic()
    model = load(device="cpu", num_threads=1)
    vectors = {video: model.embed(video).vector for video in videos}
    return time.monotonic() - began, vectors


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--videos", type=int, default=200)
    arguments = parser.parse_args()
    videos = sorted(map(str, arguments.data.resolve().glob("videos/**/*.mp4")))[: arguments.videos]
    with tempfile.TemporaryDirectory(prefix="weaksvr-bench-") as folder:
        ray_seconds = by_ray(videos, Path(folder) / "out")
        table = pq.read_table(Path(folder) / "out")
    loop_seconds, expected = by_loop(videos)
    found = dict(zip(table["video"].to_pylist(), table["vector"].to_pylist(), strict=True))
    differences = [np.abs(np.float32(found[video]) - vector).max() for video, vector in expected.items()]
    document = {
        "benchmark": "embed_ray",
        "machine": {"cpus": available_cpus(), "processor": platform.machine(), "load_average": os.getloadavg()},
        "versions": {"ray": ray.__version__, "numpy": np.__version__},
        "videos": len(found),
        "failed": sum(error != "" for error in table["error"].to_pylist()),
        "workers": WORKERS,
        "ray_seconds": round(ray_seconds, 2),
        "loop_seconds": round(loop_seconds, 2),
        "largest_difference": float(max(differences)),
    }
    if arguments.out:
        write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
