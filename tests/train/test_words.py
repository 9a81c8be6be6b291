from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.tokenizer import Tokenizer
from weaksvr.train.losses import mil_nce_loss
from weaksvr.train.networks.s3d import S3DG
from weaksvr.train.tokenizer_json import clip_tokenizer_json
from weaksvr.train.words import WordTower

TEXTS = ("take the cup", "pour water into the cup", "stir", "", "a " * 100, "Stir the tea!")


@pytest.fixture(scope="module")
def tokens():
    tokenizer = Tokenizer.from_json(clip_tokenizer_json(context_length=77), context_length=77, cleaning="lower")
    return torch.from_numpy(tokenizer(list(TEXTS)))


@pytest.fixture(scope="module")
def tower():
    """Not to be changed."""
    torch.manual_seed(0)
    return WordTower(embedding_dim=12, hidden=24, dim=8).eval()


def test_published_sizes_are_the_defaults():
    with torch.device("meta"):
        tower = WordTower(66250, dim=512)
        ours = WordTower(dim=512)
    text_layers = (300 + 1) * 2048 + (2048 + 1) * 512
    assert sum(parameter.numel() for parameter in tower.parameters()) == 19_875_000 + text_layers
    assert ours.table.shape == (49408, 300)


def test_equals_the_loops(tower, tokens):
    weights = {name: tensor.double().numpy() for name, tensor in tower.state_dict().items()}
    found = tower(tokens).detach().numpy()
    for row, ids in enumerate(tokens.tolist()):
        hidden = np.zeros(24)
        for word in ids:
            if word:
                seen = weights["project_in.weight"] @ weights["table"][word] + weights["project_in.bias"]
                hidden = np.maximum(hidden, seen)
        expected = weights["project_out.weight"] @ hidden + weights["project_out.bias"]
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_neither_the_order_nor_the_padding_counts(tower):
    text = torch.tensor([[5, 9, 7]])
    for same in ([[7, 5, 9]], [[5, 9, 7, 0, 0]], [[0, 5, 0, 9, 7]], [[5, 5, 9, 7, 9]]):
        torch.testing.assert_close(tower(torch.tensor(same)), tower(text))
    assert (tower(torch.tensor([[5, 9]])) - tower(text)).abs().max() > 1e-3


@torch.no_grad()
def test_padding_alone_is_the_text_without_words(tower):
    nothing = tower(torch.zeros(2, 4, dtype=torch.int64))
    torch.testing.assert_close(nothing, tower.project_out.bias.expand(2, -1))


def test_trimmed_texts_have_the_same_features(tower, tokens):
    assert tower.causal
    short = tower.trim(tokens[:3])
    assert short.shape == (3, int((tokens[:3] != 0).sum(dim=1).max()))
    torch.testing.assert_close(tower(short), tower(tokens[:3]))
    assert tower.trim(tokens).shape == tokens.shape
    assert tower.trim(torch.zeros(2, 4, dtype=torch.int64)).shape == (2, 1)
    assert tower.trim(torch.tensor([[3, 0, 0]])).tolist() == [[3]]


def test_any_number_of_texts_is_encoded_without_gradient(tower, tokens):
    many = tokens.repeat(50, 1)
    features = tower.encode(many)
    assert features.shape == (300, 8)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features[-6:], tower(tokens))


@pytest.mark.parametrize("train_table", [True, False])
def test_a_table_that_is_not_trained_is_kept_but_is_no_parameter(tokens, train_table):
    torch.manual_seed(1)
    tower = WordTower(embedding_dim=12, hidden=24, dim=8, train_table=train_table)
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    assert "table" in before
    tower.requires_grad_()
    tower(tokens).square().sum().backward()
    optimizer = torch.optim.AdamW(tower.parameters(), lr=0.1)
    optimizer.step()
    changed = {name for name, tensor in tower.state_dict().items() if not torch.equal(tensor, before[name])}
    layers = {f"project_{side}.{kind}" for side in ("in", "out") for kind in ("weight", "bias")}
    assert changed == layers | ({"table"} if train_table else set())


@torch.no_grad()
def test_onnx_equals_pytorch(tower, tokens):
    graph = RoleGraph(role="text", module=tower, example=tokens[:3], rows="N")
    session = onnxruntime.InferenceSession(export_onnx(graph, metadata={}).data, providers=["CPUExecutionProvider"])
    for size in (1, 2, 5):
        (found,) = session.run(None, {session.get_inputs()[0].name: tokens[:size].numpy()})
        np.testing.assert_allclose(found, tower(tokens[:size]).numpy(), rtol=0, atol=1e-4)
    assert np.ptp(found, axis=0).max() > 1e-2, "the rows must differ for the comparison to mean anything"


def test_both_towers_learn_to_tell_clips_apart():
    torch.manual_seed(4)
    videos = S3DG(32, 32, dim=16, num_frames=8, width_factor=0.125)
    texts = WordTower(30, embedding_dim=8, hidden=16, dim=16)
    clips = torch.rand(4, 8, 3 * 32 * 32) * torch.rand(4, 1, 3 * 32 * 32)
    steps = [torch.tensor([[3 * clip + 1, 3 * clip + 2, 0], [3 * clip + 3, 0, 0]]) for clip in range(4)]
    optimizer = torch.optim.Adam([*videos.parameters(), *texts.parameters()], lr=0.01)
    losses = []
    for _ in range(25):
        loss = mil_nce_loss(videos(clips)[1], [texts(tokens) for tokens in steps])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.2
    assert losses[-1] < 0.8  # the least is log 2, because the positives stand twice in the denominator
