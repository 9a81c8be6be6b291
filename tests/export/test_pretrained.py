from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from weaksvr.export.commands.export import command
from weaksvr.export.pretrained import PretrainedModel, export_pretrained, pretrained_source
from weaksvr.runtime import load
from weaksvr.runtime.errors import BundleError, DataError, OptionError, WeakSVRError
from weaksvr.runtime.spec import PreprocessSpec, SamplingSpec
from weaksvr.train.open_clip_weights import load_pretrained, preprocess_of

NAME = "weaksvr-test-vit"
IMAGENET = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "squash"}
TOKENIZER = Path(__file__).parents[1] / "train/hf_tokenizers/unigram"


@pytest.fixture(scope="module")
def clip(configs):
    """Random weights of the small ViT."""
    torch.manual_seed(3)
    return open_clip.create_model(NAME, require_pretrained=False).eval()


@pytest.fixture(scope="module")
def weights(clip, tmp_path_factory):
    """A weights file as on the hub, alone in its folder."""
    file = tmp_path_factory.mktemp("weights") / "open_clip_model.safetensors"
    save_file(clip.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def bundle(weights, tmp_path_factory):
    """What the command prints for people without pairs, and the bundle that it wrote."""
    out = tmp_path_factory.mktemp("bundle") / "out"
    arguments = ["--pretrained", f"{NAME}/{weights}", "--out", str(out), "--num-frames", "4"]
    return CliRunner().invoke(command, arguments, standalone_mode=False), out


@pytest.fixture
def video(data):
    return data / "videos/val/0000.mp4"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no connection."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


def cached(hub, repository, *files):
    """Put files of a repository into the hub's cache."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("b" * 40)
    (folder / "snapshots" / ("b" * 40)).mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder / "snapshots" / ("b" * 40) / file.name)


def test_what_is_said_without_pairs(bundle):
    result, out = bundle
    assert (result.exit_code, result.return_value) == (0, 0)
    lines = result.stdout.splitlines()
    assert lines[0] == "compared with PyTorch on noise, network by network, as there are no pairs of videos"
    assert re.fullmatch(r"fp32  \d\.\d MB  ran on the cpu  smallest cosine 1\.0000000", lines[1])
    assert lines[-1] == "uncalibrated: it has no threshold; verify with --threshold X, or export it with --pairs FILE"
    assert f"bundle: {out} " in result.stdout


def test_what_the_bundle_says(bundle, weights):
    manifest = load(bundle[1], device="cpu").bundle.manifest
    assert (manifest.name, manifest.default_method, manifest.thresholds) == (
        f"{NAME}-open_clip_model",
        "alignment",
        (),
    )
    assert manifest.sampling == SamplingSpec(policy="three-view", num_frames=4)
    assert manifest.training["pretrained"]["weights"] == "open_clip_model.safetensors"
    assert str(weights.parent) not in json.dumps(manifest.to_json())


def test_an_uncalibrated_bundle_asks_for_a_threshold(bundle, video):
    model = load(bundle[1], device="cpu")
    with pytest.raises(
        BundleError, match=r"is uncalibrated, it does not know .* give --threshold X, or calibrate it with"
    ):
        model.verify(video, video)
    assert model.verify(video, video, threshold=0.1).same


def test_features_are_open_clips(bundle, clip, video):
    """Frames and texts through open_clip's own calls; the mean and what is beyond it by numpy."""
    model = load(bundle[1], device="cpu")
    sampled = model.embedder.read(video)
    mean, std = (np.array(clip.visual.preprocess_cfg[key], np.float32) for key in ("mean", "std"))
    pixels = (sampled.frames.reshape(-1, 32, 32, 3).astype(np.float32) / 255 - mean) / std
    steps = ["take the cup", "caf&eacute; 🙂"]
    with torch.no_grad():
        images = clip.encode_image(torch.from_numpy(pixels).permute(0, 3, 1, 2), normalize=True).numpy()
        texts = clip.encode_text(open_clip.get_tokenizer(NAME)(steps)).numpy()
    views = images.reshape(3, 4, -1)
    beyond = (views - views.mean(axis=1, keepdims=True)).reshape(12, -1)
    found = model.embed(video)
    np.testing.assert_allclose(found.vector, views.mean(axis=(0, 1)), atol=1e-5)
    order = np.argsort(sampled.indices, axis=None, kind="stable")
    np.testing.assert_allclose(found.frame_features, beyond[order], atol=1e-5)
    np.testing.assert_allclose(model.embed_text(steps).sentence_features, texts, atol=1e-5)


def test_pairs_calibrate_it(weights, data, tmp_path):
    """With the alignment as the default, whatever the pairs say."""
    options = [
        "--pairs",
        data / "val_pairs.csv",
        "--num-frames",
        4,
        "--sampling",
        "uniform",
        "--name",
        "mine",
        "--json",
    ]
    result = invoke("--pretrained", f"{NAME}/{weights}", "--out", tmp_path / "out", *options)
    document = json.loads(result.stdout)
    assert (document["name"], document["default_method"]) == ("mine", "alignment")
    assert [(entry["method"], entry["sampling"]) for entry in document["thresholds"]] == [
        ("vector", "uniform-4"),
        ("alignment", "uniform-4"),
    ]
    assert document["checks"]["pairs_from"] == "val_pairs.csv"


def test_a_tag_is_loaded_through_the_hub_with_its_preprocessing(weights, hub, monkeypatch):
    tag = {"hf_hub": "some/where/", "quick_gelu": True, **IMAGENET}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, {"here": tag})
    cached(hub, "some/where", weights)
    found = load_pretrained(f"{NAME}/here")
    assert found.preprocess == PreprocessSpec(
        height=32, width=32, resize="squash", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
    )
    assert any(type(module).__name__ == "QuickGELU" for module in found.clip.modules())
    assert (found.label, found.facts) == (f"{NAME}-here", {"model": NAME, "weights": "here"})


