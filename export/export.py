"""From a RUN to a bundle: export, compare with the source, calibrate, write."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..runtime.backends.ort import OrtBackend
from ..runtime.bundle import Bundle, NewTokenizer, refuse_foreign, write_bundle
from ..runtime.bundle_format import Calibration, Manifest, Threshold
from ..runtime.embedder import Embedder
from ..runtime.errors import CheckpointError, DataError
from ..runtime.manifest import Clip, Pair, read_pairs
from ..runtime.spec import METHODS
from ..runtime.tokenizer import Tokenizer
from ..train.checkpoint import Checkpoint, load_checkpoint
from ..train.datasets.splits import load_training_data
from ..train.evaluate import checkpoint_embedder
from ..train.tokenizer_json import clip_tokenizer_json
from .gate import GateReport, check_embeddings, check_roles
from .graphs import role_graphs
from .to_onnx import export_onnx

__all__ = ["export_run"]

_RULE = "equal error rate on the calibration pairs"
_FEW_STEPS = ("take the cup", "pour water", "stir")


def _calibration_data(checkpoint: Checkpoint, pairs_file: Path | None) -> tuple[Sequence[Clip], Sequence[Pair], str]:
    """The pairs that are given, else the run's validation pairs.

    Raises:
        CheckpointError: if the run's data is gone or has changed.
        DataError: if a file is wrong.
    """
    if pairs_file is not None:
        pairs = read_pairs(pairs_file)
        for same, word in ((True, "the same procedure"), (False, "different procedures")):
            if not any(pair.same is same for pair in pairs):
                raise DataError(f"{pairs_file}: has no pair of {word}; a threshold needs both kinds")
        return (), pairs, pairs_file.name
    record = checkpoint.record["data"]
    folder = Path(record["folder"])
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: the run's data is not there; give pairs of videos with --pairs FILE")
    config = checkpoint.config
    data = load_training_data(folder, val_fraction=config.data.val_fraction, seed=config.optim.seed)
    if data.record["files"] != record["files"]:
        raise CheckpointError(f"{folder}: the data files have changed since the run; give pairs with --pairs FILE")
    return data.val, data.val_pairs, f"validation pairs of {folder.name}"


def _thresholds(report: GateReport, sampling_key: str) -> tuple[Threshold, ...]:
    return tuple(
        Threshold(
            method=method,
            precision="fp32",
            sampling=sampling_key,
            threshold=result.threshold,
            calibrated=Calibration(
                pairs=report.num_pairs, same=report.num_same, auc=result.auc, eer=result.eer, rule=_RULE
            ),
        )
        for method, result in report.methods.items()
    )


def _training_record(checkpoint: Checkpoint) -> dict[str, Any]:
    """Where the weights come from, without the paths of the machine they were made on."""
    record = checkpoint.record
    data = {**record["data"], "folder": Path(record["data"]["folder"]).name}
    return {"config": record["config"], "metrics": record["metrics"], "data": data, "versions": record["versions"]}


def _tools() -> dict[str, str]:
    packages = ("torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime")
    return {"weaksvr": __version__, **{name: _installed(name) for name in packages}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        return "from another wheel"


def export_run(
    run: Path,
    out: Path,
    *,
    pairs_file: Path | None = None,
    name: str | None = None,
    description: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Bundle, GateReport]:
    """Export a RUN's best weights as a bundle in fp32.

    Everything is built and checked in a temporary folder beside `out`; `out` is written only if all checks pass.

    Args:
        run: RUN folder.
        out: bundle folder, new, empty or a bundle.
        pairs_file: pairs to compare and calibrate on; None takes the run's validation pairs.
        name: shown with every result; None takes the run folder's name.
        description: what the model knows, for people; None says which data it was trained on.
        progress: told what is being done.

    Raises:
        CheckpointError: if the run cannot be used.
        ExportError: if a network cannot be exported, or differs from its source.
        OutputError: if `out` holds something else or cannot be written.
    """
    refuse_foreign(out)
    checkpoint = load_checkpoint(run)
    clips, pairs, source_name = _calibration_data(checkpoint, pairs_file)
    name = name or run.resolve().name
    model = checkpoint.model
    manifest = Manifest(
        name=name,
        description=description or _description(checkpoint),
        sampling=model.sampling,
        preprocess=model.preprocess,
        default_method="alignment",
        tools=_tools(),
        training=_training_record(checkpoint),
    )
    metadata = {
        "weaksvr.name": name,
        "weaksvr.version": __version__,
        "weaksvr.preprocess": json.dumps(model.preprocess.to_json()),
    }
    vocabulary = clip_tokenizer_json(context_length=model.context_length)
    tokenizer = NewTokenizer(context_length=model.context_length, data=vocabulary.encode())
    networks = []
    for graph in role_graphs(model).values():
        progress(f"exporting the {graph.role} network")
        networks.append(export_onnx(graph, metadata=metadata))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = write_bundle(Path(folder) / "draft", manifest, networks, tokenizer=tokenizer)
        source = checkpoint_embedder(checkpoint, device=torch.device("cpu"))
        exported = Embedder(
            OrtBackend(draft, device="cpu", precision="fp32"),
            sampling=model.sampling,
            preprocess=model.preprocess,
            tokenizer=Tokenizer.from_json(vocabulary),
        )
        progress(f"comparing the export with PyTorch on {len(pairs)} pairs")
        some = source.read(pairs[0].video_a).frames
        steps = clips[0].steps if clips else _FEW_STEPS
        by_role = check_roles(source, exported, some.reshape(-1, *some.shape[2:]), steps)
        report = check_embeddings(source, exported, clips=clips, pairs=pairs)
    best = max(METHODS, key=lambda method: report.methods[method].auc)
    checks = {**report.to_json(), "max_difference_by_role": by_role, "pairs_from": source_name, "provider": "CPU"}
    final = dataclasses.replace(
        manifest,
        default_method=best,
        thresholds=_thresholds(report, model.sampling.key),
        checks=checks,
    )
    return write_bundle(out, final, networks, tokenizer=tokenizer), report


def _description(checkpoint: Checkpoint) -> str:
    folder = Path(checkpoint.record["data"]["folder"]).name
    return f"Trained on the videos of {folder}; what it makes of other footage was not measured."


