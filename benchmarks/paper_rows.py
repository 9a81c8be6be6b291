"""The rows of the paper's Tables 1 to 6: what was published, and the small trainings that stand for them here."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Final, Literal

from weaksvr.train.config import TrainConfig
from weaksvr.train.presets import preset

__all__ = ["ROWS", "TABLES", "Row", "small_config"]

Measure = Literal["auc", "matching"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        table: 1 to 6.
        label: as published; rows in brackets are not in the paper.
        preset: the training that it stands for, see `weaksvr-train --list-presets`.
        published: by data set (CSV, Diving48-SV, COIN-SV), AUC in percent; empty for a row of ours.
        changes: settings of the small training beside the preset's.
        seeds: how many times it is trained.
        pretraining: whether the row is about weights from elsewhere, which no training here has.
    """

    table: int
    label: str
    preset: str
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)
    changes: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)
    seeds: int = 1
    pretraining: bool = False

    @property
    def measure(self) -> Measure:
        """What its table is about."""
        return "matching" if self.table == 3 else "auc"


TABLES: Final[Mapping[int, str]] = types.MappingProxyType(
    {
        1: "weakly supervised",
        2: "supervised",
        3: "matching of texts and videos, weakly supervised",
        4: "image towers",
        5: "losses, supervised",
        6: "pseudo labels, weakly supervised",
    }
)


def _fine(labels: str, form: str) -> Mapping[str, Mapping[str, object]]:
    return types.MappingProxyType({"loss": {"fine": labels, "form": form}})


_OUR_LOSS: Final = _fine("viterbi", "batch")
_SMALL_TOWERS: Final = types.MappingProxyType(
    {
        "": "",
        "pixels": "pixels",
        "resnet50.tv_in1k": "weaksvr_resnet",
        "vit_base_patch32_224.augreg_in21k": "weaksvr_vit",
        "swin_tiny_patch4_window7_224.ms_in1k": "weaksvr_swin",
        "weaksvr_resnet50_maps": "weaksvr_thin_resnet_maps",
    }
)
_S3D_WIDTH: Final = 0.125


def _three(csv: float, diving: float, coin: float) -> Mapping[str, float]:
    return types.MappingProxyType({"CSV": csv, "Diving48-SV": diving, "COIN-SV": coin})


def _csv(value: float) -> Mapping[str, float]:
    return types.MappingProxyType({"CSV": value})


