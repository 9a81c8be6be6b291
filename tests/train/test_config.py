from __future__ import annotations

import dataclasses
import json

import pytest
from weaksvr.runtime.errors import CheckpointError, OptionError
from weaksvr.train.config import AugmentConfig, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig, override
from weaksvr.train.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_json_gives_every_preset_back(name):
    config = preset(name)
    assert config.preset == name
    text = json.dumps(config.to_json())
    assert TrainConfig.from_json(json.loads(text)) == config


def test_json_gives_overridden_settings_back():
    config = override(TrainConfig(), ["optim.lr=0.1", "model.depth=0", "data.cache=/a b", "loss.mask_repeated=false"])
    assert config != TrainConfig()
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("optim.lr=1e-3", "optim", "lr", 0.001),
        ("optim.epochs = 7", "optim", "epochs", 7),
        ("model.freeze_vision=true", "model", "freeze_vision", True),
        ("model.freeze_vision=FALSE", "model", "freeze_vision", False),
        ("model.pretrained=", "model", "pretrained", ""),
        ("model.pretrained=a=b.pt", "model", "pretrained", "a=b.pt"),
        ("loss.form=official", "loss", "form", "official"),
        ("data.policy=uniform", "data", "policy", "uniform"),
    ],
)
def test_a_setting_is_read_as_its_fields_type(setting, section, key, value):
    before = TrainConfig()
    after = override(before, [setting])
    found = getattr(getattr(after, section), key)
    assert (found, type(found)) == (value, type(value))
    restored = dataclasses.replace(getattr(after, section), **{key: getattr(getattr(before, section), key)})
    assert dataclasses.replace(after, **{section: restored}) == before


def test_settings_need_not_fit_one_by_one():
    config = override(TrainConfig(), ["model.network=s3d-g", "optim.seed=3", "model.vision=pixels"])
    assert (config.model.network, config.model.vision, config.optim.seed) == ("s3d-g", "pixels", 3)
    with pytest.raises(
        OptionError, match=r"--set model.network=trn --set model.vision=pixels: network = trn with vision"
    ):
        override(TrainConfig(), ["model.network=trn", "optim.seed=3", "model.vision=pixels"])


def test_later_settings_win():
    assert override(TrainConfig(), ["optim.seed=1", "optim.seed=2"]).optim.seed == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.lr", r"--set optim.lr: write section.key=value, with a section of model, data, augment, loss, optim"),
        ("speed.lr=1", r"--set speed.lr=1: write section.key=value, with a section of"),
        ("preset=paper", r"--set preset=paper: write section.key=value"),
        ("=1", r"--set =1: write section.key=value"),
        ("optim.speed=1", r"--set optim.speed=1: optim has no 'speed'; it has optimizer, epochs, lr,"),
        ("optim=1", r"--set optim=1: optim has no ''"),
        ("optim.epochs=two", r"--set optim.epochs=two: .*invalid literal"),
        ("optim.lr=fast", r"--set optim.lr=fast: could not convert string to float"),
        ("model.freeze_vision=1", r"--set model.freeze_vision=1: must be true or false"),
        ("loss.form=best", r"form = 'best' is not known; use one of official, masked, batch"),
        ("optim.lr=-1", r"lr = -1.0 must be a finite number of at least 0"),
        ("optim.lr=inf", r"lr = inf must be a finite number"),
        ("optim.lr=nan", r"lr = nan must be a finite number"),
    ],
)
def test_settings_that_cannot_be_meant(setting, message):
    with pytest.raises(OptionError, match=message):
        override(TrainConfig(), [setting])


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (ModelConfig, {"attention_scale": "tail"}, r"attention_scale = 'tail' is not known; use one of model, head"),
        (ModelConfig, {"video_vector": "sum"}, r"video_vector = 'sum' is not known"),
        (
            LossConfig,
            {"fine": "order", "form": "official"},
            r"fine = order with form = official is not known; use form",
        ),
        (ModelConfig, {"vision_pretrained": "hub"}, r"vision_pretrained = hub without vision; pretrained names"),
        (ModelConfig, {"network_width": 0.5}, r"network_width = 0.5 is of s3d-g, .*; transformer has width"),
        (ModelConfig, {"heads": 0}, r"heads = 0 must be a finite number of at least 1"),
        (ModelConfig, {"depth": -1}, r"depth = -1 must be"),
        (AugmentConfig, {"noise": -0.1}, r"noise = -0.1 must be"),
        (DataConfig, {"num_frames": 1}, r"num_frames = 1 must be a finite number of at least 2"),
        (DataConfig, {"batch_size": 1}, r"batch_size = 1 must be"),
        (DataConfig, {"resize": "stretch"}, r"resize = 'stretch' is not known; use one of shorter, squash"),
        (LossConfig, {"fine": "best"}, r"fine = 'best' is not known; use one of none, sort, viterbi, split"),
        (LossConfig, {"fine_scale": -1.0}, r"fine_scale = -1.0 must be"),
        (OptimConfig, {"precision": "int8"}, r"precision = 'int8' is not known; use one of auto, fp32, bf16, fp16"),
        (OptimConfig, {"epochs": 0}, r"epochs = 0 must be a finite number of at least 1"),
        (OptimConfig, {"seed": -1}, r"seed = -1 must be"),
    ],
)
def test_values_are_checked(section, values, message):
    with pytest.raises(OptionError, match=message):
        section(**values)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(OptionError, match=r"preset 'best' is not known; did you mean paper, .*workbench"):
        preset("best")


def without(data, *path):
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return data


def changed(data, section, **values):
    return {**data, section: {**data[section], **values}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: without(data, "preset"), r"'preset'"),
        (lambda data: without(data, "optim"), r"'optim'"),
        (lambda data: changed(data, "optim", speed=3), r"unexpected keyword argument 'speed'"),
        (lambda data: changed(data, "loss", form="best"), r"form = 'best' is not known"),
        (lambda data: changed(data, "model", width="wide"), r"not supported"),
        (lambda data: {**data, "model": None}, r"mapping"),
        (lambda data: [data], r"list indices"),
    ],
)
def test_settings_of_another_program(damage, message):
    data = damage(TrainConfig().to_json())
    with pytest.raises(CheckpointError, match=rf"training settings cannot be read: .*{message}.*not written by us"):
        TrainConfig.from_json(data)


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().optim.lr = 1.0
