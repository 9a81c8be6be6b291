from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from official_networks import PUBLISHED, SMALL, SMALL_CLIP, OfficialNetwork, random_state, shapes_of
from weaksvr.runtime.errors import CheckpointError, OptionError, OutputError
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.import_checkpoint import import_checkpoint, official_name

CLIP = "weaksvr-test-official"
UNUSED = ("TE.patch_to_embedding.weight", "TE.patch_to_embedding.bias", "cls_fc.weight", "cls_fc.bias")


@pytest.fixture(scope="module", autouse=True)
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / f"{CLIP}.json").write_text(json.dumps(SMALL_CLIP))
    (folder / f"{CLIP}-exact.json").write_text(json.dumps({**SMALL_CLIP, "quick_gelu": False}))
    for file in folder.iterdir():
        open_clip.add_model_config(file)


@pytest.fixture(scope="module")
def state():
    """Not to be changed."""
    return random_state(SMALL, seed=0)


def saved(path, state, **further):
    torch.save({"epoch": 7, "auc_value": np.float64(0.8081), "model_state_dict": state, **further}, path)
    return path


def imported(folder, state, **options):
    file = saved(folder / "best_model.tar", state)
    return import_checkpoint(file, folder / "run", **{"clip": CLIP, **options})


def compared(model, oracle, sizes, *, videos, tolerance):
    """Both networks on the same noise and tokens, ours in its own precision."""
    side, length = sizes["vision"]["size"], sizes["frames"]
    dtype = model.temporal.positions.dtype
    frames = torch.randn(videos, length, 3, side, side)
    tokens = torch.zeros(2, sizes["text"]["context"], dtype=torch.int64)
    tokens[0, :4] = torch.tensor([49406, 320, 1929, 49407])
    tokens[1] = torch.randint(1, 49000, tokens[1].shape)
    tokens[1, -1] = 49407
    with torch.no_grad():
        ours = (*model.encode_video(frames.to(dtype)), model.text(tokens))
        theirs = (*oracle.encode_video(frames), oracle.encode_text(tokens))
    for left, right in zip(ours, theirs, strict=True):
        assert left.shape == right.shape
        assert right.std() > 0.1
        assert (left.double() - right).abs().max() <= tolerance * right.abs().max()


def test_layout_is_the_published_one():
    shapes = shapes_of(PUBLISHED)
    numbers = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    assert len(shapes) == 340
    parts = {"backbone.visual.": 87_849_216, "TE.": 20_483_072, "embed_head": 4_194_816, "cls_fc": 23_085}
    for part, expected in {**parts, "backbone.": 87_849_216 + 63_428_097}.items():
        assert sum(number for name, number in numbers.items() if name.startswith(part)) == expected


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_run_computes_what_the_published_network_computes(state, tmp_path, dtype, tolerance):
    found = imported(tmp_path, state)
    model = load_checkpoint(found.out).model.to(dtype)
    compared(model, OfficialNetwork(state, SMALL), SMALL, videos=2, tolerance=tolerance)


def test_the_full_network_computes_what_the_published_one_computes(tmp_path):
    state = random_state(PUBLISHED, seed=1)
    found = import_checkpoint(saved(tmp_path / "best_model.tar", state), tmp_path / "run")
    assert found.used == 340 - len(UNUSED)
    model = load_checkpoint(found.out).model
    assert (model.preprocess.height, model.preprocess.resize) == (224, "shorter")
    assert model.sampling.to_json() == {"policy": "three-view", "num_frames": 16}
    compared(model, OfficialNetwork(state, PUBLISHED), PUBLISHED, videos=1, tolerance=1e-5)


def test_every_tensor_is_used_once_or_named(state, tmp_path):
    found = imported(tmp_path, state)
    tensors = load_checkpoint(found.out).model.state_dict()
    names = [official_name(name) for name in tensors]
    assert sorted((*names, *found.unused)) == sorted(state)
    assert found.unused == UNUSED
    assert found.used == len(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, state[official_name(name)]), name


def test_every_used_tensor_tells_and_no_other(state):
    """So the parity above would see any of them in the wrong place."""
    frames = torch.randn(1, 4, 3, 32, 32)
    tokens = torch.randint(1, 49000, (1, 32))
    before = OfficialNetwork(state, SMALL)
    plain = (*before.encode_video(frames), before.encode_text(tokens))
    silent = set()
    for name, tensor in state.items():
        changed = OfficialNetwork({**state, name: tensor + 0.1 * torch.randn(tensor.shape)}, SMALL)
        after = (*changed.encode_video(frames), changed.encode_text(tokens))
        if all(torch.equal(left, right) for left, right in zip(plain, after, strict=True)):
            silent.add(name)
    assert silent == {*UNUSED, "logit_scale", "logit_scale2", "backbone.logit_scale"}


def test_what_the_checkpoint_says_of_itself(state, tmp_path):
    found = imported(tmp_path, state)
    record = load_checkpoint(found.out).record
    assert record["imported"] == {
        "network": "WeakSVR",
        "file": "best_model.tar",
        "sha256": found.sha256,
        "reported": {"epoch": 7, "auc_value": 0.8081},
        "used": found.used,
        "unused": list(UNUSED),
        "left_out": [],
    }
    assert "data" not in record
    model = record["config"]["model"]
    assert (model["width"], model["heads"], model["head_dim"], model["mlp_width"]) == (40, 8, 3, 56)
    assert (model["pretrained"], record["config"]["preset"]) == ("", "imported")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_model.tar", "run"]


