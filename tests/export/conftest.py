"""Untrained RUNs of two kinds of network, their exports, and a small rendered dataset to compare them on."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from weaksvr.export.graphs import RoleGraph, role_graphs
from weaksvr.export.quantize import quantize
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.bundle import Bundle, Calibration, Manifest, NewNetwork, NewTokenizer, Threshold, write_bundle
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.manifest import Dataset, read_dataset
from weaksvr.runtime.preprocess import normalize
from weaksvr.runtime.spec import METHODS
from weaksvr.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from weaksvr.train.config import TrainConfig, override
from weaksvr.train.datasets.splits import load_training_data
from weaksvr.train.datasets.workbench.writer import make_dataset
from weaksvr.train.evaluate import checkpoint_embedder
from weaksvr.train.model import WeakSVR
from weaksvr.train.presets import preset
from weaksvr.train.tokenizer_json import clip_tokenizer_json
from weaksvr.train.torch_backend import TorchBackend

VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered videos: 5 to train on, 6 for validation. Tests read it and do not change it."""
    folder = tmp_path_factory.mktemp("data") / "workbench"
    make_dataset(folder, train=5, val=6, test=0, seed=3, size=64)
    return folder


@pytest.fixture(scope="session")
def dataset(data: Path) -> Dataset:
    return read_dataset(data)


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, TrainConfig]:
    """The network of the preset `workbench`, and a ViT with the published temporal encoder in small."""
    file = tmp_path_factory.mktemp("open_clip") / "weaksvr-test-vit.json"
    file.write_text(json.dumps(VIT))
    open_clip.add_model_config(file)
    small = ["model.width=32", "model.depth=1", "model.heads=2", "model.head_dim=16", "model.mlp_width=64"]
    frames = ["data.num_frames=4", "data.policy=three-view"]
    return {
        "workbench": override(preset("workbench"), frames),
        "vit": override(preset("paper"), ["model.clip=weaksvr-test-vit", "model.pretrained=", *small, *frames]),
    }


def make_run(folder: Path, data: Path, config: TrainConfig) -> Path:
    """A RUN of random weights, as training writes it."""
    torch.manual_seed(5)
    record = {
        "config": config.to_json(),
        "data": load_training_data(
            data, val_fraction=config.data.val_fraction, seed=config.optim.seed, select=config.optim.select
        ).record,
        "metrics": {"epoch": 1, "val": {"auc_vector": 0.5, "auc_alignment": 0.5}},
        "versions": {"torch": torch.__version__},
    }
    save_checkpoint(folder / "checkpoint", WeakSVR(config), record)
    return folder


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory, data: Path, configs: Mapping[str, TrainConfig]
) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: make_run(folder / name, data, config) for name, config in configs.items()}


