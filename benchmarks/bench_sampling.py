"""What the sampling policies are worth: AUC on test pairs, what is decoded, verdicts on re-encoded videos.

Thresholds of each policy are calibrated on the validation pairs, at equal error and at a false accept rate of 5 %, and
tried on the test pairs, whose tasks are others. A part of the test videos is encoded anew in four ways; each verdict of
a pair with a re-encoded video is compared with that of the pair. What is decoded is counted, not timed. The last line
of stdout is the document that is written.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from weaksvr.runtime import Model, load, open_video
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.calibrate import calibrated_threshold
from weaksvr.runtime.embedder import SampledVideo, VideoEmbedding
from weaksvr.runtime.evaluate import pair_distances
from weaksvr.runtime.manifest import Dataset, Pair, read_dataset
from weaksvr.runtime.metrics import auc_by_kind, roc_auc
from weaksvr.runtime.operating_point import EQUAL_ERROR, Curve, OperatingPoint
from weaksvr.runtime.preprocess import read_frames
from weaksvr.runtime.resampling import Links, binomial_interval
from weaksvr.runtime.sampling import frame_indices
from weaksvr.runtime.spec import METHODS, SamplingPolicy
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.video_cost import DecodePlan

POLICIES: tuple[SamplingPolicy, ...] = ("uniform", "three-view", "segment")
POINTS = (EQUAL_ERROR, OperatingPoint(rule="false-accept", rate=0.05))
ENCODINGS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "H.264, GOP 10": ("mp4", "libx264", {"g": "10"}),
    "H.264, GOP 250": ("mp4", "libx264", {"g": "250"}),
    "HEVC": ("mp4", "libx265", {"preset": "fast", "x265-params": "log-level=error"}),
    "VP9": ("webm", "libvpx-vp9", {"b": "0", "crf": "31", "deadline": "realtime", "cpu-used": "6"}),
}

Embeddings = dict[Path, VideoEmbedding]
Plans = dict[SamplingPolicy, tuple[DecodePlan, int]]
"""What a policy decodes of a video, and the video's frames."""


