"""How well a script finds its video among five: each way to score, on validation and on test questions.

The validation questions are drawn from the plan of the rendered dataset as those of the test are; they chose the way to
score, the test tells what it is worth. `frames` is the mean cosine over the frames of the best path, for comparison.
The last line of stdout is the document that is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from weaksvr.runtime import TextEmbedding, VideoEmbedding, load
from weaksvr.runtime.alignment import alignment_distance
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.evaluate import embed_videos
from weaksvr.runtime.evaluate_matching import matching_result, matching_scores
from weaksvr.runtime.manifest import MatchingItem, read_dataset
from weaksvr.runtime.script_score import script_scores
from weaksvr.runtime.spec import METHODS
from weaksvr.runtime.storage import write_text
from weaksvr.train.datasets.workbench.plan import draw_matching, plan_split

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4)
SPLITS = ("val", "test")

Embeddings = Mapping[Path, VideoEmbedding]


def _questions(data: Path, split: str, count: int, seed: int) -> tuple[list[MatchingItem], list[str]]:
    """The questions, and of each the kind of procedure that is asked for."""
    drawn = draw_matching(plan_split(split, count, seed=seed), seed=seed)
    items = [
        MatchingItem(
            steps=tuple(question.texts),
            videos=tuple((data / video.path).absolute() for video in question.candidates),
            answer=question.answer,
        )
        for question in drawn
    ]
    return items, [question.candidates[question.answer].procedure.kind for question in drawn]


def _padded(questions: Sequence[MatchingItem], score: Any) -> np.ndarray:
    rows = [[score(row, video) for video in question.videos] for row, question in enumerate(questions)]
    return np.array(rows)


def _measures(
    questions: Sequence[MatchingItem], kinds: Sequence[str], texts: Sequence[TextEmbedding], embeddings: Embeddings
) -> dict[str, Any]:
    scores = {method: matching_scores(questions, texts, embeddings, method=method) for method in METHODS}
    scores["frames"] = _padded(
        questions,
        lambda row, video: -alignment_distance(embeddings[video].frame_features, texts[row].sentence_features),
    )
    steps = [
        script_scores([embeddings[video] for video in question.videos], text)[1]
        for question, text in zip(questions, texts, strict=True)
    ]
    for weight in WEIGHTS:
        scores[f"weakest {weight:g}"] = np.array(
            [(1 - weight) * found.mean(axis=1) + weight * found.min(axis=1) for found in steps]
        )
    answers = np.array([question.answer for question in questions])
    document = {}
    for name, values in scores.items():
        right = values.argmax(axis=1) == answers
        by_kind = {kind: float(right[np.array(kinds) == kind].mean()) for kind in sorted(set(kinds))}
        document[name] = {**matching_result(values, questions).to_dict(), "accuracy_by_kind": by_kind}
    return document


def main() -> None:
    """Measure, write the document, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="rendered dataset, of weaksvr-make-videos")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/match.json"))
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data, require_train=False)
    seed = json.loads((arguments.data / "dataset.json").read_text())["seed"]
    model = load(arguments.bundle, device="cpu", num_threads=1)
    document: dict[str, Any] = {"benchmark": "match", "bundle": model.bundle.manifest.name, "splits": {}}
    for split, clips in zip(SPLITS, (dataset.val, dataset.test), strict=True):
        questions, kinds = _questions(arguments.data, split, len(clips), seed)
        if split == "test" and [q.answer for q in questions] != [q.answer for q in dataset.matching]:
            raise SystemExit("the test questions are not those of the dataset; render it anew")
        videos = [(arguments.data / "videos" / split / f"{number:04}.mp4").absolute() for number in range(len(clips))]
        embeddings = embed_videos(model.embedder, videos)
        texts = [model.embed_text(question.steps) for question in questions]
        document["splits"][split] = _measures(questions, kinds, texts, embeddings)
    began = time.perf_counter()
    script_scores(list(embeddings.values()), texts[0])
    document["microseconds_a_video"] = round((time.perf_counter() - began) / len(embeddings) * 1e6, 1)
    document["versions"] = {
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }
    document["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs"
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
