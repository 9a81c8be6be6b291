"""From a RUN to a bundle: export, compare with the source, calibrate, write.

Nothing touches the disk before all checks have passed, so whatever interrupts an export leaves no trace.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray

from .. import __version__
from ..runtime.backends.ort import OrtBackend
from ..runtime.bundle import Bundle, NewNetwork, NewTokenizer, refuse_foreign, write_bundle
from ..runtime.bundle_format import Calibration, Manifest, NetworkFile, Threshold, TokenizerFile
from ..runtime.embedder import Embedder
from ..runtime.errors import BundleError, ExportError, OptionError, OutputError
from ..runtime.tokenizer import Tokenizer
from ..train.checkpoint import Checkpoint, load_checkpoint
from ..train.evaluate import checkpoint_embedder
from ..train.tokenizer_json import clip_tokenizer_json
from .calibration import CalibrationData, calibration_data
from .gate import BATCH_SIZES, GateReport, check_pairs, check_roles
from .graphs import role_graphs
from .to_onnx import export_onnx

__all__ = ["Progress", "export_run"]

Progress = Callable[[str, int, int], None]

_RULE = "equal error rate on the calibration pairs"


@dataclasses.dataclass(frozen=True, slots=True)
class _Draft(Bundle):
    """A bundle of which only the manifest's facts and the networks' bytes exist, for trying it."""

    contents: Mapping[str, bytes]

    def read(self, entry: NetworkFile | TokenizerFile) -> bytes:
        return self.contents[entry.path]


def export_run(
    run: Path,
    out: Path,
    *,
    pairs_file: Path | None = None,
    name: str | None = None,
    description: str | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Bundle, GateReport]:
    """Export a RUN's best weights as a bundle in fp32.

    Args:
        run: RUN folder.
        out: bundle folder, new, empty or a bundle, which is replaced.
        pairs_file: pairs to compare and calibrate on; None takes the run's validation pairs.
        name: shown with every result; None takes the run folder's name.
        description: what the model knows, for people; None says which data it was trained on.
        progress: called with (what is being done, parts done, parts in all).

    Returns:
        The bundle as written, and what the comparison with PyTorch gave.

    Raises:
        CheckpointError: if the run, or the data it points to, cannot be used.
        DataError: if the pairs file is wrong.
        ExportError: if a network cannot be exported, or differs from its source.
        OptionError: if `name` cannot be meant.
        OutputError: if `out` holds something else or cannot be written.
        VideoError: if a video of the pairs cannot be used.
    """
    _refuse_unwritable(out)
    checkpoint = load_checkpoint(run)
    data = calibration_data(checkpoint, pairs_file)
    manifest = _manifest(checkpoint, name=name, description=description)
    vocabulary = _vocabulary(checkpoint, data.texts)
    source = checkpoint_embedder(checkpoint, device=torch.device("cpu"))
    frames = _frames(source, data)
    networks = _networks(checkpoint, manifest, progress)
    exported = Embedder(
        OrtBackend(_draft(out, manifest, networks), device="cpu", precision="fp32"),
        sampling=manifest.sampling,
        preprocess=manifest.preprocess,
        tokenizer=Tokenizer.from_json(vocabulary),
    )
    what = f"comparing the export with PyTorch on {len(data.pairs)} pairs"
    progress(what, 0, len(data.videos))
    try:
        by_role = check_roles(source, exported, frames, data.texts)
        report = check_pairs(
            source, exported, clips=data.clips, pairs=data.pairs, progress=lambda *parts: progress(what, *parts)
        )
    except BundleError as error:
        raise ExportError(f"{error}; nothing was written") from error
    final = dataclasses.replace(
        manifest,
        default_method=report.default_method,
        thresholds=_thresholds(report, manifest.sampling.key),
        checks={
            **report.to_json(),
            "relative_difference_by_role": by_role,
            "batch_sizes": list(BATCH_SIZES),
            "provider": exported.backend.provider,
            "pairs_from": data.source,
            "pairs_sha256": data.sha256,
        },
    )
    tokenizer = NewTokenizer(context_length=checkpoint.model.context_length, data=vocabulary.encode())
    return write_bundle(out, final, networks, tokenizer=tokenizer), report


def _refuse_unwritable(out: Path) -> None:
    """Refuse an `out` that cannot become a bundle before any work is done. Raises `OutputError`."""
    refuse_foreign(out)
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"{out}: cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: cannot be made: no permission to write in {there}")


def _manifest(checkpoint: Checkpoint, *, name: str | None, description: str | None) -> Manifest:
    """What is known before the networks are; the default method is a placeholder."""
    model, record = checkpoint.model, checkpoint.record
    folder = checkpoint.folder.resolve()
    name = name or (folder.parent if folder.name == "checkpoint" else folder).name
    if not name.isprintable():
        raise OptionError(f"the bundle's name {name!r} must be one line of printable text; give one with --name")
    data = dict(record.get("data") or {})
    data["folder"] = Path(data.get("folder", "")).name
    known = f"Trained on the videos of {data['folder']}; what it makes of other footage was not measured."
    return Manifest(
        name=name,
        description=description or known,
        sampling=model.sampling,
        preprocess=model.preprocess,
        default_method="alignment",
        tools=_tools(),
        training={
            "config": _settings(checkpoint),
            "data": data,
            "metrics": record.get("metrics"),
            "versions": record.get("versions"),
        },
    )


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The run's settings, without the paths of the machine it ran on."""
    settings = checkpoint.config.to_json()
    settings["data"]["cache"] = ""
    settings["model"]["pretrained"] = Path(settings["model"]["pretrained"]).name
    return settings


