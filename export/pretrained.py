"""A bundle straight from an open_clip model, without training: its towers, and a temporal network without weights.

What the temporal network does with the image features of a view's T frames, each scaled to length 1:

- v is their mean, as usual for CLIP on videos; it lies in the space of the texts.
- H is what each frame has beyond that mean. Scene, light and camera are alike in all of the frames, and in raw
  features they outweigh what is done; without them, aligned frames are compared by what changes in the video.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..runtime.bundle import Bundle
from ..runtime.errors import OptionError
from ..runtime.spec import PreprocessSpec, SamplingPolicy, SamplingSpec
from ..train.backbones import TextTower
from ..train.open_clip_weights import PretrainedClip, load_pretrained
from ..train.tower_tokenizer import tower_tokenizer
from .calibration import CalibrationData, given_data, without_pairs
from .export import ExportOptions, export_source
from .gate import Progress
from .out_folder import refuse_unwritable
from .report import GateReport
from .reuse import Earlier
from .source import ExportSource

__all__ = ["FrameFeatures", "PretrainedModel", "export_pretrained", "pretrained_source"]

_SAMPLING = SamplingSpec(policy="three-view", num_frames=16)


class FrameFeatures(nn.Module):
    """The temporal network of a model that was not trained on videos; it has no weights."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map image features (B, T, D) to H (B, T, D) and v (B, D)."""
        directions = F.normalize(features, dim=-1)
        mean = directions.mean(dim=1)
        return directions - mean[:, None], mean


class PretrainedModel(nn.Module):
    """The towers of an open_clip model, and `FrameFeatures` between them.

    Attributes:
        vision: (N, 3, H, W) -> (N, D).
        temporal: (B, T, D) -> H (B, T, D), v (B, D).
        text: int64 (N, L) -> (N, D).
        sampling, preprocess: how frames reach the network.
        context_length: L.
    """

    def __init__(self, pretrained: PretrainedClip, sampling: SamplingSpec) -> None:
        super().__init__()
        self.vision: nn.Module = pretrained.clip.visual  # type: ignore[assignment]
        self.text = TextTower(pretrained.clip)
        self.temporal = FrameFeatures()
        self.sampling = sampling
        self.preprocess: PreprocessSpec = pretrained.preprocess
        self.context_length = pretrained.text.context_length
        self._check_outputs(pretrained.label)

    @torch.no_grad()
    def _check_outputs(self, label: str) -> None:
        """Both towers give one vector, of one size, as matching and timelines need."""
        spec = self.preprocess
        tokens = torch.zeros(1, self.context_length, dtype=torch.int64)
        outputs = self.eval().vision(torch.zeros(1, 3, spec.height, spec.width)), self.text(tokens)
        if not all(isinstance(output, Tensor) and output.ndim == 2 for output in outputs):
            raise OptionError(f"{label}: its towers do not give one vector an image and one a text")
        if outputs[0].shape != outputs[1].shape:
            raise OptionError(f"{label}: images become {outputs[0].shape[1]} numbers, but texts {outputs[1].shape[1]}")


def pretrained_source(
    pretrained: str,
    *,
    pairs_file: Path | None = None,
    name: str | None = None,
    description: str | None = None,
    tokenizer_file: Path | None = None,
    sampling: SamplingSpec = _SAMPLING,
) -> ExportSource:
    """An open_clip model as it is.

    Args:
        pretrained: see `load_pretrained`.
        pairs_file: pairs to compare and calibrate on; without them there will be no threshold.
        name: shown with every result; None takes the model's and its weights'.
        description: what the model knows, for people.
        tokenizer_file: `tokenizer.json`, for a text tower with a tokenizer of its own.
        sampling: which frames of a video are taken.

    Raises:
        DataError: if the pairs file is wrong.
        OptionError: if the model, its weights or its tokenizer cannot be had or kept in a bundle.
    """
    data: CalibrationData = without_pairs() if pairs_file is None else given_data(pairs_file)
    model = load_pretrained(pretrained)
    known = f"The frame features of open_clip's {model.label}, compared as they are; not trained on procedures."
    return ExportSource(
        model=PretrainedModel(model, sampling),
        tokenizer=tower_tokenizer(model.text, file=tokenizer_file),
        data=data,
        name=name or model.label,
        description=description or known,
        training={"pretrained": dict(model.facts), "temporal": "no weights: centred frame features and their mean"},
        default_method="alignment",  # whatever the pairs say: a mean of frames cannot know their order
    )


def export_pretrained(
    pretrained: str,
    out: Path,
    *,
    policy: SamplingPolicy | None = None,
    num_frames: int | None = None,
    options: ExportOptions | None = None,
    earlier: Earlier | None = None,
    progress: Progress = lambda _what, _done, _total: None,
    **facts: Any,
) -> tuple[Bundle, GateReport]:
    """Export an open_clip model as it is.

    Args:
        pretrained: see `load_pretrained`.
        out: bundle folder, new, empty or a bundle, which is replaced.
        policy, num_frames: which frames of a video are taken; None takes three views of 16.
        options, earlier, progress: see `export_source`.
        facts: of `pretrained_source`.

    Returns:
        The bundle as written, and what the comparison with PyTorch gave.

    Raises:
        WeakSVRError: as `pretrained_source` and `export_source` do.
    """
    refuse_unwritable(out)
    sampling = SamplingSpec(
        policy=policy or _SAMPLING.policy, num_frames=_SAMPLING.num_frames if num_frames is None else num_frames
    )
    progress(f"loading {pretrained}", 0, 1)
    source = pretrained_source(pretrained, sampling=sampling, **facts)
    return export_source(source, out, options=options, earlier=earlier, progress=progress)
