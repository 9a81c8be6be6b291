from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from official_svip import PUBLISHED, SMALL, OfficialSvip, random_state
from weaksvr.runtime.errors import CheckpointError, OptionError
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.commands.import_checkpoint import command
from weaksvr.train.import_checkpoint import import_checkpoint
from weaksvr.train.import_svip import UNUSED, svip_name


@pytest.fixture(scope="module")
def state():
    """Not to be changed."""
    return random_state(SMALL, seed=0)


@pytest.fixture(scope="module")
def found(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("svip")
    return import_checkpoint(saved(folder / "epoch_59.tar", state), folder / "run")


def saved(path, state, **further):
    content = {"epoch": 59, "optimizer_state_dict": {"state": {}}, "loss": np.float64(0.5), "model_state_dict": state}
    torch.save({**content, **further}, path)
    return path


def refused(folder, state, message, error=CheckpointError, **options):
    file = saved(folder / "epoch_59.tar", {name: tensor for name, tensor in state.items() if tensor is not None})
    with pytest.raises(error, match=message):
        import_checkpoint(file, folder / "run", **options)
    assert not (folder / "run").exists()


def worst(ours, theirs):
    """Largest difference, as a share of the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
def test_the_run_computes_what_svip_computes(found, state):
    model = load_checkpoint(found.out).model.double()
    frames = torch.randn(1, 3, 3, 180, 320, generator=torch.Generator().manual_seed(3))
    theirs = OfficialSvip(state, SMALL).encode_video(frames)
    frame_features, vectors = model.encode_video(frames.double())
    assert worst(vectors, theirs["v"]) <= 1e-5
    assert worst(frame_features, theirs["narrow"]) <= 1e-5
    assert worst(model.temporal.sequence_features(model.features(frames.double())), theirs["pooled"]) <= 1e-5


@torch.no_grad()
def test_the_full_network_computes_what_svip_computes(tmp_path):
    state = random_state(PUBLISHED, seed=1)
    found = import_checkpoint(saved(tmp_path / "epoch_59.tar", state), tmp_path / "run")
    assert (len(state), found.used, found.unused) == (396, 392, UNUSED)
    model = load_checkpoint(found.out).model.double()
    assert model.sampling.to_json() == {"policy": "three-view", "num_frames": 16}
    frames = torch.randn(2, 3, 180, 320, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    order = torch.arange(16) * 5 % 3 % 2  # two frames in another order than by turns
    oracle = OfficialSvip(state, PUBLISHED)
    frame_features, vectors = model.temporal(model.vision(frames)[order][None])
    theirs = oracle.encode_maps(oracle.encode_image(frames)[order][None])
    assert worst(vectors, theirs["v"]) <= 1e-5
    assert worst(frame_features, theirs["narrow"]) <= 1e-5


@torch.no_grad()
def test_without_its_transformer(tmp_path):
    sizes = {**SMALL, "depth": 0, "dim": 20, "frames": 2}
    state = random_state(sizes, seed=2)
    found = import_checkpoint(saved(tmp_path / "epoch_0.tar", state), tmp_path / "run")
    assert (found.used, found.unused, found.config.model.depth) == (320, UNUSED, 0)
    model = load_checkpoint(found.out).model.double()
    frames = torch.randn(1, 2, 3, 180, 320, generator=torch.Generator().manual_seed(5))
    _, vectors = model.encode_video(frames.double())
    assert worst(vectors, OfficialSvip(state, sizes).encode_video(frames)["v"]) <= 1e-5


def test_frames_are_those_of_svip(found):
    spec = load_checkpoint(found.out).model.preprocess
    assert (spec.height, spec.width, spec.resize) == (180, 320, "squash")
    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_every_tensor_is_used_once_or_named(found, state):
    tensors = load_checkpoint(found.out).model.state_dict()
    own = {"logit_scale", "fine_logit_scale"}
    names = {name: svip_name(name) for name in tensors if name not in own}
    assert sorted((*names.values(), *found.unused)) == sorted(state)
    assert (found.unused, found.used) == (UNUSED, len(names))
    for name, official in names.items():
        assert torch.equal(tensors[name], state[official]), name


def test_every_tensor_tells_but_the_unused_and_the_counters(state):
    """So the parity above would see any of them in the wrong place."""
    oracle = OfficialSvip(state, SMALL)
    for tensor in oracle.state.values():
        tensor.requires_grad_()
    vectors = oracle.encode_maps(torch.randn(1, 3, 2048, 6, 10))["v"]
    (vectors.square().sum() + oracle.encode_image(torch.randn(2, 3, 64, 64)).square().sum()).backward()
    silent = {name for name, tensor in oracle.state.items() if tensor.grad is None or not tensor.grad.any()}
    counters = {name for name in state if name.endswith(".num_batches_tracked")}
    assert len(counters) == 53
    assert silent == {*UNUSED, *counters}


def test_what_the_checkpoint_says_of_itself(found):
    record = load_checkpoint(found.out).record
    assert record["imported"] == {
        "network": "SVIP",
        "file": "epoch_59.tar",
        "sha256": found.sha256,
        "reported": {"epoch": 59, "loss": 0.5},
        "used": found.used,
        "unused": list(UNUSED),
        "left_out": ["optimizer_state_dict"],
    }
    model = record["config"]["model"]
    assert (model["network"], model["text"], model["vision"]) == ("cat", "none", "weaksvr_resnet50_maps")
    assert (model["width"], model["depth"], model["heads"], model["head_dim"], model["mlp_width"]) == (40, 6, 8, 3, 56)


def test_a_wrapped_network(state, tmp_path):
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    assert import_checkpoint(saved(tmp_path / "a.tar", wrapped), tmp_path / "run").used == len(state) - len(UNUSED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TE.cls_token": None}, r"tensors are not those of the published SVIP network; missing: TE\.cls_token$"),
        ({"bottleneck.bias": None}, r"missing: bottleneck\.bias$"),
        ({"bottleneck.weight": None}, r"SVIP network; unknown: TE\.cls_token, .* and \d+ more$"),
        ({"embed_head.1.weight": None}, r"missing: embed_head\.1\.weight$"),
        ({"TE.patch_to_embedding.weight": None}, r"missing: TE\.patch_to_embedding\.weight$"),
        ({"backbone.bn1.num_batches_tracked": None}, r"missing: backbone\.bn1\.num_batches_tracked$"),
        ({"ffn3.bias": torch.ones(1)}, r"unknown: ffn3\.bias$"),
        ({"TE.transformer.layers.6.0.fn.norm.bias": torch.ones(40)}, r"unknown: TE\.transformer\.layers\.6\.0\.fn\."),
        ({"bottleneck.weight": torch.ones(128, 2048, 1, 1)}, r"weight \(128, 2048, 1, 1\) instead of \(128, 2048, 3"),
        ({"TE.pos_embedding": torch.ones(1, 6, 40)}, r"embed_head\.1\.weight \(128, 120\) instead of \(128, 200\)"),
        ({"TE.cls_token": torch.ones(1, 1, 41)}, r"TE\.cls_token \(1, 1, 41\) instead of \(1, 1, 40\)"),
        ({"TE.patch_to_embedding.weight": torch.ones(0)}, r"other shapes than the network's"),
        ({"embed_head.1.bias": torch.ones(64)}, r"video vectors have 64 numbers; only networks of SVIP with 128"),
        ({"backbone.conv1.weight": torch.ones(64, 3, 3, 3)}, r"conv1\.weight \(64, 3, 3, 3\) instead of \(64, 3, 7, 7"),
    ],
)
def test_other_tensors_are_refused(state, tmp_path, change, message):
    refused(tmp_path, {**state, **change}, message)


def test_no_network_is_built_that_is_larger_than_its_file(tmp_path):
    state = random_state({**SMALL, "depth": 0, "dim": 20, "frames": 2}, seed=2)
    message = r"embed_head\.1\.weight \(20, 4096\) instead of \(40, 4096\)"
    refused(tmp_path, {**state, "embed_head.1.bias": torch.ones(10**7)}, message)


def test_it_has_no_clip(state, tmp_path):
    message = r"--clip ViT-B-32-quickgelu: .*epoch_59\.tar is a checkpoint of SVIP, which has no CLIP; leave it out"
    refused(tmp_path, state, message, OptionError, clip="ViT-B-32-quickgelu")


def test_a_name_that_svip_does_not_have():
    with pytest.raises(OptionError, match=r"temporal\.frame_head\.bias: SVIP's network has no such tensor"):
        svip_name("temporal.frame_head.bias")


def test_the_command(state, tmp_path):
    file = saved(tmp_path / "epoch_59.tar", state)
    arguments = [str(file), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{file}: SVIP, weaksvr_resnet50_maps, 3 frames a view"
    assert lines[3] == f"  tensors    392 used, 4 take no part: {', '.join(UNUSED)}"
    again = CliRunner().invoke(command, [*arguments[:-1], str(tmp_path / "other"), "--json"], standalone_mode=False)
    document = json.loads(again.stdout)
    assert (document["network"], document["clip"], document["used"]) == ("SVIP", None, 392)