def test_a_hub_that_cannot_be_reached_is_one_line(hub):
    with pytest.raises(
        OptionError, match=r"hub cannot be reached for timm/vit_base_patch32_clip_224\.openai: "
    ) as caught:
        load_pretrained("ViT-B-32/openai")
    assert "without a connection give a weights file, ViT-B-32/FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def write_config(folder, **model):
    document = {"model_cfg": model, "preprocess_cfg": {**IMAGENET, "size": 999}}
    (folder / "open_clip_config.json").write_text(json.dumps(document))


def test_a_file_is_prepared_as_its_configuration_says(weights, tmp_path):
    file = Path(shutil.copy(weights, tmp_path))
    write_config(tmp_path, quick_gelu=True)
    found = load_pretrained(f"{NAME}/{file}")
    assert (found.preprocess.height, found.preprocess.resize, found.preprocess.mean) == (32, "squash", (0.4, 0.5, 0.6))
    assert any(type(module).__name__ == "QuickGELU" for module in found.clip.modules())
    write_config(tmp_path)
    with pytest.raises(OptionError, match=r"ViT-B-32-quickgelu has QuickGELU, but .* without it; use ViT-B-32$"):
        load_pretrained(f"ViT-B-32-quickgelu/{file}")
    (tmp_path / "open_clip_config.json").write_text("[]")
    with pytest.raises(OptionError, match=r"open_clip_config\.json: is not the configuration of an open_clip model"):
        load_pretrained(f"{NAME}/{file}")


def test_a_file_alone_is_refused_where_weights_are_prepared_differently(weights):
    with pytest.raises(
        OptionError, match=r"published weights of ViT-L-14 differ .* no open_clip_config\.json lies beside"
    ):
        load_pretrained(f"ViT-L-14/{weights}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32", "'ViT-B-32' does not name a model and its weights; write NAME/TAG"),
        ("ViT-B-32/", "does not name a model and its weights"),
        ("ViT-B32/openai", "'ViT-B32' is not an open_clip model; near it: ViT-B-32"),
        ("qqq/openai", r"'qqq' is not an open_clip model; see open_clip\.list_models"),
        ("ViT-B-32/openia", "'openia' is neither a file nor one of the tags of ViT-B-32, which are: openai, laion"),
        (f"{NAME}/nothing", f"'nothing' is neither a file nor one of the tags of {NAME}, which are: none"),
        ("local-dir:/nowhere/at/all", "its configuration cannot be read"),
    ],
)
def test_names_that_mean_nothing(configs, name, message):
    with pytest.raises(OptionError, match=message) as caught:
        load_pretrained(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text", "pickle", "other", "empty"])
def test_files_that_are_no_weights(clip, tmp_path, kind):
    file = tmp_path / ("weights.pt" if kind in ("pickle", "empty") else "weights.safetensors")
    if kind == "text":
        file.write_text("hello")
    elif kind == "pickle":
        file.write_bytes(pickle.dumps(print))
    elif kind == "empty":
        torch.save({}, file)
    else:
        save_file({"visual.proj": torch.zeros(2)}, file)
    what = (
        "the weights are not those of this architecture" if kind == "other" else ".*is this a weights file of open_clip"
    )
    with pytest.raises(OptionError, match=f"cannot be loaded: {what}") as caught:
        load_pretrained(f"{NAME}/{file}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize_mode": "longest"}, "its images are resized by 'longest', which cannot be expressed"),
        ({"interpolation": "bilinear"}, "its images are scaled by bilinear interpolation, but frames are scaled by"),
    ],
)
def test_preprocessing_that_cannot_be_expressed(change, message):
    with pytest.raises(OptionError, match=message):
        preprocess_of({"size": 32, **IMAGENET, **change}, name="a-model")


