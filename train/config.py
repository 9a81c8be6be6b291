"""Settings of a training run: frozen values, overrides by name, and their JSON form."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from ..runtime.errors import CheckpointError, OptionError
from ..runtime.spec import Resize, SamplingPolicy

__all__ = [
    "PIXELS",
    "WHOLE_CLIP",
    "AugmentConfig",
    "DataConfig",
    "FineLoss",
    "LossConfig",
    "ModelConfig",
    "Network",
    "OptimConfig",
    "TrainConfig",
    "VideoVector",
    "override",
]

FineLoss = Literal["none", "sort", "viterbi", "split", "posterior", "order"]
FineForm = Literal["official", "masked", "batch"]
Network = Literal["transformer", "cat", "trn", "s3d-g", "video-swin", "video-swin-small"]
Optimizer = Literal["adamw", "adam", "sgd"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
VideoVector = Literal["flatten", "tokens", "pool"]

PIXELS: Final = "pixels"
"""The image tower that gives frames as they are."""

WHOLE_CLIP: Final = ("s3d-g", "video-swin", "video-swin-small")
"""Networks that take the pixels of a clip, and not the features of its frames."""


def _check_choices(config: Any) -> None:
    """Every `Literal` field holds one of its values."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        if typing.get_origin(hints[field.name]) is Literal:
            choices = typing.get_args(hints[field.name])
            value = getattr(config, field.name)
            if value not in choices:
                raise OptionError(f"{field.name} = {value!r} is not known; use one of {', '.join(choices)}")


