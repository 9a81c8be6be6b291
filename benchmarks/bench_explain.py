"""How often what an explanation names is true: kind, place and steps, on pairs of rendered videos, by true kind.

Every pair of the dataset differs in one place or in none. An explanation is right if it names just that. The place is
measured by the temporal intersection over union of all that is named in a video with all that truly differs there; of
the videos that are concerned, the lower one counts. The script, where there is one, is that of the first video. The
last line of stdout is the document that is written.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from weaksvr.runtime import load
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.evaluate import pair_distances
from weaksvr.runtime.explain import Difference, Explanation, explain
from weaksvr.runtime.resampling import Links, binomial_interval
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.stretches import ALIKE
from workbench_pairs import LabelledPairs, TrueStep, circumstances, read_pairs_of

Spans = list[tuple[float, float]]
METHOD = "alignment"
PLACES = (0.1, 0.5)
AROUND = (0.27, 0.33, ALIKE, 0.45, 0.51)
"""Values of `alike` that are tried on the validation pairs."""


class Truth:
    """How two videos truly differ: in one step, or in two that are swapped."""

    def __init__(self, first: Sequence[TrueStep], second: Sequence[TrueStep]) -> None:
        names = [[step.name for step in steps] for steps in (first, second)]
        self.spans: tuple[Spans, Spans] = ([], [])
        if len(first) == len(second):
            rows = [row for row, (one, two) in enumerate(zip(*names, strict=True)) if one != two]
            self.kind = {1: "replaced", 2: "swapped"}[len(rows)]
            self.spans = tuple([(steps[row].start, steps[row].end) for row in rows] for steps in (first, second))
            self.steps = {names[0][row] for row in rows}
            return
        longer = 0 if len(first) > len(second) else 1
        more, less = names[longer], names[1 - longer]
        (row,) = [row for row in range(len(more)) if more[:row] + more[row + 1 :] == less]
        repeated = more[row] in less
        self.kind = "repeated" if repeated else ("missing", "extra")[longer]
        step = (first, second)[longer][row]
        self.spans[longer].append((step.start, step.end))
        self.steps = {more[row]} if more[row] in names[0] else set()


def _covered(spans: Spans) -> float:
    return sum(end - start for start, end in spans)


def _iou(named: Spans, true: Spans) -> float:
    shared = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in itertools.product(named, true))
    return shared / (_covered(named) + _covered(true) - shared)


def _place(difference: Difference, truth: Truth) -> float:
    named = [[difference.a], [difference.b]]
    if difference.kind == "swapped":
        named[0].append(difference.other_a)
        named[1].append(difference.other_b)
    found = []
    for spans, true in zip(named, truth.spans, strict=True):
        if true:
            found.append(_iou([span for span in spans if span is not None], true))
    return min(found)


def _steps_of(difference: Difference, script: Sequence[TrueStep]) -> set[str]:
    numbers = (*difference.steps, *(difference.other_steps if difference.kind == "swapped" else ()))
    return {script[number - 1].name for number in numbers}


def _explained(
    data: LabelledPairs, threshold: float, *, named: bool, alike: float = ALIKE
) -> list[tuple[bool, Explanation]]:
    """The verdict and the explanation of every pair."""
    distances = pair_distances(data.videos, data.pairs, method=METHOD)
    return [
        (
            bool(distance <= threshold),
            explain(
                data.videos[first],
                data.videos[second],
                same=bool(distance <= threshold),
                script=data.scripts[first] if named else None,
                alike=alike,
            ),
        )
        for distance, (first, second) in zip(distances, data.names, strict=True)
    ]


def _judged(data: LabelledPairs, row: int, found: Sequence[Difference], *, named: bool) -> dict[str, bool]:
    """What is right about the explanation of a different pair."""
    first, second = (data.steps[video] for video in data.names[row])
    truth = Truth(first, second)
    of_kind = [difference for difference in found if difference.kind == truth.kind]
    places = [_place(difference, truth) for difference in of_kind]
    alone = len(found) == 1 and len(of_kind) == 1
    judged = {"kind": alone, "none": not found}
    judged |= {f"place_{least}": alone and places[0] >= least for least in PLACES}
    judged["among"] = max(places, default=0.0) >= max(PLACES)
    if named:
        judged["steps"] = alone and places[0] >= max(PLACES) and _steps_of(found[0], first) == truth.steps
    return judged


def _around(data: LabelledPairs, threshold: float) -> list[dict[str, float]]:
    """What becomes of same and of different pairs with other values of `alike`, without a script."""
    rows = []
    for alike in AROUND:
        explained = _explained(data, threshold, named=False, alike=alike)
        judged: dict[bool, list[bool]] = {True: [], False: []}
        for row, (pair, (_, found)) in enumerate(zip(data.pairs, explained, strict=True)):
            right = not found.differences
            if not pair.same:
                right = _judged(data, row, found.differences, named=False)[f"place_{max(PLACES)}"]
            judged[pair.same].append(right)
        rows.append({"alike": alike, "same": float(np.mean(judged[True])), "different": float(np.mean(judged[False]))})
    return rows


def _table(data: LabelledPairs, threshold: float, *, named: bool) -> dict[str, Any]:
    explained = _explained(data, threshold, named=named)
    links = Links.of(data.names)
    kinds = np.array([pair.kind or "same" for pair in data.pairs])
    by_kind: dict[str, Any] = {}
    for kind in sorted(set(kinds.tolist())):
        rows = np.flatnonzero(kinds == kind).tolist()
        differences = [explained[row][1].differences for row in rows]
        if kind == "same":
            judged = [{"none": not found} for found in differences]
        else:
            judged = [_judged(data, row, found, named=named) for row, found in zip(rows, differences, strict=True)]
        entry: dict[str, Any] = {"pairs": len(rows)}
        for name in judged[0]:
            values = np.zeros(len(kinds))
            values[rows] = [row[name] for row in judged]
            rate, worth = float(values[rows].mean()), links.independent(values, kinds == kind)
            entry[name] = rate
            entry[f"{name}_interval"] = binomial_interval(rate * worth, worth)
        entry["named"] = Counter(" + ".join(sorted(each.kind for each in found)) or "none" for found in differences)
        entry["named"] = dict(entry["named"].most_common())
        by_kind[kind] = entry
    different_without = sum(not same and not found.differences for same, found in explained)
    same_with = [bool(same and found.differences) for same, found in explained]
    return {
        "kinds": by_kind,
        "verdict": {
            "different": sum(not same for same, _ in explained),
            "different_but_no_place": different_without,
            "same": sum(same for same, _ in explained),
            "same_but_a_place": sum(same_with),
            "same_but_a_place_truly_different": sum(
                found and not pair.same for found, pair in zip(same_with, data.pairs, strict=True)
            ),
        },
    }


def main() -> None:
    """Measure, write the document, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="rendered dataset, of weaksvr-make-videos")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/explain.json"))
    parser.add_argument("--kept", type=Path, help="file that keeps the embeddings from one run to the next")
    arguments = parser.parse_args()
    model = load(arguments.bundle, device="cpu", num_threads=1)
    splits = read_pairs_of(arguments.data, model, kept=arguments.kept)
    threshold = model.threshold(METHOD)
    document = {
        "benchmark": "explain",
        **circumstances(model),
        "method": METHOD,
        "threshold": threshold,
        "around": _around(splits["val"], threshold),
        "splits": {
            split: {
                "pairs": len(data.pairs),
                "without_script": _table(data, threshold, named=False),
                "with_script": _table(data, threshold, named=True),
            }
            for split, data in splits.items()
        },
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
