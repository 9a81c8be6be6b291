"""Training on pairs of one procedure, with classes and without texts, end to end."""

from __future__ import annotations

import dataclasses
import json

import open_clip
import pytest
import torch
from torch.nn import functional as F
from weaksvr.runtime.errors import DataError, OptionError
from weaksvr.runtime.manifest import read_manifest
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import LossConfig, override
from weaksvr.train.datasets.clips import PairSampler
from weaksvr.train.engine import train
from weaksvr.train.losses import coarse_loss, sequence_alignment_loss
from weaksvr.train.model import WeakSVR
from weaksvr.train.objective import Objective
from weaksvr.train.presets import preset
from weaksvr.train.texts import TextTable

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def paired_data(tmp_path_factory):
    """Two training videos of each of five procedures."""
    from weaksvr.train.datasets.workbench.writer import make_dataset

    folder = tmp_path_factory.mktemp("paired") / "data"
    make_dataset(folder, train=10, val=6, test=0, takes=2, seed=3, size=64)
    return folder


SUPERVISED = ["data.pairs=true", "loss.class_weight=1", "loss.sequence_weight=0.5", "data.batch_size=2"]
NO_TEXT = ["model.text=none", "model.dim=24", "loss.coarse_weight=0", "loss.fine=none", "loss.script_negatives=0"]


@pytest.fixture(scope="module")
def supervised(config):
    return override(config, [*SUPERVISED, "loss.script_negatives=0", "loss.coarse_weight=0.5"])


def joint_pairs(labels, *, world=1, epoch=0, batch_size=4, samples_per_epoch=0):
    samplers = [
        PairSampler(labels, batch_size=batch_size, samples_per_epoch=samples_per_epoch, seed=1, rank=rank, world=world)
        for rank in range(world)
    ]
    pairs = []
    for sampler in samplers:
        sampler.epoch = epoch
        for batch in sampler:
            assert {place for place, _ in batch} == {epoch}
            indices = [index for _, index in batch]
            half = len(indices) // 2
            pairs.append(list(zip(indices[:half], indices[half:], strict=True)))
    return [pair for batch in pairs for pair in batch]


def test_pairs_are_of_one_procedure_and_differ_between_epochs():
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 2, 0])
    pairs = joint_pairs(labels, batch_size=2)
    assert len(pairs) == len(labels)  # 6 + 1 + 1 there are
    assert all(a != b and labels[a] == labels[b] for a, b in pairs)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert pairs != joint_pairs(labels, batch_size=2, epoch=1)
    sides = {pair[0] < pair[1] for epoch in range(3) for pair in joint_pairs(labels, batch_size=2, epoch=epoch)}
    assert sides == {True, False}


def test_every_pair_is_drawn_once_and_shared_between_processes():
    labels = torch.tensor([0] * 6 + [1] * 4)
    every = joint_pairs(labels, batch_size=1, samples_per_epoch=1000)
    assert len({frozenset(pair) for pair in every}) == len(every) == 15 + 6
    shared = joint_pairs(labels, world=2, batch_size=2, samples_per_epoch=8)
    assert len({frozenset(pair) for pair in shared}) == len(shared) == 8


def test_videos_without_a_second_one_make_no_pairs():
    with pytest.raises(DataError, match=r"0 pairs of training videos show the same procedure; data\.pairs needs"):
        PairSampler(torch.arange(8), batch_size=2, samples_per_epoch=0, seed=0)


def test_the_supervised_loss_is_the_sum_of_its_parts(paired_data, supervised):
    clips = read_manifest(paired_data / "train.jsonl")
    table = TextTable(clips, open_clip.get_tokenizer(supervised.model.clip), seed=0)
    first = [index for index in range(10) if table.labels[index] == table.labels[0]]
    other = [index for index in range(10) if table.labels[index] == table.labels[2]]
    indices = [first[0], other[0], first[1], other[1]]
    torch.manual_seed(0)
    model = WeakSVR(override(supervised, [f"model.num_classes={table.num_labels}"])).eval()
    loss = dataclasses.replace(supervised.loss, fine="none")
    objective = Objective(model, table, loss, pairs=True, train_text=True, seed=0, device=CPU)
    frames = torch.randn(4, supervised.data.num_frames, 3, supervised.data.size, supervised.data.size)
    with torch.no_grad():
        total, parts = objective(frames, indices, epoch=0, batch=0)
        frame_features, vectors = model.encode_video(frames)
        paragraphs = model.text(table.paragraph_tokens[table.paragraph_ids[indices]])
        labels = table.labels[indices]
        scale = model.logit_scale.exp()
        classes = F.cross_entropy(model.classifier(vectors[:2]), labels[:2])
        classes = classes + F.cross_entropy(model.classifier(vectors[2:]), labels[2:])
        coarse = coarse_loss(vectors[:2], paragraphs[:2], scale) + coarse_loss(vectors[2:], paragraphs[2:], scale)
        sequence = sequence_alignment_loss(frame_features[:2], frame_features[2:])
    torch.testing.assert_close(parts["class"], classes)
    torch.testing.assert_close(parts["coarse"], coarse)
    torch.testing.assert_close(parts["sequence"], sequence)
    torch.testing.assert_close(total, classes + 0.5 * coarse + 0.5 * sequence)


