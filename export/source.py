"""What is exported, wherever it comes from: the networks, and all that a bundle says about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ..runtime.bundle import NewTokenizer
from ..runtime.embedder import Embedder
from ..runtime.errors import OptionError
from ..runtime.spec import Method, PreprocessSpec, SamplingSpec
from ..train.checkpoint import Checkpoint, load_checkpoint
from ..train.selection import OPTIMISTIC, Selection
from ..train.torch_backend import Networks, TorchBackend
from ..train.tower_tokenizer import model_tokenizer, tokenizer_of
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
        tokenizer: gives the ids that the text network was trained with; None where there is none.
        data: what to compare and calibrate on.
        name: shown with every result, one line.
        description: what the model knows, for people.
        training: where the weights come from, JSON-able, without paths of this machine.
        default_method: how videos are compared unless told otherwise; None takes the better one on the pairs.
    """

    model: SourceModel
    tokenizer: NewTokenizer | None
    data: CalibrationData
    name: str
    description: str
    training: Mapping[str, Any]
    default_method: Method | None = None

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
            tokenizer=tokenizer_of(self.tokenizer),
        )


def run_source(
    run: Path,
    *,
    pairs_file: Path | None = None,
    name: str | None = None,
    description: str | None = None,
    tokenizer_file: Path | None = None,
) -> ExportSource:
    """A RUN's best weights, to be compared and calibrated on the pairs that are given, else on its validation pairs.

    A RUN that was imported has no validation pairs. Without pairs it compares by vector, as published.

    Raises:
        CheckpointError: if the run, or the data it points to, cannot be used.
        DataError: if the pairs file is wrong.
        OptionError: if `name` cannot be meant, or the text tower's tokenizer cannot be had or kept in a bundle.
    """
    checkpoint = load_checkpoint(run)
    data = calibration_data(checkpoint, pairs_file)
    folder = checkpoint.folder.resolve()
    known, training = _origin(checkpoint)
    return ExportSource(
        model=checkpoint.model.cpu().eval(),
        tokenizer=model_tokenizer(checkpoint.config.model, file=tokenizer_file),
        data=data,
        name=name or (folder.parent if folder.name == "checkpoint" else folder).name,
        description=description or known,
        training=training,
        default_method="vector" if "imported" in checkpoint.record and not data.pairs else None,
    )


def _origin(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """Where the weights come from: a sentence for people, and all that is known, without paths of this machine."""
    record = checkpoint.record
    shared = {"versions": record.get("versions")}
    if "imported" in record:
        imported = record["imported"]
        known = (
            f"The published {imported['network']} checkpoint {imported['file']}, imported; what it makes of footage "
            "other than that of its training was not measured."
        )
        settings = _settings(checkpoint)
        network = {name: settings[name] for name in ("model", "data")}
        return known, {"imported": imported, "config": network, **shared}
    trained_on = dict(record.get("data") or {})
    trained_on["folder"] = Path(trained_on.get("folder", "")).name
    known = f"Trained on the videos of {trained_on['folder']}; what it makes of other footage was not measured."
    selection = Selection.of(checkpoint.config.optim)
    if selection.split == "test":
        known += f" Its epoch was {OPTIMISTIC}."
    facts = {"config": _settings(checkpoint), "data": trained_on, "metrics": record.get("metrics")}
    return known, {**facts, **selection.record, **shared}


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The run's settings, without the paths of the machine it ran on."""
    settings = checkpoint.config.to_json()
    settings["data"]["cache"] = ""
    for file in ("pretrained", "tokenizer"):
        settings["model"][file] = Path(settings["model"][file]).name
    return settings
