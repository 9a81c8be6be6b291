"""A gallery of a million vectors against FAISS: build time, size on disk, search time, recall at 10.

Vectors are random, in clusters, and of length 1; queries lie near stored ones. The truth is FAISS's flat
index. All indexes answer one query at a time, after ten that do not count. The last
line of stdout is the document that is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import lancedb
import numpy as np
from weaksvr.runtime import load
from weaksvr.runtime.gallery import Entry, Gallery, GalleryKey
from weaksvr.runtime.identity import dimensions_of
from weaksvr.runtime.storage import write_text

TOP = 10
CLUSTERS = 2000
BATCH = 100_000
WARM_UP = 10
HNSW_LINKS, HNSW_EFFORT = 32, 64
PROBED = (32, 64, 128, 256)


def _vectors(count: int, queries: int, dimensions: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, dimensions)).astype(np.float32)
    stored = np.concatenate(
        [
            centres[rng.integers(CLUSTERS, size=min(BATCH, count - row))]
            + spread * rng.normal(size=(min(BATCH, count - row), dimensions)).astype(np.float32)
            for row in range(0, count, BATCH)
        ]
    )
    asked = stored[rng.choice(count, queries, replace=False)]
    asked = asked + 0.3 * spread * rng.normal(size=asked.shape).astype(np.float32)
    return tuple(values / np.linalg.norm(values, axis=1, keepdims=True) for values in (stored, asked))  # type: ignore[return-value]


def _search(search: Callable[[np.ndarray], list[int]], queries: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    for query in queries[:WARM_UP]:
        search(query)
    times, hits = [], 0
    for query, wanted in zip(queries, truth, strict=True):
        began = time.perf_counter()
        found = search(query)
        times.append(time.perf_counter() - began)
        hits += len(set(found) & set(wanted.tolist()))
    return {
        "median_ms": round(float(np.median(times)) * 1e3, 2),
        "p99_ms": round(float(np.quantile(times, 0.99)) * 1e3, 2),
        "recall_at_10": round(hits / truth.size, 4),
    }


def _faiss(index: Any, stored: np.ndarray, queries: np.ndarray, truth: np.ndarray, folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    index.add(stored)
    seconds = time.perf_counter() - began
    faiss.write_index(index, str(folder / "index"))
    size = (folder / "index").stat().st_size
    found = _search(lambda query: index.search(query[None], TOP)[1][0].tolist(), queries, truth)
    return {"build_seconds": round(seconds, 1), "megabytes": round(size / 1e6, 1), **found}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _gallery(stored: np.ndarray, queries: np.ndarray, truth: np.ndarray, folder: Path) -> dict[str, Any]:
    key = GalleryKey(
        embedding_id="benchmark", dimensions=stored.shape[1], bundle="none", precision="fp32", sampling="none"
    )
    uri = str(folder / "gallery")
    gallery = Gallery.create(uri, key)
    began = time.perf_counter()
    for row in range(0, len(stored), BATCH):
        entries = [
            Entry(content=f"{number:064x}", video=f"{number}.mp4", vector=stored[number])
            for number in range(row, min(row + BATCH, len(stored)))
        ]
        gallery.add(entries)
        print(f"{row + len(entries)} added after {time.perf_counter() - began:.0f} s", flush=True)
    document: dict[str, Any] = {}
    for name, most in (("gallery, exact", len(stored)), ("gallery, index", 0)):
        gallery = Gallery.open(uri, exact_up_to=most)
        gallery.optimize()
        seconds = time.perf_counter() - began
        found = _search(
            lambda query: [int(e.content, 16) for e in gallery.nearest(query, top=TOP).entries],  # noqa: B023
            queries,
            truth,
        )
        document[name] = {
            "build_seconds": round(seconds, 1),
            "megabytes": round(_size(Path(uri)) / 1e6, 1),
            **found,
            "said_to_be_exact": gallery.nearest(queries[0], top=TOP).exact,
        }
        print(name, document[name], flush=True)
        began = time.perf_counter()
    for probes in PROBED:
        document[f"gallery, index, {probes} probes"] = _search(
            lambda query: [int(e.content, 16) for e in gallery.nearest(query, top=TOP, probes=probes).entries],  # noqa: B023
            queries[: len(queries) // 4],
            truth[: len(queries) // 4],
        )
    return document


def main() -> None:
    """Measure, write the document, print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument(
        "--spread", type=float, default=0.6, help="of vectors around their cluster's centre, in lengths of the centre"
    )
    parser.add_argument("--no-graph", dest="graph", action="store_false", help="leave out FAISS HNSW, which takes long")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gallery.json"))
    arguments = parser.parse_args()
    dimensions = dimensions_of(load(device="cpu"))
    stored, queries = _vectors(arguments.count, arguments.queries, dimensions, arguments.spread)
    exact = faiss.IndexFlatL2(dimensions)
    exact.add(stored)
    truth = exact.search(queries, TOP)[1]
    del exact
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        results.update(_gallery(stored, queries, truth, Path(folder)))
        results["FAISS flat"] = _faiss(faiss.IndexFlatL2(dimensions), stored, queries, truth, Path(folder))
        print("FAISS flat", results["FAISS flat"], flush=True)
        if arguments.graph:
            graph = faiss.IndexHNSWFlat(dimensions, HNSW_LINKS)
            graph.hnsw.efSearch = HNSW_EFFORT
            results["FAISS HNSW"] = _faiss(graph, stored, queries, truth, Path(folder))
    document = {
        "benchmark": "gallery",
        "count": arguments.count,
        "dimensions": dimensions,
        "queries": arguments.queries,
        "spread": arguments.spread,
        "threads_of_faiss": faiss.omp_get_max_threads(),
        "results": results,
        "versions": {
            "faiss": faiss.__version__,
            "lancedb": lancedb.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
