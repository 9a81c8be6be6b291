"""Inputs on which every network is compared alone: real frames, what the vision network makes of them, real texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..runtime.backends import Backend
from ..runtime.bundle import ROLES
from ..runtime.embedder import Embedder
from ..runtime.manifest import Clip
from ..runtime.preprocess import normalize
from .difference import Difference

__all__ = ["BATCH_SIZES", "Probe", "compare_network", "make_probes", "shown"]

BATCH_SIZES: Final = (1, 2, 7, 64)
"""One, the smallest that is not one, an odd one, and one larger than the deployed code uses."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Probe:
    """The input of one role, with as many rows as the largest batch has.

    Attributes:
        role: whose input it is.
        rows: (R, ...).
        names: of the R rows, for people.
    """

    role: str
    rows: NDArray[Any]
    names: tuple[str, ...]


def shown(video: str | Path) -> str:
    """A video's name in a report, which holds no paths of the machine that wrote it."""
    return "/".join(Path(video).parts[-2:])


def make_probes(source: Embedder, clips: Sequence[Clip], texts: Sequence[str]) -> list[Probe]:
    """Take real inputs; what is too few is repeated.

    Args:
        source: what the variants are compared with.
        clips: real videos; noise stands in where there are none.
        texts: real steps and paragraphs.

    Raises:
        VideoError: if a video cannot be used.
    """
    size, T = max(BATCH_SIZES), source.sampling.num_frames
    frames, names = _frames(source, clips, max(size, T))
    pixels = normalize(frames, source.preprocess)
    features = source.backend.run("vision", {"frames": pixels})["features"]
    windows = (np.arange(size)[:, None] + np.arange(T)) % len(features)  # (B, T), each row starts a frame later
    probes = [
        Probe(role="vision", rows=pixels[:size], names=names[:size]),
        Probe(role="temporal", rows=features[windows], names=tuple(f"{T} frames from {name}" for name in names[:size])),
    ]
    if source.tokenizer is not None:
        prompts = [texts[row % len(texts)] for row in range(size)]
        probes.append(
            Probe(role="text", rows=source.tokenizer(prompts), names=tuple(f"prompt {prompt!r}" for prompt in prompts))
        )
    return probes


def _frames(source: Embedder, clips: Sequence[Clip], wanted: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Frames, uint8 (wanted, H, W, 3), and their names."""
    if not clips:
        size = source.preprocess
        noise = np.random.default_rng(0).integers(0, 256, (wanted, size.height, size.width, 3), dtype=np.uint8)
        return noise, tuple(f"frame {row} of noise" for row in range(wanted))
    frames: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for clip in clips:
        sampled = source.read(clip.video, start=clip.start, end=clip.end)
        frames.extend(sampled.frames.reshape(-1, *sampled.frames.shape[2:]))
        names += [f"frame {index} of {shown(clip.video)}" for index in sampled.indices.reshape(-1)]
        if len(frames) >= wanted:
            break
    rows = np.arange(wanted) % len(frames)
    return np.stack(frames)[rows], tuple(names[row] for row in rows)


def compare_network(
    source: Backend, variant: Backend, probe: Probe, *, name: str = "PyTorch"
) -> tuple[Difference, ...]:
    """Run a probe in batches of all `BATCH_SIZES`; the worst of each output. `name` is the source's.

    Raises:
        ExportError: if a shape differs, or the source's own values are no numbers.
        BundleError: if a network cannot be run.
    """
    worst: dict[str, Difference] = {}
    (tensor,) = ROLES[probe.role].inputs
    for size in BATCH_SIZES:
        batch = {tensor.name: probe.rows[:size]}
        wanted, found = source.run(probe.role, batch), variant.run(probe.role, batch)
        names = [f"{name}, batch of {size}" for name in probe.names[:size]]
        for output, array in wanted.items():
            what = f"the {probe.role} network, {output}"
            difference = Difference.of(what, array, found[output], rows=names, source=name)
            worst[output] = worst[output].merged(difference) if output in worst else difference
    return tuple(worst.values())
