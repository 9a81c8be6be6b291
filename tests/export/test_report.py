from __future__ import annotations

import dataclasses
import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from weaksvr.export.difference import Difference
from weaksvr.export.gate import PrecisionReport
from weaksvr.export.limits import DEFAULT_LIMITS
from weaksvr.export.report import GateReport, gate_documents
from weaksvr.export.verdicts import Distances, judge
from weaksvr.runtime.manifest import Pair


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 1, 3000)
    same = source[:500] < 0.5
    pairs = [
        Pair(video_a=Path(f"/secret/val/{row}.mp4"), video_b=Path("/secret/val/x|y.mp4"), same=False)
        for row in range(3000)
    ]
    output = np.array([[1.0, 0.0]])
    precisions = []
    for precision, noise in (("fp32", 0.0), ("fp16", 0.0), ("int8", 0.03)):
        distances = Distances(source=source, variant=np.abs(source + rng.normal(0, noise, 3000)), same=same)
        limits = DEFAULT_LIMITS[precision]
        verdicts = judge(distances, threshold=distances.thresholds()[1], tie=limits.tie)
        precisions.append(
            PrecisionReport(
                precision=precision,
                device="cpu",
                provider="CPUExecutionProvider",
                optimization="basic" if precision == "fp16" else "all",
                networks=(Difference.of("the text network", output, output + 1e-3, rows=["prompt 'a|b'"]),),
                videos=(),
                verdicts={"vector": verdicts},
                distances={"vector": distances},
                limits=dataclasses.replace(limits, flips=0.25) if precision == "int8" else limits,
                num_bytes=1_500_000,
                milliseconds=0.0 if precision == "fp16" else 12.34,
                notes=("the text network stays fp32",) if precision == "int8" else (),
                refusals=(),
            )
        )
    return GateReport(
        name="model",
        pairs_from="pairs.csv",
        asked=10_000,
        labelled=500,
        same=int(same.sum()),
        videos=90,
        pairs=pairs,
        precisions=tuple(precisions),
    )


@pytest.fixture(scope="module")
def documents(report):
    return {document.suffix: document for document in gate_documents(report)}


def test_the_text_says_what_was_compared(report, documents):
    text = documents["md"].data.decode()
    assert text.startswith("# The gate of model\n")
    assert "3,000 pairs of 90 videos: 500 labelled ones (pairs.csv; " in text
    assert "and 2,500 others of the same videos" in text
    assert "10,000 were asked for; these videos make no more." in text
    assert f"]({documents['svg'].path})" in text
    found = report.precisions[2].verdicts["vector"]
    assert found.flips > 20
    assert f"| {found.flips} of 3000 | {found.flips_bound:.3%} | {found.ties}, {found.tie_flips} flipped |" in text
    assert text.count("\n- val/") == 20
    assert f"- and {found.flips - 20} more" in text
    assert "| int8 | 4 | 0.98 | 0.25 (not 0.001) | 0.002 | 0.001 |" in text
    assert "| fp16 | 1.5 MB |  | cpu (CPUExecutionProvider, basic rewrites) |" in text
    assert "fp16 is for GPUs. Here it ran on a CPU" in text
    assert "- int8: the text network stays fp32" in text
    assert "/secret" not in text


def test_every_row_of_a_table_has_its_columns(documents):
    lines = documents["md"].data.decode().splitlines()
    for above, line in itertools.pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|")


def test_the_picture_draws_every_flip(report, documents):
    root = ET.fromstring(documents["svg"].data)
    space = {"svg": "http://www.w3.org/2000/svg"}
    groups = root.findall("svg:g", space)
    assert [group.find("svg:text", space).text for group in groups] == ["fp32, vector", "fp16, vector", "int8, vector"]
    points = {path.get("stroke"): path.get("d").count("M") for path in groups[2].findall("svg:path", space)[1:]}
    assert points["#d0021b"] == report.precisions[2].verdicts["vector"].flips
    assert 1500 <= sum(points.values()) <= 1500 + points["#d0021b"]
    for path in groups[2].findall("svg:path", space)[1:]:
        numbers = [
            float(part.removesuffix("h0").split()[axis]) for part in path.get("d").split("M")[1:] for axis in (0, 1)
        ]
        assert min(numbers) >= 0
        assert max(numbers) <= 300


def test_the_default_is_the_better_way_and_of_equals_the_alignment(report):
    fp32 = report.precisions[0]
    for vector, alignment, best in ((0.9, 0.8, "vector"), (0.8, 0.9, "alignment"), (1.0, 1.0, "alignment")):
        found = fp32.verdicts["vector"]
        verdicts = {
            "vector": dataclasses.replace(found, auc=vector),
            "alignment": dataclasses.replace(found, auc=alignment),
        }
        changed = dataclasses.replace(report, precisions=(dataclasses.replace(fp32, verdicts=verdicts),))
        assert changed.default_method == best


def test_without_pairs_there_is_only_text(report):
    fp32 = dataclasses.replace(report.precisions[0], verdicts={}, distances={}, milliseconds=0.0)
    alone = dataclasses.replace(report, pairs=(), labelled=0, same=0, videos=0, precisions=(fp32,))
    (document,) = gate_documents(alone)
    assert "There were no pairs of videos" in document.data.decode()
    assert alone.default_method == "alignment"