def test_a_supervised_run_counts_its_classes(paired_data, supervised, tmp_path):
    summary = train(paired_data, tmp_path / "run", supervised, device="cpu")
    checkpoint = load_checkpoint(summary.out)
    assert checkpoint.config.model.num_classes == 5
    assert checkpoint.model.classifier.out_features == 5
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"coarse", "fine", "class", "sequence"} <= set(lines[-1])
    with pytest.raises(OptionError, match="num_classes = 7, but the training videos show 5 procedures"):
        train(paired_data, tmp_path / "other", override(supervised, ["model.num_classes=7"]), device="cpu")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_other_optimizers_train_and_resume(paired_data, config, tmp_path, optimizer):
    settings = override(config, [*SUPERVISED, *NO_TEXT, f"optim.optimizer={optimizer}", "optim.lr=0.01"])
    whole = train(paired_data, tmp_path / "whole", settings, device="cpu")
    assert train(paired_data, tmp_path / "whole", settings, device="cpu", resume=True).best == whole.best
    assert load_checkpoint(whole.out).model.text is None
    weights = load_checkpoint(whole.out).model.temporal.frame_head.weight
    assert weights.shape[0] == 24
    torch.manual_seed(settings.optim.seed)
    assert not torch.equal(weights, WeakSVR(settings).temporal.frame_head.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.text=none"], "model.text = none leaves nothing to compare videos with"),
        (["loss.sequence_weight=1"], "compares the videos of a pair; set data.pairs=true"),
        (["loss.coarse_weight=0", "loss.fine=none"], "no loss is left: give one of loss.coarse_weight"),
        (["data.pairs=true"], "0 pairs of training videos show the same procedure"),
    ],
)
def test_settings_that_leave_nothing_to_learn(data, config, tmp_path, changes, message):
    with pytest.raises((OptionError, DataError), match=message):
        train(data, tmp_path / "run", override(config, changes), device="cpu")
    assert not (tmp_path / "run").exists()


@torch.no_grad()
def test_a_pooled_vector_is_the_mean_of_the_frame_features(config):
    model = WeakSVR(override(config, ["model.video_vector=pool"])).eval()
    frame_features, vectors = model.encode_video(torch.randn(2, config.data.num_frames, 3, 32, 32))
    torch.testing.assert_close(vectors, frame_features.mean(dim=1))
    assert not any(name.startswith("temporal.video_head") for name in model.state_dict())


def test_a_model_without_texts_says_so(config):
    model = WeakSVR(override(config, NO_TEXT))
    with pytest.raises(OptionError, match="has no text tower"):
        model.encode_text(torch.zeros(1, 77, dtype=torch.int64))


def test_a_frozen_image_tower_keeps_its_batch_statistics(config):
    model = WeakSVR(override(config, ["model.freeze_vision=true"]))
    assert model.train().temporal.training
    assert not model.vision.training
    assert WeakSVR(config).train().vision.training


def test_rows_of_the_tables_are_presets():
    assert preset("table1/clip-te-pool").model.video_vector == "pool"
    assert preset("table1/ours").loss == LossConfig(fine="sort", form="official", mask_repeated=False)
    assert preset("table5/cls-coarse-fine").loss.class_weight == 1.0
    assert preset("table5/cls-coarse-fine").data.pairs
    with pytest.raises(OptionError, match=r"preset 'table1/our' is not known; did you mean table1/ours"):
        preset("table1/our")


@pytest.mark.parametrize(
    ("name", "millions", "pixels"),
    [
        ("table2/cat", 73.65, (180, 320)),  # 75.70 as published, less its two classifiers
        ("table1/mil-nce", 9.65 + 16.49, (224, 224)),  # S3D-G with its last layer, and the word tower
    ],
)
def test_baselines_have_the_published_sizes(name, millions, pixels):
    with torch.device("meta"):
        model = WeakSVR(preset(name), load_pretrained=False)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    assert (model.preprocess.height, model.preprocess.width) == pixels
