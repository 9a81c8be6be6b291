"""Which fine loss is worth its place: the forms and pseudo labels on one dataset, several seeds each.

Every run has the same data, steps and settings but for the loss. Finished runs are kept in the results file and are
not repeated, so an interrupted benchmark goes on where it stopped. The AUC is of the weights that validation chose,
on the validation pairs (by which the preset's default is chosen) and on the test pairs; the accuracy is that of the
matching questions of the test split. No training video shows their tasks. The last line of stdout is the results file's
JSON document.
"""

from __future__ import annotations

import argparse
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
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from weaksvr.runtime.evaluate import evaluate
from weaksvr.runtime.manifest import read_dataset
from weaksvr.runtime.storage import sha256_of, write_text
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import TrainConfig, override
from weaksvr.train.engine import train
from weaksvr.train.evaluate import checkpoint_embedder
from weaksvr.train.presets import preset

RUNS = {
    "no fine loss": ["loss.fine=none"],
    "official, sort": ["loss.fine=sort", "loss.form=official"],
    "masked, viterbi": ["loss.fine=viterbi", "loss.form=masked"],
    "batch, split": ["loss.fine=split", "loss.form=batch"],
    "batch, viterbi": ["loss.fine=viterbi", "loss.form=batch"],
    "batch, posterior": ["loss.fine=posterior", "loss.form=batch"],
    "batch, order": ["loss.fine=order", "loss.form=batch"],
}

COLUMNS = (
    *((split, method) for split in ("val", "test") for method in ("vector", "alignment")),
    *(("matching", method) for method in ("vector", "alignment")),
)


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


def _settings(name: str, seed: int, arguments: argparse.Namespace) -> TrainConfig:
    changes = [*RUNS[name], f"optim.seed={seed}", f"optim.epochs={arguments.epochs}", "data.workers=1"]
    changes += [f"data.cache={arguments.cache}", f"data.samples_per_epoch={arguments.samples}"]
    changes += [f"optim.eval_every={max(1, arguments.epochs // 3)}"]
    return override(preset("workbench"), changes)


def _run(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate once."""
    torch.set_num_threads(arguments.threads)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="weaksvr-bench-"))
    _FOLDERS[:] = [folder]
    try:
        summary = train(arguments.data, folder / "run", _settings(name, seed, arguments), device=arguments.device)
        embedder = checkpoint_embedder(load_checkpoint(folder / "run"), device=torch.device("cpu"))
        result = evaluate(embedder, read_dataset(arguments.data), split="test")
        return {
            "loss": name,
            "seed": seed,
            "val": {name.removeprefix("auc_"): value for name, value in summary.best["val"].items()},
            "test": {method: value.auc for method, value in result.methods.items()},
            "matching": {method: value.accuracy[1] for method, value in result.matching.items()},
            "train_seconds": round(summary.seconds, 1),
            "seconds": round(time.monotonic() - began, 1),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _print_table(runs: list[dict[str, Any]]) -> None:
    heads = "".join(f"{f'{part} {method}':>20}" for part, method in COLUMNS)
    print(f"{'mean +- standard deviation':<28}{heads}{'seeds':>7}{'s a run':>9}")
    for name in RUNS:
        rows = [run for run in runs if run["loss"] == name]
        if not rows:
            continue
        cells = []
        for part, method in COLUMNS:
            values = np.array([run[part][method] for run in rows])
            cells.append(f"{values.mean():.3f} +- {values.std():.3f}")
        seconds = np.mean([run["seconds"] for run in rows])
        print(f"{name:<28}{''.join(f'{cell:>20}' for cell in cells)}{len(rows):>7}{seconds:>9.0f}")


def _missing(document: dict[str, Any], seeds: int) -> list[tuple[str, int]]:
    done = {(run["loss"], run["seed"]) for run in document["runs"]}
    return [(name, seed) for seed in range(seeds) for name in RUNS if (name, seed) not in done]


def _open(arguments: argparse.Namespace) -> dict[str, Any]:
    """The results so far, of the same data and settings."""
    setting = {
        "data": sha256_of(arguments.data / "train.jsonl"),
        "epochs": arguments.epochs,
        "samples": arguments.samples,
        "preset": preset("workbench").to_json(),
    }
    document: dict[str, Any] = {"benchmark": "fine_losses", "setting": setting, "runs": []}
    if arguments.out.is_file():
        document = json.loads(arguments.out.read_text())
        if document["setting"] != setting:
            raise SystemExit(f"{arguments.out}: holds results of other settings or data; give another --out")
    document["versions"] = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    document["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, {arguments.jobs} runs at a time"
    return document


def main() -> None:
    """Run what is missing, print the table, print the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="results file, also what is resumed from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=800, help="training videos an epoch")
    parser.add_argument("--cache", default="runs/cache", help="folder of decoded frames")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    arguments = parser.parse_args()
    document = _open(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=spawn, initializer=_end_with_parent) as pool:
        started = [pool.submit(_run, *run, arguments) for run in _missing(document, arguments.seeds)]
        try:
            for future in as_completed(started):
                run = future.result()
                document["runs"].append(run)
                write_text(arguments.out, json.dumps(document, indent=1) + "\n")
                print(f"{run['loss']}, seed {run['seed']}: {run['val']} {run['seconds']} s", flush=True)
        except BaseException:  # else the runs that have begun, and one more of each worker, are waited for
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    _print_table(document["runs"])
    print(json.dumps(document))


if __name__ == "__main__":
    main()