def test_unused_tensors_need_not_be_there(state, tmp_path):
    found = imported(tmp_path, {name: tensor for name, tensor in state.items() if name not in UNUSED[1:]})
    assert found.unused == UNUSED[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TE.cls_token": None}, r"missing: TE\.cls_token$"),
        ({"ffn3.weight": None, "ffn3.bias": None}, r"missing: ffn3\.bias, ffn3\.weight$"),
        ({"ffn4.weight": torch.ones(2)}, r"network; unknown: ffn4\.weight$"),
        ({"ffn3.bias": None, "ffn3.bais": torch.ones(40)}, r"missing: ffn3\.bias; unknown: ffn3\.bais$"),
        (
            {"TE.transformer.layers.2.0.fn.norm.bias": torch.ones(40)},
            r"unknown: TE\.transformer\.layers\.2\.0\.fn\.norm",
        ),
        ({f"extra.{number}": torch.ones(1) for number in range(13)}, r"unknown: extra\.0, .* and 3 more$"),
    ],
)
def test_missing_and_unknown_tensors_are_listed(state, tmp_path, change, message):
    changed = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path, changed)
    assert not (tmp_path / "run").exists()


def test_every_missing_tensor_is_missed(state, tmp_path):
    """Also those from whose shapes sizes are read."""
    for name in ("TE.pos_embedding", "embed_head.1.weight", "TE.transformer.layers.0.0.fn.fn.to_out.0.weight"):
        with pytest.raises(CheckpointError, match=f"missing: {name}$"):
            imported(tmp_path, {other: tensor for other, tensor in state.items() if other != name})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("ffn3.bias", (41,), r"other shapes than the network's: ffn3\.bias \(41,\) instead of \(40,\)"),
        ("ffn3.weight", (40, 41), r"ffn3\.weight \(40, 41\) instead of \(40, 40\)"),
        ("TE.pos_embedding", (5, 40), r"TE\.pos_embedding \(5, 40\) instead of \(1, 5, 40\)"),
        ("TE.pos_embedding", (1, 6, 40), r"embed_head\.1\.weight \(24, 96\) instead of \(24, 120\)"),
        ("TE.pos_embedding", (), r"TE\.pos_embedding \(\) instead of"),
        ("TE.transformer.layers.1.0.fn.fn.to_qkv.weight", (71, 40), r"to_qkv\.weight \(71, 40\) instead of \(72, 40\)"),
        ("backbone.visual.conv1.weight", (32, 3, 4, 4), r"conv1\.weight \(32, 3, 4, 4\) instead of \(32, 3, 8, 8\)"),
        ("embed_head.1.weight", (24, 160), r"embed_head\.1\.weight \(24, 160\) instead of \(24, 96\)"),
        ("ffn_gumbel.weight", (40,), r"ffn_gumbel\.weight \(40,\) instead of \(24, 40\)"),
        ("ffn3.weight", (0,), r"other shapes than the network's"),
        ("embed_head.1.weight", (), r"other shapes than the network's"),
    ],
)
def test_other_shapes_are_listed(state, tmp_path, name, shape, message):
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path, {**state, name: torch.ones(shape)})
    assert not (tmp_path / "run").exists()


def test_a_network_without_texts_is_refused_by_name(state, tmp_path):
    change = {
        "embed_head.1.weight": torch.ones(8, 96),
        "embed_head.1.bias": torch.ones(8),
        "cls_fc.weight": torch.ones(7, 8),
    }
    with pytest.raises(
        CheckpointError, match=r"its video vectors have 8 numbers and its frame features 24, as without --use_"
    ):
        imported(tmp_path, {**state, **change})


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("ViT-Z-1", r"--clip ViT-Z-1: is not an open_clip model; the published code has ViT-B-32-quickgelu"),
        (f"{CLIP}-exact", r"-exact: has no QuickGELU, which the published code's CLIP has"),
    ],
)
def test_towers_that_cannot_be_meant(state, tmp_path, clip, message):
    with pytest.raises(OptionError, match=message):
        imported(tmp_path, state, clip=clip)


def test_a_folder_that_is_taken_is_left_alone(state, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"run: exists and is not an empty folder; give another --out"):
        imported(tmp_path, state)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(state, tmp_path):
    (tmp_path / "run").mkdir()
    assert load_checkpoint(imported(tmp_path, state).out).record["imported"]["used"]


def test_a_folder_that_cannot_be_written(state, tmp_path):
    (tmp_path / "file").write_text("")
    file = saved(tmp_path / "best_model.tar", state)
    with pytest.raises(OutputError, match=r"file/run: cannot be written: "):
        import_checkpoint(file, tmp_path / "file" / "run", clip=CLIP)


def test_a_name_that_the_published_network_does_not_have():
    with pytest.raises(OptionError, match=r"temporal\.map_stage\.norm\.bias: the published network has no such tensor"):
        official_name("temporal.map_stage.norm.bias")