def test_preprocessing_as_open_clip_writes_it():
    config = {
        "size": (24, 32),
        "mean": 0.5,
        "std": (0.5, 0.25, 0.1),
        "interpolation": "random",
        "resize_mode": "shortest",
    }
    assert preprocess_of(config, name="a") == PreprocessSpec(
        height=24, width=32, resize="shorter", mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.1)
    )


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """A folder as a SigLIP's on the hub, with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("siglip") / "small-siglip"
    shutil.copytree(TOKENIZER, folder)
    text = {
        "context_length": 16,
        "vocab_size": json.loads((TOKENIZER / "expected.json").read_text())["num_ids"],
        "hf_tokenizer_name": "some/where",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        **{"width": 32, "heads": 2, "layers": 2, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    }
    vision = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
    model = {"embed_dim": 32, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
    document = {"model_cfg": model, "preprocess_cfg": IMAGENET}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    torch.manual_seed(4)
    clip = open_clip.create_model(f"local-dir:{folder}").eval()
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return folder, clip


def test_a_tower_with_a_tokenizer_of_its_own(siglip, tmp_path):
    """Its file, cleaning and padding reach the bundle, and the runtime's texts are open_clip's."""
    folder, clip = siglip
    bundle, _ = export_pretrained(f"local-dir:{folder}", tmp_path / "out", num_frames=2)
    tokenizer = bundle.manifest.tokenizer
    assert (tokenizer.cleaning, tokenizer.context_length) == ("canonicalize", 16)
    assert bundle.manifest.preprocess.resize == "squash"
    known = json.loads((TOKENIZER / "expected.json").read_text(encoding="utf-8"))["ids"]
    rows = [row for row in known if row["text"].strip()]
    with torch.no_grad():
        wanted = clip.encode_text(torch.tensor([row["ids"] for row in rows])).numpy()
    found = load(tmp_path / "out", device="cpu").embed_text([row["text"] for row in rows])
    np.testing.assert_allclose(found.sentence_features, wanted, atol=1e-5)


def test_a_second_export_keeps_the_bundle(siglip, tmp_path):
    arguments = ["--pretrained", f"local-dir:{siglip[0]}", "--out", tmp_path / "out", "--num-frames"]
    first, second = invoke(*arguments, "2"), invoke(*arguments, "2")
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert second.stderr == f"nothing has changed: {tmp_path / 'out'} is kept; --force exports it anew\n"
    third = invoke(*arguments, "3")
    assert third.stderr.startswith(f"{tmp_path / 'out'} is made anew: changed: model\n")
    assert load(tmp_path / "out", device="cpu").bundle.manifest.sampling.num_frames == 3


def test_without_its_tokenizer_nothing_is_exported(siglip, tmp_path):
    folder = Path(shutil.copytree(siglip[0], tmp_path / "model"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(
        OptionError, match=r"no such file, and .* has a tokenizer of its own; give it with weaksvr-export"
    ):
        pretrained_source(f"local-dir:{folder}")
    given = pretrained_source(f"local-dir:{folder}", tokenizer_file=TOKENIZER / "tokenizer.json")
    assert given.tokenizer.cleaning == "canonicalize"


class TwoOutputs(torch.nn.Module):
    image_size = 32

    def forward(self, frames):
        return frames.mean((2, 3)), frames


def test_towers_that_do_not_fit(weights):
    loaded = load_pretrained(f"{NAME}/{weights}")
    loaded.clip.visual = TwoOutputs()
    with pytest.raises(OptionError, match="its towers do not give one vector an image and one a text"):
        PretrainedModel(loaded, SamplingSpec())
    loaded = load_pretrained(f"{NAME}/{weights}")
    loaded.clip.visual = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(OptionError, match="images become 3 numbers, but texts 24"):
        PretrainedModel(loaded, SamplingSpec())


def test_nothing_is_loaded_for_pairs_that_are_wrong(tmp_path):
    with pytest.raises(DataError, match="missing"):
        export_pretrained("ViT-B-32/openai", tmp_path / "out", pairs_file=tmp_path / "missing.csv")


def test_precisions_need_pairs(weights, tmp_path):
    result = invoke("--pretrained", f"{NAME}/{weights}", "--out", tmp_path / "out", "--int8")
    assert isinstance(result.exception, WeakSVRError)
    assert "fp16, int8 and TensorRT engines need pairs of videos" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "Give either a RUN folder or --pretrained NAME/TAG."),
        (["run", "--pretrained", "a/b", "--out", "x"], "Give either a RUN folder or --pretrained NAME/TAG."),
        (["run", "--out", "x", "--num-frames", "8"], "--num-frames and --sampling belong to --pretrained"),
        (["run", "--out", "x", "--sampling", "uniform"], "--num-frames and --sampling belong to --pretrained"),
    ],
)
def test_usage(arguments, message):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert message in result.output
