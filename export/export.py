"""From a model to a bundle: export, compare with the source, calibrate, write.

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

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..runtime.backends.ort import OrtBackend
from ..runtime.bundle import Bundle, NewNetwork, refuse_foreign, write_bundle
from ..runtime.bundle_format import Calibration, Manifest, NetworkFile, Threshold, TokenizerFile
from ..runtime.embedder import Embedder, Tokenize
from ..runtime.errors import BundleError, ExportError, OutputError
from .calibration import CalibrationData
from .gate import BATCH_SIZES, GateReport, check_pairs, check_roles
from .graphs import role_graphs
from .source import ExportSource, run_source
from .to_onnx import export_onnx

__all__ = [
    "Progress",
    "bundle_manifest",
    "draft_embedder",
    "export_networks",
    "export_run",
    "export_source",
    "refuse_unwritable",
]

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
    tokenizer_file: Path | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Bundle, GateReport]:
    """Export a RUN's best weights as a bundle: `run_source`, then `export_source`. Raises as they do."""
    refuse_unwritable(out)
    source = run_source(run, pairs_file=pairs_file, name=name, description=description, tokenizer_file=tokenizer_file)
    return export_source(source, out, progress=progress)


def export_source(
    source: ExportSource,
    out: Path,
    *,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Bundle, GateReport]:
    """Export a model as a bundle in fp32.

    Args:
        source: the model, and what to compare and calibrate on.
        out: bundle folder, new, empty or a bundle, which is replaced.
        progress: called with (what is being done, parts done, parts in all).

    Returns:
        The bundle as written, and what the comparison with PyTorch gave.

    Raises:
        ExportError: if a network cannot be exported, or differs from its source.
        OutputError: if `out` holds something else or cannot be written.
        VideoError: if a video of the pairs cannot be used.
    """
    refuse_unwritable(out)
    data, manifest, pytorch = source.data, bundle_manifest(source), source.embedder()
    frames = _frames(pytorch, data)
    networks = export_networks(source, manifest, progress)
    exported = draft_embedder(out, manifest, networks, tokenizer=pytorch.tokenizer)
    what = f"comparing the export with PyTorch on {len(data.pairs)} pairs"
    progress(what, 0, len(data.videos))
    try:
        by_role = check_roles(pytorch, exported, frames, data.texts)
        report = check_pairs(
            pytorch, exported, clips=data.clips, pairs=data.pairs, progress=lambda *parts: progress(what, *parts)
        )
    except BundleError as error:
        raise ExportError(f"{error}; nothing was written") from error
    final = dataclasses.replace(
        manifest,
        default_method=source.default_method or report.default_method,
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
    return write_bundle(out, final, networks, tokenizer=source.tokenizer), report


def refuse_unwritable(out: Path) -> None:
    """Refuse an `out` that cannot become a bundle before any work is done. Raises `OutputError`."""
    refuse_foreign(out)
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"{out}: cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: cannot be made: no permission to write in {there}")


def bundle_manifest(source: ExportSource) -> Manifest:
    """What is known before the networks are."""
    return Manifest(
        name=source.name,
        description=source.description,
        sampling=source.model.sampling,
        preprocess=source.model.preprocess,
        default_method=source.default_method or "alignment",
        tools=_tools(),
        training=source.training,
    )


def _tools() -> dict[str, str]:
    packages = ("torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime")
    return {"weaksvr": __version__, **{name: _installed(name) for name in packages}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from another wheel"


def export_networks(source: ExportSource, manifest: Manifest, progress: Progress) -> list[NewNetwork]:
    """Every network of a model, in fp32. Raises `ExportError`."""
    metadata = {
        "weaksvr.name": manifest.name,
        "weaksvr.version": __version__,
        "weaksvr.sampling": json.dumps(manifest.sampling.to_json()),
        "weaksvr.preprocess": json.dumps(manifest.preprocess.to_json()),
    }
    graphs = list(role_graphs(source.model).values())
    networks = []
    for done, graph in enumerate(graphs):
        progress(f"exporting the {graph.role} network", done, len(graphs))
        networks.append(export_onnx(graph, metadata={"weaksvr.role": graph.role, **metadata}))
    return networks


def draft_embedder(
    out: Path, manifest: Manifest, networks: Sequence[NewNetwork], *, tokenizer: Tokenize | None
) -> Embedder:
    """The deployed code over networks that are in no bundle yet."""
    return Embedder(
        OrtBackend(_draft(out, manifest, networks), device="cpu", precision="fp32"),
        sampling=manifest.sampling,
        preprocess=manifest.preprocess,
        tokenizer=tokenizer,
    )


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
