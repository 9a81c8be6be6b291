"""Training runs of a benchmark: each trained and evaluated once, several at a time, finished ones kept in a file."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from weaksvr.runtime.evaluate import evaluate
from weaksvr.runtime.manifest import read_dataset
from weaksvr.runtime.storage import sha256_of, write_text
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import TrainConfig
from weaksvr.train.engine import train
from weaksvr.train.evaluate import checkpoint_embedder

__all__ = ["Run", "complete", "open_document"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training.

    Attributes:
        name, seed: what it is called in the results.
        config: all its settings, `seed` among them.
    """

    name: str
    seed: int
    config: TrainConfig


_FOLDERS: list[Path] = []  # of the run that this worker is at


def _leave(*_: object) -> None:
    for loader in multiprocessing.active_children():
        loader.kill()
    for folder in _FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _end_with_parent() -> None:
    """In every worker: end when the benchmark does, however that ends, and leave no folder behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        _leave()

    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=watch, daemon=True).start()


def _train_and_evaluate(run: Run, data: Path, device: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="weaksvr-bench-"))
    _FOLDERS[:] = [folder]
    try:
        summary = train(data, folder / "run", run.config, device=device)
        checkpoint = load_checkpoint(folder / "run")
        embedder = checkpoint_embedder(checkpoint, device=torch.device("cpu"))
        matching = embedder.tokenizer is not None and run.config.loss.coarse_weight > 0
        result = evaluate(embedder, read_dataset(data), split="test", matching=matching)
        return {
            "name": run.name,
            "seed": run.seed,
            "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
            "val": {name.removeprefix("auc_"): value for name, value in summary.best["val"].items()},
            "test": {method: value.auc for method, value in result.methods.items()},
            "kinds": {method: dict(value.auc_by_kind) for method, value in result.methods.items()},
            "wdr": result.wdr,
            "matching": {method: found.accuracy[1] for method, found in result.matching.items()},
            "matching_auc": {method: found.auc for method, found in result.matching.items()},
            "train_seconds": round(summary.seconds, 1),
            "seconds": round(time.monotonic() - began, 1),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_document(out: Path, *, benchmark: str, setting: Mapping[str, Any], data: Path, jobs: int) -> dict[str, Any]:
    """The results so far, of the same data and settings; else an empty document.

    Raises:
        SystemExit: if `out` holds results of others.
    """
    setting = {"data": sha256_of(data / "train.jsonl"), **setting}
    document: dict[str, Any] = {"benchmark": benchmark, "setting": setting, "runs": []}
    if out.is_file():
        document = json.loads(out.read_text())
        if document["setting"] != setting:
            raise SystemExit(f"{out}: holds results of other settings or data; give another --out")
    document["versions"] = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    document["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, {jobs} runs at a time"
    return document


def complete(
    document: dict[str, Any],
    runs: Sequence[Run],
    *,
    data: Path,
    out: Path,
    jobs: int,
    threads: int = 1,
    device: str = "auto",
) -> Iterator[dict[str, Any]]:
    """Do what is missing of `runs` in their order, `jobs` at a time; each result is written to `out` and then given."""
    done = {(run["name"], run["seed"]) for run in document["runs"]}
    missing = [run for run in runs if (run.name, run.seed) not in done]
    out.parent.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_end_with_parent) as pool:
        started = [pool.submit(_train_and_evaluate, run, data, device, threads) for run in missing]
        try:
            for future in as_completed(started):
                document["runs"].append(future.result())
                write_text(out, json.dumps(document, indent=1) + "\n")
                yield document["runs"][-1]
        except BaseException:  # else the runs that have begun, and one more of each worker, are waited for
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
