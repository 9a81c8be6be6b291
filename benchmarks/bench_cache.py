"""What the cache of embeddings saves, and what it costs where it knows nothing yet.

    python benchmarks/bench_cache.py --out benchmarks/results/cache.json [--repeats 5]

`ffmpeg` makes two clips of 60 s in 720p. A whole `weaksvr-verify` process compares them without a cache, with an empty
one (a miss: hash both files, keep both embeddings), and with the one that the miss filled (a hit). They take turns, so
that what else the machine does falls on all alike; results are medians, and ratios to "off" of the same turn. Their
outputs must be equal. Also measured, in this process: the hash of one clip, and the lookup that knows it.
The last line on stdout is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weaksvr.runtime.cache import Cache
from weaksvr.runtime.embedding_cache import SETTLED_SECONDS, EmbeddingCache
from weaksvr.runtime.storage import sha256_of, write_text

SECONDS = 60
HASHES = 9


def make_clip(path: Path, *, seed: int) -> Path:
    """A clip of moving patterns, x264, 25 frames a second, 4 Mbit a second."""
    picture = f"testsrc2=size=1280x720:rate=25:duration={SECONDS},hue=h={60 * seed}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-b:v", "4M", str(path)], check=True)
    return path


def run_verify(clips: list[Path], *, cache: str) -> tuple[float, str]:
    """Seconds of a whole process, and what it printed."""
    command = [sys.executable, "-m", "weaksvr.runtime.commands.verify", *map(str, clips), "--device", "cpu", "--json"]
    began = time.monotonic()
    environment = {**os.environ, "WEAKSVR_CACHE": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode not in (0, 1):
        raise SystemExit(f"weaksvr-verify failed: {done.stderr}")
    return seconds, done.stdout


def seconds_of(action: Callable[[], object]) -> float:
    """Median seconds of an action."""
    times = []
    for _ in range(HASHES):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(folder: Path, *, repeats: int) -> dict[str, Any]:
    """All measurements; the clips and caches are made in `folder`."""
    clips = [make_clip(folder / f"{seed}.mp4", seed=seed) for seed in (1, 2)]
    time.sleep(SETTLED_SECONDS + 0.5)
    turns: dict[str, list[float]] = {"off": [], "miss": [], "hit": []}
    outputs = set()
    for _ in range(repeats):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        for kind, times in turns.items():
            seconds, output = run_verify(clips, cache="off" if kind == "off" else str(folder / "cache"))
            times.append(seconds)
            outputs.add(output)
    if len(outputs) != 1:
        raise SystemExit("the verdicts differ with and without the cache")
    private = Cache(folder=folder / "lookups", limit_bytes=2**24)
    private.folder.mkdir()
    looking = EmbeddingCache(private, model="none", rows=1)
    looking.look(clips[0])
    ratios = {kind: [one / off for one, off in zip(turns[kind], turns["off"], strict=True)] for kind in ("miss", "hit")}
    return {
        "clip_mib": [round(clip.stat().st_size / 2**20, 2) for clip in clips],
        "seconds": {kind: round(statistics.median(times), 3) for kind, times in turns.items()},
        "ratio_to_off": {kind: round(statistics.median(found), 3) for kind, found in ratios.items()},
        "ratio_range": {kind: [round(min(found), 3), round(max(found), 3)] for kind, found in ratios.items()},
        "hash_seconds": round(seconds_of(lambda: sha256_of(clips[0])), 6),
        "known_lookup_seconds": round(seconds_of(lambda: looking.look(clips[0])), 6),
        "equal_outputs": True,
    }


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weaksvr-bench-") as folder:
        found = measure(Path(folder), repeats=arguments.repeats)
    document = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "repeats": arguments.repeats,
        **found,
    }
    write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
