"""Which fine loss is worth its place: the forms and pseudo labels on one dataset, several seeds each.

Every run has the same data, steps and settings but for the loss. Finished runs are kept in the results file and are
not repeated, so an interrupted benchmark goes on where it stopped. The AUC is of the weights that validation chose,
on the test pairs, whose tasks no training video shows. The last line of stdout is the results file's JSON document.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from weaksvr.runtime.evaluate import evaluate
from weaksvr.runtime.manifest import read_dataset
from weaksvr.runtime.storage import sha256_of, write_text
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import TrainConfig, override, preset
from weaksvr.train.engine import train
from weaksvr.train.evaluate import checkpoint_embedder

LOSSES = {
    "no fine loss": ("none", "batch"),
    "official, sort": ("sort", "official"),
    "masked, viterbi": ("viterbi", "masked"),
    "batch, sort": ("sort", "batch"),
    "batch, viterbi": ("viterbi", "batch"),
    "batch, split": ("split", "batch"),
}


def _settings(name: str, seed: int, arguments: argparse.Namespace) -> TrainConfig:
    fine, form = LOSSES[name]
    changes = [f"loss.fine={fine}", f"loss.form={form}", f"optim.seed={seed}", f"optim.epochs={arguments.epochs}"]
    changes += [f"data.cache={arguments.cache}", f"data.samples_per_epoch={arguments.samples}"]
    changes += [f"optim.eval_every={max(1, arguments.epochs // 5)}"]
    return override(preset("workbench"), changes)


def _run(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate once."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="weaksvr-bench-"))
    try:
        summary = train(arguments.data, folder / "run", _settings(name, seed, arguments), device=arguments.device)
        embedder = checkpoint_embedder(load_checkpoint(folder / "run"), device=torch.device("cpu"))
        result = evaluate(embedder, read_dataset(arguments.data), split="test", matching=False)
        return {
            "loss": name,
            "seed": seed,
            "val": dict(summary.best["val"]),
            "test": {method: value.auc for method, value in result.methods.items()},
            "train_seconds": round(summary.seconds, 1),
            "seconds": round(time.monotonic() - began, 1),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _print_table(runs: list[dict[str, Any]]) -> None:
    print(f"{'test AUC, mean +- standard deviation':<38}{'vector':>18}{'alignment':>18}{'seeds':>7}{'s a run':>9}")
    for name in LOSSES:
        rows = [run for run in runs if run["loss"] == name]
        if not rows:
            continue
        cells = []
        for method in ("vector", "alignment"):
            values = np.array([run["test"][method] for run in rows])
            cells.append(f"{values.mean():.4f} +- {values.std():.4f}")
        seconds = np.mean([run["seconds"] for run in rows])
        print(f"{name:<38}{cells[0]:>18}{cells[1]:>18}{len(rows):>7}{seconds:>9.0f}")


def main() -> None:
    """Run what is missing, print the table, print the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="results file, also what is resumed from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=640, help="training videos an epoch")
    parser.add_argument("--cache", default="runs/cache", help="folder of decoded frames")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
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
    done = {(run["loss"], run["seed"]) for run in document["runs"]}
    document["versions"] = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    document["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads"
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        for name in LOSSES:
            if (name, seed) not in done:
                document["runs"].append(_run(name, seed, arguments))
                write_text(arguments.out, json.dumps(document, indent=1) + "\n")
                print(f"{name}, seed {seed}: {document['runs'][-1]['test']}", flush=True)
    _print_table(document["runs"])
    print(json.dumps(document))


if __name__ == "__main__":
    main()