@pytest.fixture(scope="session")
def tested(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The dataset folder with a test set, the videos of validation once more."""
    folder = tmp_path_factory.mktemp("tested")
    (folder / "videos").symlink_to(data / "videos")
    for name in ("train.jsonl", "val.jsonl", "val_pairs.csv"):
        shutil.copy(data / name, folder)
    for name in ("val.jsonl", "val_pairs.csv"):
        shutil.copy(data / name, folder / name.replace("val", "test"))
    return folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """A network and its export.

    Attributes:
        source: the deployed code over PyTorch.
    """

    checkpoint: Checkpoint
    source: Embedder
    graphs: Mapping[str, RoleGraph]
    networks: Mapping[str, NewNetwork]
    vocabulary: str

    def embedder(self, folder: Path, **replaced: NewNetwork) -> Embedder:
        """The deployed code over the export, written into `folder`, some of its networks replaced."""
        backend = OrtBackend(self.bundle(folder, **replaced), device="cpu")
        return Embedder(
            backend,
            sampling=self.source.sampling,
            preprocess=self.source.preprocess,
            tokenizer=self.source.tokenizer,
        )

    def changed(self, change: Callable[[WeakSVR], object]) -> Exported:
        """The same with a source whose weights were changed; its export is still the old one."""
        model = copy.deepcopy(self.checkpoint.model)
        with torch.no_grad():
            change(model)
        source = Embedder(
            TorchBackend(model, torch.device("cpu")),
            sampling=model.sampling,
            preprocess=model.preprocess,
            tokenizer=self.source.tokenizer,
        )
        checkpoint = dataclasses.replace(self.checkpoint, model=model)
        return dataclasses.replace(self, checkpoint=checkpoint, source=source, graphs=role_graphs(model))

    def bundle(self, folder: Path, **replaced: NewNetwork) -> Bundle:
        """The export as a bundle without thresholds, some of its networks replaced."""
        model = self.checkpoint.model
        manifest = Manifest(
            name="test",
            description="For tests.",
            sampling=model.sampling,
            preprocess=model.preprocess,
            default_method="vector",
        )
        tokenizer = NewTokenizer(context_length=model.context_length, data=self.vocabulary.encode())
        return write_bundle(folder, manifest, {**self.networks, **replaced}.values(), tokenizer=tokenizer)


@pytest.fixture(scope="session")
def exports(runs: Mapping[str, Path]) -> Mapping[str, Exported]:
    found = {}
    for name, run in runs.items():
        checkpoint = load_checkpoint(run)
        graphs = role_graphs(checkpoint.model)
        networks = {role: export_onnx(graph, metadata={"weaksvr.name": name}) for role, graph in graphs.items()}
        found[name] = Exported(
            checkpoint=checkpoint,
            source=checkpoint_embedder(checkpoint, device=torch.device("cpu")),
            graphs=graphs,
            networks=networks,
            vocabulary=clip_tokenizer_json(context_length=checkpoint.model.context_length),
        )
    return found


@pytest.fixture(params=["workbench", "vit"])
def exported(request: pytest.FixtureRequest, exports: Mapping[str, Exported]) -> Exported:
    return exports[request.param]


@pytest.fixture(scope="session")
def frames(exports: Mapping[str, Exported], dataset: Dataset) -> Mapping[str, NDArray[np.uint8]]:
    """Real frames, uint8 (n, H, W, 3), in the size of each network."""
    found = {}
    for name, exported in exports.items():
        sampled = [exported.source.read(clip.video).frames for clip in dataset.val]
        found[name] = np.concatenate([part.reshape(-1, *part.shape[2:]) for part in sampled])
    return found


@pytest.fixture(scope="session")
def precise_bundles(
    exports: Mapping[str, Exported], frames: Mapping[str, NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Bundle]:
    """Each export in fp32, fp16 and int8 with thresholds: the image network static int8, the others dynamic."""
    folder = tmp_path_factory.mktemp("precise")
    found = {}
    for name, exported in exports.items():
        plain = exported.bundle(folder / f"{name}.fp32")
        networks = [made for network in exported.networks.values() for made in (network, to_fp16(network))]
        for role, network in exported.networks.items():
            (tensor,) = network.inputs
            batches = [normalize(frames[name][:12], exported.source.preprocess)]
            static = role == "vision"
            data = quantize(network.data, static=static, name=tensor.name, batches=batches if static else [])
            networks.append(dataclasses.replace(network, precision="int8", data=data or network.data))
        thresholds = tuple(_threshold(exported, method, number) for number, method in enumerate(METHODS))
        manifest = dataclasses.replace(plain.manifest, thresholds=thresholds)
        tokenizer = NewTokenizer(
            context_length=exported.checkpoint.model.context_length, data=exported.vocabulary.encode()
        )
        found[name] = write_bundle(folder / name, manifest, networks, tokenizer=tokenizer)
    logging.disable(logging.NOTSET)
    return found


def _threshold(exported: Exported, method: str, number: int) -> Threshold:
    return Threshold(
        method=method,
        precision="fp32",
        sampling=exported.source.sampling.key,
        threshold=0.25 + number,
        calibrated=Calibration(pairs=4, same=2, auc=0.5, eer=0.5, rule="for tests"),
    )
