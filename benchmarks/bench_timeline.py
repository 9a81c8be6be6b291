"""How well the steps of a script are found in rendered test videos, whose true boundaries are known.

Four questions: how near the found steps come to the true ones, beside an even split and the published decoding; how
often the verdict is right where the script is the video's own and where it is another one; what the confidence is
worth; and whether windows hold in a long video. The last line of stdout is the document that is written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import platform
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from weaksvr.runtime import Model, load, open_video
from weaksvr.runtime.alignment import monotonic_viterbi
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.dense import DenseVideo
from weaksvr.runtime.manifest import Clip, read_dataset
from weaksvr.runtime.segmentation_metrics import (
    edit_score,
    f1_at,
    frame_accuracy,
    mean_temporal_iou,
    step_recall,
    temporal_iou,
)
from weaksvr.runtime.step_finding import TimelineSettings, find_steps
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.timeline import Timeline

Span = tuple[float, float]
SETTINGS = TimelineSettings()
UNEXPLAINED_SECONDS = 1.0
WINDOWS = (4.0, 6.0, 7.5, 9.0, 12.0, 24.0, 100_000.0)
IDLE_SECONDS = (3, 8)
BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """What is done in a video: tools, and from when to when each is used."""

    tools: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """Found spans of K steps, of a video whose true ones are known."""

    texts: Sequence[str]
    found: Sequence[Span | None]
    true: Sequence[Span]
    seconds: float


def read_truth(data: Path) -> dict[Path, Truth]:
    """What the generator of the videos wrote down, by video."""
    rows = [json.loads(line) for line in (data / "boundaries.jsonl").read_text().splitlines()]
    return {
        (data / row["video"]).resolve(): Truth(
            tools=tuple(step["step"] for step in row["steps"]),
            spans=tuple((step["start"], step["end"]) for step in row["steps"]),
        )
        for row in rows
    }


def _measures(answers: Sequence[Answer]) -> dict[str, float]:
    """The action segmentation measures, percent: F1 over all videos, the others as means over the videos' values."""
    segments = [
        [
            [(text, *span) for text, span in zip(answer.texts, spans, strict=True) if span is not None]
            for spans in (answer.found, answer.true)
        ]
        for answer in answers
    ]
    found, true = zip(*segments, strict=True)
    all_found, all_true = (
        [span for a in answers for span in spans(a)] for spans in (lambda a: a.found, lambda a: a.true)
    )
    edits = [edit_score([s[0] for s in a], [s[0] for s in b]) for a, b in segments]
    values = {
        "step_recall": step_recall(all_found, all_true),
        "mean_temporal_iou": mean_temporal_iou(all_found, all_true),
        "frame_accuracy": float(np.mean([frame_accuracy(_labels(a, a.found), _labels(a, a.true)) for a in answers])),
        "edit": float(np.mean(edits)),
        **{f"f1_{round(100 * iou)}": f1_at(found, true, min_iou=iou) for iou in (0.10, 0.25, 0.50)},
    }
    return {name: round(100 * value, 1) for name, value in values.items()}


