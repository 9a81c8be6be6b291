"""What is exported, wherever it comes from: the networks, and all that a bundle says about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import open_clip
import torch

from ..runtime.embedder import Embedder
from ..runtime.errors import ExportError, OptionError
from ..runtime.spec import PreprocessSpec, SamplingSpec
from ..runtime.tokenizer import Tokenizer
from ..train.checkpoint import Checkpoint, load_checkpoint
from ..train.tokenizer_json import clip_tokenizer_json
from ..train.torch_backend import Networks, TorchBackend
from .calibration import CalibrationData, calibration_data

__all__ = ["ExportSource", "SourceModel", "run_source"]


class SourceModel(Networks, Protocol):
    """The networks in PyTorch, and what they need to be fed with.

    Attributes:
        sampling, preprocess: how videos become the networks' input.
        context_length: L, tokens of a text.
    """

    @property
    def sampling(self) -> SamplingSpec: ...

    @property
    def preprocess(self) -> PreprocessSpec: ...

    @property
    def context_length(self) -> int: ...

    def cpu(self) -> Any: ...

    def eval(self) -> Any: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A model that can become a bundle; `run_source` makes one of a RUN.

    Attributes:
        model: on the CPU and in evaluation mode, fp32.
        vocabulary: text of the `tokenizers` file that gives the ids the text network was trained with.
        data: what to compare and calibrate on.
        name: shown with every result, one line.
        description: what the model knows, for people.
        training: where the weights come from, JSON-able, without paths of this machine.
    """

    model: SourceModel
    vocabulary: str
    data: CalibrationData
    name: str
    description: str
    training: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise OptionError(
                f"the bundle's name {self.name!r} must be one line of printable text; give one with --name"
            )

    def embedder(self) -> Embedder:
        """The deployed embedding code over PyTorch: what every exported variant is compared with."""
        return Embedder(
            TorchBackend(self.model, torch.device("cpu")),
            sampling=self.model.sampling,
            preprocess=self.model.preprocess,
            tokenizer=Tokenizer.from_json(self.vocabulary),
        )


def run_source(
    run: Path, *, pairs_file: Path | None = None, name: str | None = None, description: str | None = None
) -> ExportSource:
    """A RUN's best weights, to be compared and calibrated on the pairs that are given, else on its validation pairs.

    Raises:
        CheckpointError: if the run, or the data it points to, cannot be used.
        DataError: if the pairs file is wrong.
        ExportError: if the text tower has a tokenizer that cannot be exported.
        OptionError: if `name` cannot be meant.
    """
    checkpoint = load_checkpoint(run)
    data = calibration_data(checkpoint, pairs_file)
    record = checkpoint.record
    folder = checkpoint.folder.resolve()
    trained_on = dict(record.get("data") or {})
    trained_on["folder"] = Path(trained_on.get("folder", "")).name
    known = f"Trained on the videos of {trained_on['folder']}; what it makes of other footage was not measured."
    return ExportSource(
        model=checkpoint.model.cpu().eval(),
        vocabulary=_vocabulary(checkpoint, data.texts),
        data=data,
        name=name or (folder.parent if folder.name == "checkpoint" else folder).name,
        description=description or known,
        training={
            "config": _settings(checkpoint),
            "data": trained_on,
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
