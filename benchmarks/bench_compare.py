"""Is there a better way to compare two videos than those of the runtime? AUC on the test pairs by kind of difference.

Parameters of the candidates, the weights of the combinations and all thresholds are chosen on the validation pairs,
whose tasks are others. Each AUC is set against that of `alignment` on the same pairs, drawing tasks anew. The last line
of stdout is the document that is written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from compare_distances import (
    changed_share,
    costs,
    gap_distances,
    script_cost,
    soft_dtw_distances,
    subsequence_distances,
)
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from weaksvr.runtime import load
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.evaluate import pair_distances
from weaksvr.runtime.metrics import accuracy, auc_by_kind, equal_error_threshold, roc_auc
from weaksvr.runtime.operating_point import Curve
from weaksvr.runtime.resampling import Links
from weaksvr.runtime.storage import write_text
from workbench_pairs import LabelledPairs, circumstances, read_pairs_of

Floats = NDArray[np.float64]
RESAMPLES = 2000
REFERENCE = "alignment"

COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "vector and alignment": ("vector", "alignment"),
    "alignment and subsequence": ("alignment", "subsequence"),
    "alignment and share that differs": ("alignment", "share that differs"),
    "vector, alignment and share that differs": ("vector", "alignment", "share that differs"),
}


def _unit(features: np.ndarray) -> Floats:
    values = features.astype(np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


class Candidates:
    """The distances of one split's pairs, by name; those with parameters take them as keywords."""

    def __init__(self, data: LabelledPairs) -> None:
        self.data = data
        self.first, self.second = (
            np.stack([_unit(data.videos[pair[side]].frame_features) for pair in data.names]) for side in (0, 1)
        )
        self.costs = costs(self.first, self.second)
        self.texts = [_unit(data.scripts[first].sentence_features) for first, _ in data.names]

    def plain(self) -> dict[str, Floats]:
        """The distances without parameters; scripts are those of the first video."""
        rows = range(len(self.texts))
        first, second, texts = self.first, self.second, self.texts
        return {
            "vector": pair_distances(self.data.videos, self.data.pairs, method="vector"),
            "alignment": pair_distances(self.data.videos, self.data.pairs, method="alignment"),
            "subsequence": subsequence_distances(self.costs),
            "script": np.array(
                [max(script_cost(first[row], texts[row]), script_cost(second[row], texts[row])) for row in rows]
            ),
            "share that differs": np.array([changed_share(first[row], second[row]) for row in rows]),
            "share that differs, script": np.array(
                [changed_share(first[row], second[row], texts[row]) for row in rows]
            ),
        }

    def gaps(self, *, gap: float, opening: float, diagonal: float) -> Floats:
        return gap_distances(self.costs, gap=gap, opening=opening, diagonal=diagonal)

    def soft(self, *, gamma: float) -> Floats:
        return soft_dtw_distances(self.first, self.second, gamma=gamma)


GAPS = [
    {"gap": g, "opening": o, "diagonal": d} for d in (1.0, 2.0) for g in (0.3, 0.5, 0.7, 1.0) for o in (0.0, 1.0, 2.0)
]
SOFT = [{"gamma": gamma} for gamma in (0.005, 0.01, 0.05, 0.2, 0.5)]


def _chosen(
    val: Callable[..., Floats], test: Callable[..., Floats], grid: list[dict[str, float]], same: np.ndarray
) -> tuple[dict[str, float], Floats, Floats]:
    """The parameters with the best AUC on the validation pairs, and the distances with them."""
    best = max(grid, key=lambda parameters: roc_auc(same, val(**parameters)))
    return best, val(**best), test(**best)


def _combined(val: list[Floats], test: list[Floats], same: np.ndarray) -> tuple[list[float], Floats, Floats]:
    """Logistic regression on the standardised validation distances: its weights, and its scores of both splits."""
    rows, others = np.stack(val, axis=1), np.stack(test, axis=1)
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    fitted = LogisticRegression(C=1e3).fit((rows - mean) / spread, ~same)
    scores = [fitted.decision_function((each - mean) / spread) for each in (rows, others)]
    return fitted.coef_[0].tolist(), scores[0], scores[1]


def _row(val: tuple[LabelledPairs, Floats], test: tuple[LabelledPairs, Floats], reference: Floats) -> dict[str, Any]:
    data, distances = test
    threshold, _ = equal_error_threshold(val[0].same, val[1])
    links = Links.of(data.names)
    weights = np.concatenate(list(links.resamples(data.same, RESAMPLES)))
    drawn = Curve(data.same, distances, weights).auc
    against = drawn - Curve(data.same, reference, weights).auc
    return {
        "val_auc": roc_auc(val[0].same, val[1]),
        "test_auc": roc_auc(data.same, distances),
        "test_auc_interval": np.quantile(drawn, (0.025, 0.975)).tolist(),
        "test_auc_by_kind": auc_by_kind(data.same, distances, [pair.kind for pair in data.pairs]),
        "test_accuracy": accuracy(data.same, distances, threshold),
        "against_alignment": roc_auc(data.same, distances) - roc_auc(data.same, reference),
        "against_alignment_interval": np.quantile(against, (0.025, 0.975)).tolist(),
    }


def main() -> None:
    """Measure, write the document, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="rendered dataset, of weaksvr-make-videos")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/compare.json"))
    parser.add_argument("--kept", type=Path, help="file that keeps the embeddings from one run to the next")
    arguments = parser.parse_args()
    model = load(arguments.bundle, device="cpu", num_threads=1)
    splits = read_pairs_of(arguments.data, model, kept=arguments.kept)
    val, test = splits["val"], splits["test"]
    on_val, on_test = Candidates(val), Candidates(test)
    distances_val, distances_test = on_val.plain(), on_test.plain()
    parameters: dict[str, Any] = {}
    for name, kind, grid in (("gaps", "gaps", GAPS), ("soft-DTW", "soft", SOFT)):
        found = _chosen(getattr(on_val, kind), getattr(on_test, kind), grid, val.same)
        parameters[name], distances_val[name], distances_test[name] = found
    for name, parts in COMBINATIONS.items():
        weights, distances_val[name], distances_test[name] = _combined(
            [distances_val[part] for part in parts], [distances_test[part] for part in parts], val.same
        )
        parameters[name] = dict(zip(parts, weights, strict=True))
    document = {
        "benchmark": "compare",
        **circumstances(model),
        "val_pairs": len(val.pairs),
        "test_pairs": len(test.pairs),
        "parameters": parameters,
        "distances": {
            name: _row((val, distances_val[name]), (test, distances_test[name]), distances_test[REFERENCE])
            for name in distances_val
        },
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