def _tools() -> dict[str, str]:
    packages = ("torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime")
    return {"weaksvr": __version__, **{name: _installed(name) for name in packages}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from another wheel"


def _vocabulary(checkpoint: Checkpoint, texts: Sequence[str]) -> str:
    """The text of the bundle's tokenizer, if it gives the ids that the model was trained with."""
    clip, length = checkpoint.config.model.clip, checkpoint.model.context_length
    text_config = (open_clip.get_model_config(clip) or {}).get("text_cfg") or {}
    vocabulary = clip_tokenizer_json(context_length=length)
    if "hf_tokenizer_name" not in text_config:
        wanted = open_clip.get_tokenizer(clip, context_length=length)(list(texts)).numpy()
        if np.array_equal(wanted, Tokenizer.from_json(vocabulary)(texts)):
            return vocabulary
    raise ExportError(f"{clip}: its text tower has a tokenizer of its own, and only CLIP's can be exported")


def _networks(checkpoint: Checkpoint, manifest: Manifest, progress: Progress) -> list[NewNetwork]:
    metadata = {
        "weaksvr.name": manifest.name,
        "weaksvr.version": __version__,
        "weaksvr.sampling": json.dumps(manifest.sampling.to_json()),
        "weaksvr.preprocess": json.dumps(manifest.preprocess.to_json()),
    }
    graphs = list(role_graphs(checkpoint.model).values())
    networks = []
    for done, graph in enumerate(graphs):
        progress(f"exporting the {graph.role} network", done, len(graphs))
        networks.append(export_onnx(graph, metadata={"weaksvr.role": graph.role, **metadata}))
    return networks


def _draft(out: Path, manifest: Manifest, networks: Sequence[NewNetwork]) -> _Draft:
    files = tuple(
        NetworkFile(
            role=network.role,
            precision=network.precision,
            path=f"{network.role}.onnx",
            bytes=len(network.data),
            sha256=hashlib.sha256(network.data).hexdigest(),
            opset=network.opset,
            inputs=network.inputs,
            outputs=network.outputs,
        )
        for network in networks
    )
    contents = {file.path: network.data for file, network in zip(files, networks, strict=True)}
    return _Draft(out, dataclasses.replace(manifest, files=files), contents)


def _frames(source: Embedder, data: CalibrationData) -> NDArray[np.uint8]:
    """Real frames of the first videos, uint8 (n, H, W, 3), as many as the largest batch needs if there are so many."""
    parts = {clip.video: (clip.start, clip.end) for clip in data.clips}
    frames: list[NDArray[np.uint8]] = []
    for video in data.videos:
        start, end = parts.get(video, (None, None))
        sampled = source.read(video, start=start, end=end).frames
        frames.append(sampled.reshape(-1, *sampled.shape[2:]))
        if sum(map(len, frames)) >= max(BATCH_SIZES):
            break
    return np.concatenate(frames)


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
