"""Compare two videos with a bundle, knowing nothing but its manifest: numpy, ONNX Runtime and PyAV, and no `weaksvr`.

    python examples/plain_bundle.py BUNDLE A.mp4 B.mp4 [--method vector|alignment] [--precision fp32]

A model for clients in other languages and systems: everything that a verdict depends on stands in `manifest.json`, and
this file shows what its words mean. It prints one JSON document, and exits with 0 if the procedures are the same and
with 1 if they differ. It takes sound files for granted; for damaged or hostile ones use `weaksvr-verify`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

Network = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]
SCALING = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)


def network(bundle: Path, manifest: dict[str, Any], role: str, precision: str) -> Network:
    """The network of a role, after the hash of its file is checked."""
    (entry,) = (file for file in manifest["files"] if (file["role"], file["precision"]) == (role, precision))
    data = (bundle / entry["path"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise SystemExit(f"{entry['path']}: was changed since the bundle was made")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (source,) = entry["inputs"]
    names = [tensor["name"] for tensor in entry["outputs"]]
    return lambda array: dict(zip(names, session.run(names, {source["name"]: array}), strict=True))


def chosen_frames(num_frames: int, sampling: dict[str, Any]) -> NDArray[np.int64]:
    """Frame numbers of every view, (V, T), for a video of N frames."""
    T = sampling["num_frames"]
    if sampling["policy"] == "uniform":  # the middle frame of each of T equal segments
        return ((2 * np.arange(T) + 1) * num_frames // (2 * T))[None]
    borders = np.arange(T + 1) * (num_frames - 2) // T  # three-view: at 1/4, 2/4 and 3/4 of each segment
    return borders[:-1] + np.diff(borders) // 4 * np.arange(1, 4)[:, None]


def sizes(height: int, width: int, spec: dict[str, Any]) -> tuple[int, int]:
    """(height, width) that a picture is scaled to before its centre is cut out."""
    if spec["resize"] == "squash":
        return spec["height"], spec["width"]
    if spec["height"] * width >= spec["width"] * height:  # shorter: until it just covers the input
        return spec["height"], max(spec["width"], spec["height"] * width // height)
    return max(spec["height"], spec["width"] * height // width), spec["width"]


def read_frames(
    video: str, sampling: dict[str, Any], spec: dict[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The numbers of the sampled frames (V, T), and their pixels (V, T, height, width, 3)."""
    with av.open(video) as container:
        indices = chosen_frames(sum(1 for _ in container.decode(video=0)), sampling)
    wanted, pictures = set(indices.reshape(-1).tolist()), {}
    reformatter = VideoReformatter()
    with av.open(video) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                height, width = sizes(frame.height, frame.width, spec)
                scaled = reformatter.reformat(
                    frame, width, height, "rgb24", interpolation=SCALING, dst_color_range=ColorRange.JPEG
                ).to_ndarray()
                top, left = round((height - spec["height"]) / 2), round((width - spec["width"]) / 2)
                pictures[number] = scaled[top : top + spec["height"], left : left + spec["width"]]
    return indices, np.stack([[pictures[number] for number in view] for view in indices.tolist()])


def embed(video: str, manifest: dict[str, Any], vision: Network, temporal: Network) -> dict[str, NDArray[np.float64]]:
    """What each method compares: the video's vector, as one row, and the features of its frames in time order."""
    spec = manifest["preprocess"]
    indices, frames = read_frames(video, manifest["sampling"], spec)
    pixels = ((frames / 255 - spec["mean"]) / spec["std"]).astype(np.float32).transpose(0, 1, 4, 2, 3)
    features = np.stack([vision(np.ascontiguousarray(view))["features"] for view in pixels])
    found = temporal(features)
    order = np.argsort(indices, axis=None, kind="stable")
    sequence = found["frame_features"].reshape(indices.size, -1)[order]
    return {"vector": unit(found["video_vector"].mean(axis=0)[None]), "alignment": unit(sequence)}


def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


def warped(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The cheapest path of dynamic time warping over 1 - cosine, divided by the frames of both."""
    cost = np.clip(1 - a @ b.T, 0, 2)
    total = np.full((len(a) + 1, len(b) + 1), math.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1] / (len(a) + len(b)))


def main() -> int:
    """Read the manifest, embed both videos, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("videos", nargs=2)
    parser.add_argument("--method", choices=["vector", "alignment"])
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    manifest = json.loads((arguments.bundle / "manifest.json").read_text(encoding="utf-8"))
    method = arguments.method or manifest["default_method"]
    key = {
        "method": method,
        "precision": arguments.precision,
        "sampling": f"{manifest['sampling']['policy']}-{manifest['sampling']['num_frames']}",
    }
    threshold = next((entry["threshold"] for entry in manifest["thresholds"] if key.items() <= entry.items()), None)
    if threshold is None:
        raise SystemExit(f"the bundle has no threshold for {key}")
    networks = [network(arguments.bundle, manifest, role, arguments.precision) for role in ("vision", "temporal")]
    a, b = (embed(video, manifest, *networks)[method] for video in arguments.videos)
    distance = float(np.linalg.norm(a - b)) if method == "vector" else warped(a, b)
    verdict = {"same": distance <= threshold, "distance": distance, "threshold": threshold, **key}
    sys.stdout.write(json.dumps(verdict, indent=2) + "\n")
    return 0 if verdict["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