def _reencode(source: Path, target: Path, encoding: str) -> None:
    _, codec, options = ENCODINGS[encoding]
    with open_video(source) as video, av.open(target, "w") as container:
        rate = round(video.num_frames / video.duration_seconds)
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for pixels in video.frames(range(video.num_frames)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _reencoded(pairs: Sequence[Pair], folder: Path, pool: Executor) -> dict[str, list[Pair]]:
    """The pairs with their first video encoded anew, by encoding."""
    found: dict[str, list[Pair]] = {}
    started: dict[Path, Future[None]] = {}
    for number, (name, (suffix, _, _)) in enumerate(ENCODINGS.items()):
        found[name] = []
        for pair in pairs:
            target = folder / f"{number}.{pair.video_a.stem}.{suffix}"
            if target not in started:
                started[target] = pool.submit(_reencode, pair.video_a, target, name)
            found[name].append(Pair(video_a=target, video_b=pair.video_b, same=pair.same))
    for encoding in started.values():
        encoding.result()
    return found


def _embed(path: Path, models: Mapping[SamplingPolicy, Model]) -> tuple[dict[SamplingPolicy, VideoEmbedding], Plans]:
    """A video by every policy; frames that several of them take are decoded once."""
    with open_video(path, num_threads=1) as video:
        indices = {
            policy: frame_indices(video.num_frames, model.embedder.sampling, choose=video.cheapest)
            for policy, model in models.items()
        }
        taken = np.unique(np.concatenate([rows.reshape(-1) for rows in indices.values()]))
        frames = read_frames(video, taken, models["uniform"].embedder.preprocess)
        plans = {policy: (video.plan(rows.reshape(-1)), video.num_frames) for policy, rows in indices.items()}
        sampled = {
            policy: SampledVideo(
                path=str(path),
                frames=frames[np.searchsorted(taken, rows)],
                indices=rows,
                times_seconds=video.times(rows.reshape(-1)).reshape(rows.shape),
                num_frames=video.num_frames,
                duration_seconds=video.duration_seconds,
            )
            for policy, rows in indices.items()
        }
    return {policy: models[policy].embedder.embed_sampled(frames) for policy, frames in sampled.items()}, plans


def _embed_part(bundle: Path, paths: Sequence[Path]) -> list[tuple[dict[SamplingPolicy, VideoEmbedding], Plans]]:
    models = {policy: load(bundle, device="cpu", sampling=policy, num_threads=1) for policy in POLICIES}
    return [_embed(path, models) for path in paths]


def _decoded(plans: Sequence[tuple[DecodePlan, int]]) -> dict[str, float]:
    """Means over the videos: frames that are looked at, pictures and bytes that are decoded for them."""
    return {
        "frames": round(statistics.mean(plan.num_frames for plan, _ in plans), 1),
        "video_frames": round(statistics.mean(frames for _, frames in plans), 1),
        "pictures": round(statistics.mean(plan.num_pictures for plan, _ in plans), 1),
        "kilobytes": round(statistics.mean(plan.num_bytes for plan, _ in plans) / 1e3, 1),
    }


def _method(
    val: tuple[Embeddings, Sequence[Pair]],
    test: tuple[Embeddings, Sequence[Pair]],
    again: tuple[Embeddings, Sequence[Pair], Mapping[str, Sequence[Pair]]],
    key: Mapping[str, Any],
) -> dict[str, Any]:
    distances = pair_distances(*val, method=key["method"])
    on_test = pair_distances(*test, method=key["method"])
    same = np.array([pair.same for pair in test[1]])
    document: dict[str, Any] = {}
    for point in POINTS:
        entry = calibrated_threshold(distances, val[1], **key, at=point)
        judged = calibrated_threshold(on_test, test[1], **key, at=point).calibrated
        passes = on_test <= entry.threshold
        accepted = int(passes[~same].sum())
        worth = judged.evidence.independent_different
        rate = accepted / int((~same).sum())
        document[str(point)] = {
            "calibration": {**entry.calibrated.to_json(), "threshold": entry.threshold},
            "test_auc": judged.auc,
            "test_auc_interval": judged.evidence.intervals["auc"],
            "test_false_accept": rate,
            "test_false_accept_interval": binomial_interval(rate * worth, worth),
            "test_false_refuse": float((~passes)[same].mean()),
            "test_accuracy": float((passes == same).mean()),
        }
        if point == EQUAL_ERROR:
            chances = np.array([entry.probability.at(distance) for distance in on_test])
            document["probability"] = _reliability(same, chances)
            document["auc_by_kind"] = auc_by_kind(same, on_test, [pair.kind for pair in test[1]])
            document["reencoded"] = _kept(again, entry.threshold, key["method"])
    return document


def _against_uniform(by_policy: Mapping[SamplingPolicy, Embeddings], pairs: Sequence[Pair]) -> dict[str, Any]:
    """How much the AUC of each policy is above that of `uniform`, with the interval of 95 % of this difference."""
    same = np.array([pair.same for pair in pairs])
    links = Links.of([(pair.video_a, pair.video_b) for pair in pairs])
    weights = np.concatenate(list(links.resamples(same, 2000)))
    found: dict[str, Any] = {}
    for method in METHODS:
        distances = {policy: pair_distances(rows, pairs, method=method) for policy, rows in by_policy.items()}
        drawn = {policy: Curve(same, values, weights).auc for policy, values in distances.items()}
        found[method] = {
            policy: {
                "difference": roc_auc(same, distances[policy]) - roc_auc(same, distances["uniform"]),
                "interval": np.quantile(drawn[policy] - drawn["uniform"], (0.025, 0.975)).tolist(),
            }
            for policy in POLICIES
            if policy != "uniform"
        }
    return found


def _reliability(same: np.ndarray, chances: np.ndarray) -> list[dict[str, float]]:
    """Of the pairs whose probability is in a fifth of the scale: their number, its mean, how many are the same."""
    rows = []
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (chances >= low) & (chances <= low + 0.2)
        if inside.any():
            mean, share = float(chances[inside].mean()), float(same[inside].mean())
            rows.append({"from": low, "pairs": int(inside.sum()), "probability": mean, "same": share})
    return rows


def _kept(
    again: tuple[Embeddings, Sequence[Pair], Mapping[str, Sequence[Pair]]], threshold: float, method: Any
) -> dict[str, dict[str, float]]:
    embeddings, pairs, encoded = again
    before = pair_distances(embeddings, pairs, method=method)
    rows = {}
    for name, others in encoded.items():
        after = pair_distances(embeddings, others, method=method)
        rows[name] = {
            "pairs": len(pairs),
            "kept": int(((before <= threshold) == (after <= threshold)).sum()),
            "median_change": float(np.median(np.abs(after - before))),
            "largest_change": float(np.abs(after - before).max()),
        }
    return rows


def _policy(
    policy: SamplingPolicy, embeddings: Embeddings, data: Dataset, encoded: Mapping[str, Sequence[Pair]], bundle: Path
) -> dict[str, Any]:
    model = load(bundle, device="cpu", sampling=policy)
    key = {"precision": model.backend.precision, "sampling": model.embedder.sampling.key}
    chosen = _few(data.test_pairs, len(next(iter(encoded.values()))))
    parts = (embeddings, data.val_pairs), (embeddings, data.test_pairs), (embeddings, chosen, encoded)
    return {method: _method(*parts, {"method": method, **key}) for method in METHODS}


def _few(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Pairs that are spread evenly, as many same as different ones."""
    rows = []
    for kind in (True, False):
        of_kind = [pair for pair in pairs if pair.same is kind]
        rows += [of_kind[row] for row in np.linspace(0, len(of_kind) - 1, count // 2, dtype=int)]
    return rows


def main() -> None:
    """Measure, write the document, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="rendered dataset, of weaksvr-make-videos")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sampling.json"))
    parser.add_argument("--reencode", type=int, default=16, help="test pairs of which a video is encoded anew")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    arguments = parser.parse_args()
    data = read_dataset(arguments.data, require_train=False)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool:
        encoded = _reencoded(_few(data.test_pairs, arguments.reencode), Path(folder), pool)
        pairs = [*data.test_pairs, *data.val_pairs, *(pair for rows in encoded.values() for pair in rows)]
        paths = list(dict.fromkeys(video for pair in pairs for video in (pair.video_a, pair.video_b)))
        parts = [pool.submit(_embed_part, arguments.bundle, paths[row : row + 20]) for row in range(0, len(paths), 20)]
        found = dict(zip(paths, itertools.chain.from_iterable(part.result() for part in parts), strict=True))
    tested = {video for pair in data.test_pairs for video in (pair.video_a, pair.video_b)}
    by_policy = {policy: {path: each[policy] for path, (each, _) in found.items()} for policy in POLICIES}
    policies: dict[str, Any] = {}
    for policy, embeddings in by_policy.items():
        policies[policy] = {
            "decoded": _decoded([plans[policy] for path, (_, plans) in found.items() if path in tested]),
            "methods": _policy(policy, embeddings, data, encoded, arguments.bundle),
        }
    document = {
        "benchmark": "sampling",
        "bundle": load(arguments.bundle, device="cpu").bundle.manifest.name,
        "val_pairs": len(data.val_pairs),
        "test_pairs": len(data.test_pairs),
        "policies": policies,
        "against_uniform": _against_uniform(by_policy, data.test_pairs),
        "versions": {
            "numpy": np.__version__,
            "av": av.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {arguments.jobs} processes",
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