def _check_range(config: Any, low: float, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not low <= value < float("inf"):
            raise OptionError(f"{name} = {value} must be a finite number of at least {low}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The networks: an image tower, what makes H and v of its features, and a text tower.

    Attributes:
        clip: open_clip architecture name (`ViT-B-32-quickgelu`, ...), or `weaksvr-tiny`.
        pretrained: open_clip weights tag or file; empty for random weights.
        tokenizer: `tokenizer.json` of a text tower that does not use CLIP's; empty takes it from the hub.
        vision: timm model that takes the place of CLIP's image tower, see `image_towers`; empty for CLIP's own.
        vision_pretrained: weights of `vision`, or of a `video-swin`: `hub` or a file; empty for random ones.
        text: `clip` for CLIP's text tower, `words` for MIL-NCE's, which takes the maximum over single words, or `none`.
        network: what makes H and v: `transformer` as published; the baselines' `cat`, `trn`, `s3d-g`, `video-swin`, or
            `video-swin-small` for small frames and training from scratch.
        network_width: factor of the channel numbers of `s3d-g` and the video swins.
        dim: D where `text` is not `clip`.
        num_classes: C of the classifier over v that `loss.class_weight` trains; 0 counts the training procedures.
        freeze_vision: keep the image tower as it is.
        train_text: train the text tower too (for towers without pretrained weights).
        width: width W of the temporal encoder.
        depth: pre-norm blocks of the temporal encoder.
        heads, head_dim: attention heads and their size.
        mlp_width: hidden size of the blocks' MLP.
        attention_scale: `model` divides by sqrt(W) as published, `head` by sqrt(head_dim) as usual.
        position_std: standard deviation of the initial position embedding (published: 1).
        hidden_layer: a linear layer and ReLU before the temporal encoder, as published.
        video_vector: what one linear layer maps to v: `flatten` the T frame features, as published; `tokens` the
            encoder's T outputs, so that the two losses share the encoder but not the layer that makes H. With `pool`,
            v is the mean of the T frame features.
        center: subtract the clip's mean from the image features (then divide by their deviation) and again before H,
            so that what a fixed camera sees all the time does not count.
    """

    clip: str = "ViT-B-32-quickgelu"
    pretrained: str = "openai"
    tokenizer: str = ""
    vision: str = ""
    vision_pretrained: str = ""
    text: Literal["clip", "words", "none"] = "clip"
    network: Network = "transformer"
    network_width: float = 1.0
    dim: int = 512
    num_classes: int = 0
    freeze_vision: bool = False
    train_text: bool = False
    width: int = 1024
    depth: int = 2
    heads: int = 8
    head_dim: int = 64
    mlp_width: int = 2048
    attention_scale: Literal["model", "head"] = "model"
    position_std: float = 1.0
    hidden_layer: bool = True
    video_vector: VideoVector = "flatten"
    center: bool = False

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range(self, 1, "width", "heads", "head_dim", "mlp_width", "dim")
        _check_range(self, 0, "depth", "position_std", "num_classes", "network_width")
        if self.vision_pretrained and not self.vision:
            raise OptionError(
                f"vision_pretrained = {self.vision_pretrained} without vision; pretrained names the weights of clip"
            )
        if self.network_width != 1.0 and self.network not in WHOLE_CLIP:
            raise OptionError(
                f"network_width = {self.network_width} is of {', '.join(WHOLE_CLIP)}; {self.network} has width"
            )
        if (self.network in WHOLE_CLIP) != (self.vision == PIXELS):
            raise OptionError(
                f"network = {self.network} with vision = {self.vision or 'that of clip'}: {', '.join(WHOLE_CLIP)} take "
                f"whole clips, with vision = {PIXELS}; the other networks take the features of an image tower"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Random changes of the training clips; every frame of a clip is changed alike.

    Attributes:
        color: strength of brightness, contrast, saturation, channel gain and hue changes (0: none).
        shift: largest shift as a share of the frame.
        zoom: largest relative change of scale.
        rotate: largest rotation in degrees.
        noise: largest standard deviation of the pixel noise (pixels in [0, 1]).
        flip: probability of a left-right flip (wrong where left and right mean something).
        erase: probability that one rectangle of the clip is covered.
    """

    color: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    rotate: float = 0.0
    noise: float = 0.0
    flip: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        _check_range(self, 0, "color", "shift", "zoom", "rotate", "noise", "flip", "erase")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Frames and batches.

    Attributes:
        num_frames: T, frames a clip.
        policy: frames used for validation and recorded in the bundle (`uniform`, `three-view`).
        size: height and width of the network's input; 0 takes the image tower's.
        resize: `shorter` (cover and crop the centre, CLIP) or `squash` (nothing is cut off).
        batch_size: B, videos (or pairs) a step and process.
        samples_per_epoch: videos (or pairs) drawn an epoch without replacement; 0 takes all videos, or as many pairs.
        pairs: train on pairs of videos that show the same procedure, as the supervised setting does.
        workers: decoding processes.
        cache: folder in which decoded frames are kept on disk; empty for none.
        val_fraction: share of the procedures that is set apart where the data has no validation file.
    """

    num_frames: int = 16
    policy: SamplingPolicy = "three-view"
    size: int = 0
    resize: Resize = "shorter"
    batch_size: int = 8
    samples_per_epoch: int = 0
    pairs: bool = False
    workers: int = 2
    cache: str = ""
    val_fraction: float = 0.2

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range(self, 2, "num_frames", "batch_size")
        _check_range(self, 0, "size", "samples_per_epoch", "workers", "val_fraction")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The two losses of the weak setting, and the two that the supervised setting adds.

    Attributes:
        coarse: `info-nce` of videos and paragraphs as published, or `mil-nce` of videos and their single steps.
        fine: pseudo labels of the frame-sentence loss (`sort`, `viterbi`, `split`; `posterior`: soft ones), or
            `order`, which needs no labels: frames against whole scripts, step after step; or `none`.
        form: `official` (what the published code computes), `masked` (padding excluded, similarities scaled) or
            `batch` (as `masked`, contrasted with every distinct sentence of the batch, `order` with every script).
            `posterior` and `order` have the form `batch` alone.
        coarse_weight, fine_weight: factors of the two losses; 0 leaves one out.
        class_weight: factor of the cross-entropy of procedures, whose names the training data must give.
        sequence_weight: factor of the sequence alignment loss of a pair (`data.pairs`).
        fine_scale: factor of the cosines in the forms `masked` and `batch`.
        mask_repeated: videos of one procedure are not negatives of one another.
        script_negatives: altered scripts (swap, drop, repeat, replace) added to each video's negatives, in the coarse
            loss and in `order`.
    """

    coarse: Literal["info-nce", "mil-nce"] = "info-nce"
    fine: FineLoss = "viterbi"
    form: FineForm = "batch"
    coarse_weight: float = 1.0
    fine_weight: float = 1.0
    class_weight: float = 0.0
    sequence_weight: float = 0.0
    fine_scale: float = 10.0
    mask_repeated: bool = True
    script_negatives: int = 0

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range(self, 0, "coarse_weight", "fine_weight", "class_weight", "sequence_weight")
        _check_range(self, 0, "fine_scale", "script_negatives")
        if self.fine in ("posterior", "order") and self.form != "batch":
            raise OptionError(f"fine = {self.fine} with form = {self.form} is not known; use form = batch")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """Optimisation.

    Attributes:
        optimizer: `adamw`, `adam` (the weight decay is an l2 penalty) or `sgd` (with momentum 0.9).
        epochs: passes over the training videos.
        lr: learning rate of everything but the CLIP towers.
        backbone_lr: learning rate of the image tower (and of the text tower where it is trained).
        final_lr, final_backbone_lr: what the cosine ends at, as a share of the rates.
        weight_decay: the optimiser's.
        warmup_epochs: linear warm-up.
        accumulate: batches a step.
        clip_norm: largest gradient norm; 0 for no clipping.
        precision: arithmetic of the forward pass; `auto` takes bf16 where the device has it (CUDA or CPU), else fp32
            (`s3d-g` on a CPU: always fp32).
        seed: of weights, order, frames and augmentation.
        eval_every: epochs between validations (the last epoch is always validated).
        select: whose pairs choose the epoch that is kept: `val`, or `test` as the published program does, which makes
            the figures of the test set optimistic.
        select_method: whose AUC chooses it (published: `vector`); the other one breaks ties.
    """

    optimizer: Optimizer = "adamw"
    epochs: int = 300
    lr: float = 5e-4
    backbone_lr: float = 5e-6
    final_lr: float = 0.01
    final_backbone_lr: float = 1.0
    weight_decay: float = 0.01
    warmup_epochs: float = 0.0
    accumulate: int = 1
    clip_norm: float = 0.0
    precision: Precision = "auto"
    seed: int = 0
    eval_every: int = 1
    select: Literal["val", "test"] = "val"
    select_method: Literal["alignment", "vector"] = "alignment"

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range(self, 1, "epochs", "accumulate", "eval_every")
        _check_range(
            self, 0, "lr", "backbone_lr", "final_lr", "final_backbone_lr", "weight_decay", "warmup_epochs", "clip_norm"
        )
        _check_range(self, 0, "seed")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """All settings of a run; `to_json` and `from_json` are inverses."""

    preset: str = "paper"
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Inverse of `to_json`.

        Raises:
            CheckpointError: if a section or key is unknown, missing or of the wrong type.
        """
        try:
            sections = {
                name: section(**data[name])
                for name, section in typing.get_type_hints(cls).items()
                if dataclasses.is_dataclass(section)
            }
            return cls(preset=data["preset"], **sections)
        except (KeyError, TypeError, OptionError) as error:
            raise CheckpointError(f"training settings cannot be read: {error}; they were not written by us") from error


def _parse(text: str, kind: type) -> Any:
    """A command line value as the field's type."""
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise ValueError("must be true or false")
        return text.lower() == "true"
    if kind in {int, float}:
        return kind(text)
    return text


def override(config: TrainConfig, settings: Sequence[str]) -> TrainConfig:
    """Apply `section.key=value` settings; those of a section together, so that they need not fit one by one.

    Raises:
        OptionError: for an unknown key or a value that does not fit; says which there are.
    """
    changes: dict[str, dict[str, Any]] = {}
    texts: dict[str, list[str]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        section_name, _, key = name.strip().partition(".")
        section = getattr(config, section_name, None)
        if not equals or not dataclasses.is_dataclass(section):
            sections = [f.name for f in dataclasses.fields(config) if f.name != "preset"]
            raise OptionError(f"--set {setting}: write section.key=value, with a section of {', '.join(sections)}")
        hints = typing.get_type_hints(type(section))
        if key not in hints:
            raise OptionError(f"--set {setting}: {section_name} has no {key!r}; it has {', '.join(hints)}")
        try:
            changes.setdefault(section_name, {})[key] = _parse(text.strip(), hints[key])
        except ValueError as error:
            raise OptionError(f"--set {setting}: {error}") from error
        texts.setdefault(section_name, []).append(f"--set {setting}")
    for section_name, values in changes.items():
        try:
            changed = dataclasses.replace(getattr(config, section_name), **values)
        except ValueError as error:
            raise OptionError(f"{' '.join(texts[section_name])}: {error}") from error
        config = dataclasses.replace(config, **{section_name: changed})
    return config
