from __future__ import annotations

import dataclasses
import itertools

import open_clip
import pytest
import torch
from weaksvr.runtime.manifest import read_manifest
from weaksvr.runtime.spec import paragraph
from weaksvr.train.config import LossConfig
from weaksvr.train.losses import batch_fine_loss, coarse_loss, masked_fine_loss, order_loss
from weaksvr.train.model import WeakSVR
from weaksvr.train.objective import Objective
from weaksvr.train.texts import TextTable

INDICES = [5, 0, 7, 2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(data):
    return read_manifest(data / "train.jsonl")


@pytest.fixture(scope="module")
def table(clips, config):
    return TextTable(clips, open_clip.get_tokenizer(config.model.clip), seed=0)


@pytest.fixture(scope="module")
def frames(config):
    shape = (len(INDICES), config.data.num_frames, 3, config.data.size, config.data.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


def objective(model, table, *, train_text=False, **loss):
    return Objective(model, table, LossConfig(**loss), train_text=train_text, seed=0, device=CPU)


@torch.no_grad()
def test_trimmed_texts_give_what_open_clip_gives_for_full_ones(model, table):
    tokens = torch.cat([table.sentence_tokens, table.paragraph_tokens, torch.zeros_like(table.sentence_tokens[:1])])
    expected = model.text.clip.encode_text(tokens)
    trimmed = model.text.trim(tokens)
    assert trimmed.shape[1] < tokens.shape[1]
    torch.testing.assert_close(model.text(tokens), expected)
    torch.testing.assert_close(model.text(trimmed), expected)
    for row in range(0, len(tokens), 7):
        alone = model.text(model.text.trim(tokens[row : row + 1]))
        torch.testing.assert_close(alone[0], expected[row], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_text_that_fills_the_context_is_not_cut(model, config):
    tokens = open_clip.get_tokenizer(config.model.clip)(["fold the cloth and then " * 40])
    assert model.text.trim(tokens).shape == tokens.shape
    torch.testing.assert_close(model.text(tokens), model.text.clip.encode_text(tokens))


@torch.no_grad()
def test_features_of_frozen_texts_are_those_of_each_batch(model, table):
    frozen = objective(model, table)
    for index in INDICES:
        ids = table.sentence_ids[index]
        own = model.text(table.sentence_tokens[ids])
        torch.testing.assert_close(frozen.sentence_features[ids], own, rtol=1e-4, atol=1e-5)
        row = table.paragraph_ids[index : index + 1]
        own = model.text(table.paragraph_tokens[row])
        torch.testing.assert_close(frozen.paragraph_features[row], own, rtol=1e-4, atol=1e-5)


FORMS = [
    ("none", "batch"),
    *itertools.product(("sort", "viterbi", "split"), ("official", "masked", "batch")),
    *itertools.product(("posterior", "order"), ("batch",)),
]


@pytest.mark.parametrize(("fine", "form", "negatives"), [(*form, 2 * (row % 2)) for row, form in enumerate(FORMS)])
def test_frozen_and_trained_texts_give_one_loss(model, table, frames, fine, form, negatives):
    results = []
    for train_text in (False, True):
        loss = objective(
            model, table, train_text=train_text, fine=fine, form=form, script_negatives=negatives, fine_weight=0.3
        )
        with torch.no_grad():
            results.append(loss(frames, INDICES, epoch=1, batch=2))
    (left, left_parts), (right, right_parts) = results
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    assert set(left_parts) == set(right_parts) == ({"coarse"} if fine == "none" else {"coarse", "fine"})
    expected = left_parts["coarse"] + 0.3 * left_parts.get("fine", 0.0)
    torch.testing.assert_close(left, expected)


@pytest.mark.parametrize(("fine", "form"), FORMS)
def test_what_is_trained_gets_a_gradient(config, table, frames, fine, form):
    torch.manual_seed(0)
    model = WeakSVR(dataclasses.replace(config, model=dataclasses.replace(config.model, train_text=True)))
    loss, _ = objective(model, table, train_text=True, fine=fine, form=form)(frames, INDICES, epoch=0, batch=0)
    loss.backward()
    for part in (model.vision, model.text, model.temporal.video_head):
        gradients = [parameter.grad for parameter in part.parameters() if parameter.requires_grad]
        assert gradients
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert model.logit_scale.grad is not None
    official = fine in {"sort", "viterbi"} and form == "official"
    assert (model.fine_logit_scale.grad is not None) is official


@torch.no_grad()
def test_the_parts_are_the_losses_of_the_texts_of_the_batch(model, table, clips, frames, config):
    tokenize = open_clip.get_tokenizer(config.model.clip)
    frame_features, vectors = model.encode_video(frames)
    paragraphs = model.text(tokenize([paragraph(clips[index].steps) for index in INDICES]))
    sentences = [model.text(tokenize(list(clips[index].steps))) for index in INDICES]
    names = [clips[index].procedure for index in INDICES]
    labels = torch.tensor([names.index(name) for name in names])
    coarse = coarse_loss(vectors, paragraphs, model.logit_scale.exp(), labels=labels)
    _, parts = objective(model, table, fine="split", form="masked", fine_scale=6.0)(frames, INDICES, epoch=0, batch=0)
    torch.testing.assert_close(parts["coarse"], coarse, rtol=1e-4, atol=1e-5)
    fine = masked_fine_loss(frame_features, sentences, scale=6.0, labels="split")
    torch.testing.assert_close(parts["fine"], fine, rtol=1e-4, atol=1e-5)
    distinct = list(dict.fromkeys(step for index in INDICES for step in clips[index].steps))
    rows = [torch.tensor([distinct.index(step) for step in clips[index].steps]) for index in INDICES]
    fine = batch_fine_loss(frame_features, model.text(tokenize(distinct)), rows, scale=6.0, labels="split")
    _, parts = objective(model, table, fine="split", form="batch", fine_scale=6.0)(frames, INDICES, epoch=0, batch=0)
    torch.testing.assert_close(parts["fine"], fine, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("mask_repeated", [True, False])
def test_order_contrasts_each_video_with_the_batch_and_its_own_altered_scripts(
    model, table, clips, frames, config, mask_repeated
):
    indices = [5, 0, 5, 2]
    own = objective(model, table, fine="order", form="batch", script_negatives=2, mask_repeated=mask_repeated)
    _, parts = own(frames, indices, epoch=3, batch=2)
    altered = table.altered_scripts(3, indices, 2)
    scripts = [[clips[index].steps for index in indices] + altered[2 * row : 2 * row + 2] for row in range(4)]
    distinct = sorted({step for row in scripts for script in row for step in script})
    features = model.text(open_clip.get_tokenizer(config.model.clip)(distinct))
    most = max(len(script) for row in scripts for script in row)
    padded = torch.zeros(4, 6, most, dtype=torch.int64)
    for row, column in itertools.product(range(4), range(6)):
        script = scripts[row][column]
        padded[row, column, : len(script)] = torch.tensor([distinct.index(step) for step in script])
    excluded = torch.zeros(4, 6, dtype=torch.bool)
    excluded[0, 2] = excluded[2, 0] = mask_repeated  # the same clip
    expected = order_loss(
        model.encode_video(frames)[0],
        features,
        padded,
        torch.tensor([[len(script) for script in row] for row in scripts]),
        torch.arange(4),
        scale=10.0,
        excluded=excluded,
    )
    torch.testing.assert_close(parts["fine"], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_repeated_procedures_are_negatives_only_if_asked_for(model, table, frames):
    indices = [0, 0, 1, 2]
    masked, unmasked = (
        objective(model, table, fine="none", mask_repeated=masked)(frames, indices, epoch=0, batch=0)[0]
        for masked in (True, False)
    )
    assert float(masked) < float(unmasked)


@torch.no_grad()
def test_what_is_random_depends_on_the_place_in_the_run_alone(model, table, frames):
    sort = objective(model, table, fine="sort", form="masked", script_negatives=1)
    first = sort(frames, INDICES, epoch=1, batch=2)[0]
    others = [sort(frames, INDICES, epoch=epoch, batch=batch)[0] for epoch, batch in ((1, 3), (2, 2))]
    assert torch.equal(first, sort(frames, INDICES, epoch=1, batch=2)[0])
    assert not any(torch.equal(first, other) for other in others)