def _labels(answer: Answer, spans: Sequence[Span | None]) -> list[int]:
    """The step at every tenth of a second, -1 for none."""
    times = np.arange(0.05, answer.seconds, 0.1)
    labels = np.full(len(times), -1)
    for number, span in enumerate(spans):
        if span is not None:
            labels[(times >= span[0]) & (times < span[1])] = number
    return labels.tolist()


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(rows, np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _sparse(model: Model, clip: Clip, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features of the frames that verification takes, and the edges between them."""
    embedding = model.embed(clip.video)
    times = embedding.times_seconds
    return _unit(embedding.frame_features), np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [seconds]])


def _dense(model: Model, clip: Clip) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    spread = {name: getattr(SETTINGS, name) for name in ("phases", "window_seconds", "whole_seconds")}
    with DenseVideo(clip.video, model.embedder, **spread) as video:
        return np.concatenate(list(video.features())).astype(np.float64), video.edges_seconds


def _published(
    features: NDArray[np.float64], texts: NDArray[np.float64], edges: NDArray[np.float64]
) -> list[Span | None]:
    """Every step in turn, every frame a step: Viterbi without background."""
    path = monotonic_viterbi(features @ texts.T, visit_every_step=True)
    places = [np.flatnonzero(path == step) for step in range(len(texts))]
    return [(float(edges[p[0]]), float(edges[p[-1] + 1])) if len(p) else None for p in places]


def _with_background(
    features: NDArray[np.float64], texts: NDArray[np.float64], edges: NDArray[np.float64]
) -> list[Span | None]:
    found = find_steps(features @ texts.T, np.arange(len(texts)), edges, SETTINGS)
    spans = {s.step: (float(edges[s.start]), float(edges[s.stop])) for s in (*found.in_order, *found.displaced)}
    return [spans.get(step) for step in range(len(texts))]


def compare_ways(model: Model, clips: Sequence[Clip], truth: dict[Path, Truth]) -> dict[str, Any]:
    """The measures of every way of finding steps, on scripts that are the videos' own."""
    answers: dict[str, list[Answer]] = {}
    for clip in clips:
        with open_video(clip.video) as video:
            seconds = video.duration_seconds
        texts = _unit(model.embed_text(clip.steps).sentence_features)
        even = np.linspace(0, seconds, len(clip.steps) + 1)
        sparse, dense = _sparse(model, clip, seconds), _dense(model, clip)
        ways: dict[str, list[Span | None]] = {
            "even split": list(zip(even[:-1].tolist(), even[1:].tolist(), strict=True)),
            "48 frames, Viterbi": _published(sparse[0], texts, sparse[1]),
            "48 frames, this decoder": _with_background(sparse[0], texts, sparse[1]),
            "dense, Viterbi": _published(dense[0], texts, dense[1]),
            "dense, this decoder": _spans(model.timeline(clip.steps, clip.video)),
        }
        for name, found in ways.items():
            true = truth[clip.video.resolve()].spans
            answers.setdefault(name, []).append(Answer(texts=clip.steps, found=found, true=true, seconds=seconds))
    return {name: _measures(rows) for name, rows in answers.items()}


def _spans(timeline: Timeline) -> list[Span | None]:
    return [None if step.start is None or step.end is None else (step.start, step.end) for step in timeline.steps]


def _kind(kind: str, script: Truth, video: Truth) -> str:
    """The kind of difference as seen from the script."""
    more = len(script.tools) - len(video.tools)
    return {
        "drop": "a step of the script is not in the video" if more > 0 else "the video has a step that no line names",
        "repeat": "the script repeats a step, the video does not" if more > 0 else "the video repeats a step",
        "swap": "two steps change places",
        "replace": "a step of the script is replaced by another",
        "same": "another video of the same procedure",
    }[kind]


def _changed(script: Truth, video: Truth) -> set[str]:
    """The tools of the steps in which the two differ."""
    if len(script.tools) == len(video.tools):
        return {a for a, b in zip(script.tools, video.tools, strict=True) if a != b}
    counts = Counter(script.tools)
    counts.subtract(Counter(video.tools))
    return {tool for tool, count in counts.items() if count}


def judge(model: Model, data: Path, truth: dict[Path, Truth], limit: int | None) -> dict[str, Any]:
    """Verdicts by kind, and how often a step is where its confidence says."""
    dataset = read_dataset(data, require_train=False)
    steps = {clip.video: clip.steps for clip in dataset.test}
    cases = [("the video's own script", clip.video, clip.video, True) for clip in dataset.test[:limit]]
    for pair in dataset.test_pairs[:limit]:
        for script, video in ((pair.video_a, pair.video_b), (pair.video_b, pair.video_a)):
            kind = _kind(pair.kind or "", truth[script.resolve()], truth[video.resolve()])
            cases.append((kind, script, video, pair.same))
    rows: dict[str, Counter[str]] = {}
    beliefs: dict[str, list[tuple[float, bool]]] = {"placed": [], "missing": []}
    for kind, script, video, follows in cases:
        own, shown = truth[script.resolve()], truth[video.resolve()]
        result = model.timeline(steps[script], video)
        idle = max((part.end - part.start for part in result.unexplained), default=0.0)
        named = {tool for tool, step in zip(own.tools, result.steps, strict=True) if step.status != "found"}
        row = rows.setdefault(kind, Counter())
        row["cases"] += 1
        row["right"] += result.passed == follows
        row["right_strict"] += (result.passed and idle <= UNEXPLAINED_SECONDS) == follows
        row["named"] += named == set() if follows else bool(named & _changed(own, shown))
        for tool, step in zip(own.tools, result.steps, strict=True):
            if step.start is None or step.end is None:
                beliefs["missing"].append((step.confidence, tool not in shown.tools))
            else:
                beliefs["placed"].append((step.confidence, _is_there(tool, (step.start, step.end), shown)))
    return {
        "verdicts": {kind: dict(row) for kind, row in rows.items()},
        "confidence": {name: _reliability(values) for name, values in beliefs.items()},
    }


def _is_there(tool: str, span: Span, video: Truth) -> bool:
    spans = [true for true, name in zip(video.spans, video.tools, strict=True) if name == tool]
    return any(temporal_iou(span, true) >= 0.5 for true in spans)


def _reliability(values: Sequence[tuple[float, bool]]) -> list[dict[str, float]]:
    rows = []
    for low, high in zip(BINS, (*BINS[1:], 1.0 + 1e-9), strict=True):
        inside = [(value, right) for value, right in values if low <= value < high]
        if inside:
            mean, right = np.mean(np.array(inside, float), axis=0).tolist()
            rows.append({"from": low, "cases": len(inside), "confidence": round(mean, 3), "right": round(right, 3)})
    return rows


def _concatenate(clips: Sequence[Clip], truth: dict[Path, Truth], target: Path) -> Answer:
    """One video of many, with stretches between in which the last picture stands still."""
    rng = random.Random(0)
    true: list[Span] = []
    count, rate = 0, 10
    with av.open(target, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
        for clip in clips:
            with open_video(clip.video) as video:
                frames = video.frames(range(video.num_frames))
            if not count:
                stream.height, stream.width = frames.shape[1:3]
            true += [(start + count / rate, end + count / rate) for start, end in truth[clip.video.resolve()].spans]
            idle = rate * rng.randint(*IDLE_SECONDS)
            for pixels in (*frames, *[frames[-1]] * idle):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            count += len(frames) + idle
        container.mux(stream.encode())
    texts = [text for clip in clips for text in clip.steps]
    return Answer(texts=texts, found=[], true=true, seconds=count / rate)


def _repeat(source: Path, target: Path, times: int) -> None:
    """The same video several times, without decoding it."""
    with av.open(target, "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(source) as container:
                if stream is None:
                    stream = out.add_stream_from_template(container.streams.video[0])
                last = 0
                for packet in container.demux(video=0):
                    if packet.dts is None:
                        continue
                    last = max(last, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
                shift += last


def _memory(bundle: Path, script: Sequence[str], video: Path) -> dict[str, float]:
    """Processor time and the largest memory of a process that does nothing else."""
    model = load(bundle, device="cpu", num_threads=1)
    began = time.process_time()
    result = model.timeline(script, video)
    return {
        "minutes": round(result.duration_seconds / 60, 1),
        "windows": len(result.windows),
        "frames": len(result.times_seconds),
        "processor_seconds": round(time.process_time() - began, 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _alone(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def long_videos(model: Model, bundle: Path, clips: Sequence[Clip], truth: dict[Path, Truth]) -> dict[str, Any]:
    """Windows of several lengths in a video of many clips, beside the same clips one by one; memory by length."""
    with tempfile.TemporaryDirectory() as folder:
        long, longest = Path(folder) / "long.mp4", Path(folder) / "longest.mp4"
        asked = _concatenate(clips, truth, long)
        windows = {}
        for seconds in WINDOWS:
            settings = dataclasses.replace(SETTINGS, window_seconds=seconds)
            result = model.timeline(asked.texts, long, settings=settings)
            length = result.windows[0].end - result.windows[0].start
            windows[f"{length:.1f}"] = {
                "windows": len(result.windows),
                **_measures([dataclasses.replace(asked, found=_spans(result))]),
            }
        _repeat(long, longest, max(1, round(7200 / asked.seconds)))
        memory = [_alone(_memory, bundle, clips[0].steps, video) for video in (clips[0].video, long, longest)]
    single = []
    for clip in clips:
        result = model.timeline(clip.steps, clip.video)
        true = truth[clip.video.resolve()].spans
        single.append(Answer(texts=clip.steps, found=_spans(result), true=true, seconds=result.duration_seconds))
    return {
        "clips": len(clips),
        "seconds": asked.seconds,
        "steps": len(asked.true),
        "windows": windows,
        "one_by_one": _measures(single),
        "memory": memory,
    }


def main() -> None:
    """Measure, write the document, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="rendered dataset, of weaksvr-make-videos")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/timeline.json"))
    parser.add_argument("--limit", type=int, help="test videos and pairs at most  [default: all]")
    parser.add_argument("--long-clips", type=int, default=48, help="test videos in the long one")
    arguments = parser.parse_args()
    model = load(arguments.bundle, device="cpu", num_threads=1)
    clips = read_dataset(arguments.data, require_train=False).test
    truth = read_truth(arguments.data)
    spread = [clips[row] for row in np.linspace(0, len(clips) - 1, arguments.long_clips, dtype=int)]
    document = {
        "benchmark": "timeline",
        "bundle": model.bundle.manifest.name,
        "videos": len(clips[: arguments.limit]),
        "settings": SETTINGS.to_dict(),
        "unexplained_seconds": UNEXPLAINED_SECONDS,
        "ways": compare_ways(model, clips[: arguments.limit], truth),
        **judge(model, arguments.data, truth, arguments.limit),
        "long": long_videos(model, arguments.bundle, spread, truth),
        "versions": {
            "numpy": np.__version__,
            "av": av.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, 1 thread",
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