ROWS: Final = (
    Row(table=1, label="MIL-NCE", preset="table1/mil-nce", published=_three(53.02, 58.49, 47.95)),
    Row(table=1, label="CAT", preset="table1/cat", published=_three(70.63, 77.87, 47.70)),
    Row(table=1, label="VideoSwin+MLP", preset="table1/video-swin-mlp", published=_three(62.48, 60.88, 54.73)),
    Row(table=1, label="CLIP+TE+Pool", preset="table1/clip-te-pool", published=_three(58.67, 72.13, 49.79), seeds=3),
    Row(table=1, label="CLIP+TE+MLP", preset="table1/clip-te-mlp", published=_three(74.82, 81.47, 50.13), seeds=3),
    Row(table=1, label="Ours", preset="table1/ours", published=_three(79.80, 85.19, 52.56), seeds=3),
    Row(table=1, label="(this project's fine loss)", preset="table1/ours", changes=_OUR_LOSS, seeds=3),
    Row(table=2, label="MIL-NCE", preset="table2/mil-nce", published=_three(56.16, 63.43, 47.80), pretraining=True),
    Row(table=2, label="Swin", preset="table2/swin", published=_three(54.06, 73.10, 43.70), pretraining=True),
    Row(table=2, label="TRN", preset="table2/trn", published=_three(80.32, 80.69, 57.19), pretraining=True),
    Row(table=2, label="CAT", preset="table2/cat", published=_three(83.02, 83.11, 51.13), pretraining=True),
    Row(table=2, label="CLIP+TE+MLP", preset="table2/clip-te-mlp", published=_three(79.38, 83.48, 48.50)),
    Row(table=2, label="Ours (weak)", preset="table2/ours-weak", published=_three(79.80, 85.19, 52.56)),
    Row(table=2, label="Ours", preset="table2/ours", published=_three(86.92, 86.09, 59.57)),
    Row(table=2, label="(this project's fine loss)", preset="table2/ours", changes=_OUR_LOSS, seeds=3),
    Row(table=3, label="MIL-NCE", preset="table3/mil-nce", published=_csv(60.02)),
    Row(table=3, label="CAT", preset="table3/cat", published=_csv(53.54)),
    Row(table=3, label="CLIP+TE+MLP", preset="table3/clip-te-mlp", published=_csv(62.67)),
    Row(table=3, label="Ours", preset="table3/ours", published=_csv(65.23)),
    Row(table=3, label="(this project's fine loss)", preset="table3/ours", changes=_OUR_LOSS),
    *(
        Row(
            table=4,
            label=f"{tower}, {losses}",
            preset=f"table4/{name}-{suffix}",
            published=_csv(value),
            pretraining=True,
        )
        for tower, name, values in (
            ("ResNet-50", "resnet-50", (76.22, 78.32, 78.83, 81.00)),
            ("ViT-B/32", "vit", (73.88, 75.18, 81.66, 82.11)),
            ("CLIP ViT", "clip", (78.49, 79.80, 83.58, 86.92)),
        )
        for (losses, suffix), value in zip(
            (
                ("coarse", "coarse"),
                ("coarse and fine", "coarse-fine"),
                ("classes", "cls"),
                ("classes, coarse and fine", "cls-coarse-fine"),
            ),
            values,
            strict=True,
        )
    ),
    Row(table=5, label="classes", preset="table5/cls", published=_csv(83.58), seeds=3),
    Row(table=5, label="with fine", preset="table5/cls-fine", published=_csv(84.85), seeds=3),
    Row(table=5, label="with coarse", preset="table5/cls-coarse", published=_csv(84.32), seeds=3),
    Row(table=5, label="with both", preset="table5/cls-coarse-fine", published=_csv(86.92), seeds=3),
    Row(
        table=5,
        label="(with both, this project's fine loss)",
        preset="table5/cls-coarse-fine",
        changes=_OUR_LOSS,
        seeds=3,
    ),
    Row(table=6, label="no fine loss", preset="table6/no-fine", published=_csv(74.82), seeds=3),
    Row(table=6, label="split", preset="table6/split", published=_csv(72.75), seeds=3),
    Row(table=6, label="viterbi", preset="table6/viterbi", published=_csv(78.46), seeds=3),
    Row(table=6, label="sort", preset="table6/sort", published=_csv(79.80), seeds=3),
    Row(table=6, label="(this project's: viterbi, batch)", preset="table6/sort", changes=_OUR_LOSS, seeds=3),
    Row(table=6, label="(viterbi, masked)", preset="table6/sort", changes=_fine("viterbi", "masked"), seeds=3),
    Row(table=6, label="(split, batch)", preset="table6/sort", changes=_fine("split", "batch"), seeds=3),
    Row(table=6, label="(posterior, batch)", preset="table6/sort", changes=_fine("posterior", "batch"), seeds=3),
    Row(table=6, label="(order, batch)", preset="table6/sort", changes=_fine("order", "batch"), seeds=3),
)


def small_config(row: Row, *, seed: int, epochs: int, samples: int, cache: str) -> TrainConfig:
    """The training that stands for a row: the preset `workbench` with what makes the row.

    Rows of a table differ in nothing but what the table is about: the networks, the losses, the heads. Sizes, frames,
    augmentation, optimiser and the weight of the coarse loss are those of the preset `workbench`.

    Args:
        row: which.
        seed: of weights, order, frames and augmentation.
        epochs: passes.
        samples: videos an epoch; a pair is two.
        cache: folder of decoded frames.
    """
    base, wanted = preset("workbench"), preset(row.preset)
    model, loss = wanted.model, wanted.loss
    pooled = model.video_vector == "pool"
    small = dataclasses.replace(
        base.model,
        vision=_SMALL_TOWERS[model.vision],
        network="video-swin-small" if model.network == "video-swin" else model.network,
        network_width=_S3D_WIDTH if model.network == "s3d-g" else 1.0,
        text=model.text,
        dim=128,
        depth=min(model.depth, base.model.depth),
        hidden_layer=model.depth == 0,
        video_vector="pool" if pooled else base.model.video_vector,
    )
    losses = {
        "coarse": loss.coarse,
        "fine": loss.fine,
        "form": loss.form,
        "coarse_weight": base.loss.coarse_weight if loss.coarse_weight else 0.0,
        "class_weight": loss.class_weight,
        "sequence_weight": loss.sequence_weight,
        **row.changes.get("loss", {}),
    }
    batch = base.data.batch_size
    data = dataclasses.replace(
        base.data,
        pairs=wanted.data.pairs,
        batch_size=batch // 2 if wanted.data.pairs else batch,
        samples_per_epoch=samples // 2 if wanted.data.pairs else samples,
        workers=1,
        cache=cache,
    )
    return dataclasses.replace(
        base,
        preset=row.preset,
        model=small,
        data=data,
        loss=dataclasses.replace(base.loss, **losses),
        optim=dataclasses.replace(base.optim, epochs=epochs, eval_every=epochs, seed=seed),
    )
