"""Export without pairs of videos: the networks are compared one by one on rendered frames, and no threshold is set."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import Bundle, write_bundle
from ..runtime.embedder import Embedder
from ..runtime.errors import BundleError, ExportError
from ..train.datasets.workbench.writer import make_dataset
from .export import Progress, bundle_manifest, draft_embedder, export_networks, refuse_unwritable
from .gate import BATCH_SIZES, check_roles
from .source import ExportSource

__all__ = ["export_uncalibrated", "rendered_frames"]

_FRAMES_FROM = "rendered workbench videos"
_RENDERED = 4  # videos; of each at least as many frames as a view has


def export_uncalibrated(
    source: ExportSource, out: Path, *, progress: Progress = lambda _what, _done, _total: None
) -> Bundle:
    """Export a model as a bundle in fp32 that has no threshold.

    Args:
        source: the model; its pairs are not looked at.
        out: bundle folder, new, empty or a bundle, which is replaced.
        progress: called with (what is being done, parts done, parts in all).

    Returns:
        The bundle as written; its `checks` say how far it is from PyTorch.

    Raises:
        ExportError: if a network cannot be exported, or differs from its source.
        OutputError: if `out` holds something else or cannot be written.
    """
    refuse_unwritable(out)
    manifest, pytorch = bundle_manifest(source), source.embedder()
    frames = rendered_frames(pytorch)
    networks = export_networks(source, manifest, progress)
    exported = draft_embedder(out, manifest, networks, tokenizer=pytorch.tokenizer)
    progress("comparing the export with PyTorch on rendered frames", 0, 1)
    try:
        by_role = check_roles(pytorch, exported, frames, source.data.texts)
    except BundleError as error:
        raise ExportError(f"{error}; nothing was written") from error
    checks = {
        "calibrated": False,
        "relative_difference_by_role": by_role,
        "batch_sizes": list(BATCH_SIZES),
        "provider": exported.backend.provider,
        "frames_from": _FRAMES_FROM,
        "num_frames": len(frames),
    }
    final = dataclasses.replace(manifest, checks=checks)
    return write_bundle(out, final, networks, tokenizer=source.tokenizer)


def rendered_frames(embedder: Embedder) -> NDArray[np.uint8]:
    """Frames of rendered videos as the model sees them, uint8 (n, H, W, 3)."""
    with tempfile.TemporaryDirectory(prefix="weaksvr-") as name:
        folder = Path(name) / "videos"
        make_dataset(folder, train=0, val=_RENDERED, test=0)
        videos = sorted(folder.glob("videos/*/*"))
        sampled = [embedder.read(video).frames for video in videos]
    return np.concatenate([frames.reshape(-1, *frames.shape[2:]) for frames in sampled])
