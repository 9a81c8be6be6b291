"""How far one gets on a workbench dataset without understanding it.

    python benchmarks/bench_workbench_shortcuts.py DATA [--split test] [--limit 0.65]

Measures the AUC of distances that are blind to what is done: the videos' lengths, their first and last frames, their
mean frames, and time warping on small raw pictures. Each must stay at or below the limit, read in whichever direction
is better. The distance of the true step sequences shows what there is to be found. The last line on stdout is JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weaksvr.runtime import open_video
from weaksvr.runtime.alignment import alignment_distance
from weaksvr.runtime.metrics import auc_by_kind, edit_distance, roc_auc
from weaksvr.runtime.sampling import uniform_indices

NUM_FRAMES = 16
SMALL = 16  # side of the pictures that are warped


class Clip:
    """What the shortcuts see of one video: length and sampled frames."""

    def __init__(self, path: Path) -> None:
        with open_video(path) as video:
            self.seconds = float(video.duration_seconds)
            wanted = [0, *uniform_indices(video.num_frames, NUM_FRAMES).tolist(), video.num_frames - 1]
            frames = video.frames(wanted).astype(np.float32) / 255
        self.ends = np.stack([frames[0], frames[-1]])
        self.mean = frames[1:-1].mean(axis=0)
        t, height, width, channels = frames[1:-1].shape
        blocks = frames[1:-1].reshape(t, SMALL, height // SMALL, SMALL, width // SMALL, channels)
        self.small: NDArray[np.float32] = blocks.mean(axis=(2, 4)).reshape(t, -1)


def warped(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Time warping of two sequences under the Euclidean distance, cost divided by the length of both."""
    cost = np.sqrt(((a[:, None] - b[None]) ** 2).mean(axis=-1))
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1] / (len(a) + len(b)))


def root_mean_square(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Euclidean distance of two pictures a pixel."""
    return float(np.sqrt(((a - b) ** 2).mean()))


def centred(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sequence without its mean picture: only what changes."""
    return frames - frames.mean(axis=0)


SHORTCUTS: dict[str, Callable[[Clip, Clip], float]] = {
    "length": lambda a, b: abs(float(np.log(a.seconds / b.seconds))),
    "first and last frame": lambda a, b: root_mean_square(a.ends, b.ends),
    "mean frame": lambda a, b: root_mean_square(a.mean, b.mean),
    "warped pixels": lambda a, b: warped(a.small, b.small),
    "warped pixels, cosine": lambda a, b: alignment_distance(a.small, b.small),
    "warped changes": lambda a, b: warped(centred(a.small), centred(b.small)),
}


def read_pairs(path: Path) -> list[dict[str, str]]:
    """Rows of a pairs file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_steps(path: Path) -> dict[str, list[str]]:
    """Video -> its true steps, from the boundary file."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {row["video"]: [step["step"] for step in row["steps"]] for row in rows}


def measure(data: Path, split: str) -> dict[str, dict[str, float]]:
    """AUC by shortcut, over all pairs and by kind; the better of both directions."""
    pairs = read_pairs(data / f"{split}_pairs.csv")
    same = [row["same"] == "1" for row in pairs]
    kinds = [row["kind"] for row in pairs]
    clips = {
        name: Clip(data / name) for name in sorted({row[side] for row in pairs for side in ("video_a", "video_b")})
    }
    steps = read_steps(data / "boundaries.jsonl")

    def table(distances: list[float]) -> dict[str, float]:
        every = {"all": roc_auc(same, distances), **auc_by_kind(same, distances, kinds)}
        return {kind: max(auc, 1 - auc) for kind, auc in every.items()}

    result = {
        name: table([distance(clips[row["video_a"]], clips[row["video_b"]]) for row in pairs])
        for name, distance in SHORTCUTS.items()
    }
    truth = [float(edit_distance(steps[row["video_a"]], steps[row["video_b"]])) for row in pairs]
    return {**result, "true step sequence": table(truth)}


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the numbers for people."""
    kinds = list(next(iter(table.values())))
    print(f"{'AUC':24}" + "".join(f"{kind:>9}" for kind in kinds))
    for name, row in table.items():
        print(f"{name:24}" + "".join(f"{row[kind]:9.3f}" for kind in kinds))


def main() -> int:
    """Measure, print, and return 1 if a shortcut goes too far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--limit", type=float, default=0.65)
    arguments = parser.parse_args()
    table = measure(arguments.data, arguments.split)
    show(table)
    too_far = [name for name in SHORTCUTS if table[name]["all"] > arguments.limit]
    print(f"above {arguments.limit}: {', '.join(too_far) or 'none'}")
    document: dict[str, Any] = {
        "benchmark": "workbench_shortcuts",
        "split": arguments.split,
        "pairs": len(read_pairs(arguments.data / f"{arguments.split}_pairs.csv")),
        "dataset": json.loads((arguments.data / "dataset.json").read_text()),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "limit": arguments.limit,
        "passed": not too_far,
        "auc": table,
    }
    print(json.dumps(document))
    return 1 if too_far else 0


if __name__ == "__main__":
    sys.exit(main())
