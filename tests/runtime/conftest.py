"""A whole bundle in a few hundred bytes, and videos to try it on."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from weaksvr.runtime.bundle import (
    ROLES,
    Calibration,
    Manifest,
    NewEngine,
    NewNetwork,
    NewTokenizer,
    Threshold,
    write_bundle,
)
from weaksvr.runtime.engine_file import Profile, ShapeRange
from weaksvr.runtime.spec import PreprocessSpec, SamplingSpec, TensorSpec

WORDS = ("[unk]", "<s>", "</s>", "take", "the", "cup", "pour", "water", "stir", ",")
F, D, L = 4, 5, 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyModel:
    """Weights of the toy networks: all that an oracle needs.

    vision: mean of each channel @ tower; temporal: H = tanh(features @ head), v = mean of H over the frames @ mix;
    text: mean of the tokens' rows of `table`.
    """

    tower: NDArray[np.float32]  # (3, F)
    head: NDArray[np.float32]  # (F, D)
    mix: NDArray[np.float32]  # (D, D)
    table: NDArray[np.float32]  # (len(WORDS), D)

    @classmethod
    def random(cls, seed: int = 0) -> ToyModel:
        rng = np.random.default_rng(seed)
        shapes = {"tower": (3, F), "head": (F, D), "mix": (D, D), "table": (len(WORDS), D)}
        return cls(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})

    def graphs(self) -> dict[str, onnx.ModelProto]:
        node = helper.make_node
        return {
            "vision": _model(
                "vision",
                [
                    node("GlobalAveragePool", ["frames"], ["pooled"]),
                    node("Flatten", ["pooled"], ["flat"]),
                    node("MatMul", ["flat", "tower"], ["features"]),
                ],
                {"tower": self.tower},
            ),
            "temporal": _model(
                "temporal",
                [
                    node("MatMul", ["features", "head"], ["hidden"]),
                    node("Tanh", ["hidden"], ["frame_features"]),
                    node("ReduceMean", ["frame_features", "axis"], ["mean"], keepdims=0),
                    node("MatMul", ["mean", "mix"], ["video_vector"]),
                ],
                {"head": self.head, "mix": self.mix, "axis": np.array([1])},
            ),
            "text": _model(
                "text",
                [
                    node("Gather", ["table", "tokens"], ["rows"]),
                    node("ReduceMean", ["rows", "axis"], ["text_features"], keepdims=0),
                ],
                {"table": self.table, "axis": np.array([1])},
            ),
        }


def _model(role: str, nodes: Sequence[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    layout = ROLES[role]
    inputs, outputs = (
        [
            helper.make_tensor_value_info(
                spec.name, TensorProto.INT64 if spec.dtype == "int64" else TensorProto.FLOAT, list(spec.shape)
            )
            for spec in specs
        ]
        for specs in (layout.inputs, layout.outputs)
    )
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, role, inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def toy_network(role: str, graph: onnx.ModelProto | bytes, *, precision: str = "fp32") -> NewNetwork:
    sizes: dict[int | str, int] = {"F": F, "D": D, "L": L}
    inputs, outputs = (
        tuple(
            TensorSpec(name=spec.name, dtype=spec.dtype, shape=tuple(sizes.get(side, side) for side in spec.shape))
            for spec in specs
        )
        for specs in (ROLES[role].inputs, ROLES[role].outputs)
    )
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    return NewNetwork(role=role, precision=precision, opset=18, inputs=inputs, outputs=outputs, data=data)


def toy_engine(
    network: NewNetwork, *, batches: Sequence[tuple[int, int, int]] = ((1, 2, 8),), **changes: Any
) -> NewEngine:
    """What an engine of the toy network would say of itself; its plan is no plan."""
    sides = {"H": 16, "W": 16, "T": 4}
    profiles = tuple(
        Profile(
            inputs=tuple(
                ShapeRange(
                    name=spec.name,
                    **{
                        key: (batch, *(sides.get(side, side) for side in spec.shape[1:]))
                        for key, batch in zip(("min", "opt", "max"), three, strict=True)
                    },
                )
                for spec in network.inputs
            )
        )
        for three in batches
    )
    engine = NewEngine(
        role=network.role,
        precision=network.precision,
        network_sha256=hashlib.sha256(network.data).hexdigest(),
        tensorrt="11.4.0.106",
        compute_capability="9.0",
        device_name="NVIDIA H200",
        profiles=profiles,
        data=b"no plan of " + network.role.encode(),
    )
    return dataclasses.replace(engine, **changes)


def toy_threshold(method: str, value: float, **changes: Any) -> Threshold:
    calibrated = Calibration(pairs=10, same=5, auc=0.9, eer=0.1, rule="equal error rate")
    key = {"precision": "fp32", "sampling": "uniform-4", **changes}
    return Threshold(method=method, threshold=value, calibrated=calibrated, **key)


def toy_manifest(**changes: Any) -> Manifest:
    manifest = Manifest(
        name="toy",
        description="A model for tests.",
        sampling=SamplingSpec(policy="uniform", num_frames=4),
        preprocess=PreprocessSpec(height=16, width=16, resize="squash", mean=(0.5, 0.4, 0.3), std=(0.25, 0.25, 0.2)),
        default_method="vector",
        thresholds=(toy_threshold("vector", 0.25), toy_threshold("alignment", 0.02)),
        tools={"onnx": onnx.__version__},
        training={"data": "none"},
    )
    return dataclasses.replace(manifest, **changes)


def toy_tokenizer() -> NewTokenizer:
    encoder = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[unk]"))
    encoder.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return NewTokenizer(context_length=L, data=encoder.to_str().encode())


@dataclasses.dataclass(frozen=True)
class Toys:
    """Makers of toy bundles and their parts, handed to tests as the fixture `toys`."""

    model: Callable[..., ToyModel] = ToyModel.random
    network: Callable[..., NewNetwork] = toy_network
    engine: Callable[..., NewEngine] = toy_engine
    manifest: Callable[..., Manifest] = toy_manifest
    threshold: Callable[..., Threshold] = toy_threshold
    tokenizer: Callable[..., NewTokenizer] = toy_tokenizer
    words: tuple[str, ...] = WORDS

    def networks(self, seed: int = 0) -> Iterator[NewNetwork]:
        return (toy_network(role, graph) for role, graph in ToyModel.random(seed).graphs().items())

    def write(self, out: Path, *, seed: int = 0, **changes: Any) -> Path:
        write_bundle(out, toy_manifest(**changes), self.networks(seed), tokenizer=toy_tokenizer())
        return out


@pytest.fixture(scope="session")
def toys() -> Toys:
    return Toys()


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory, toys: Toys) -> Path:
    """A bundle that tests read and do not change."""
    return toys.write(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture
def own_bundle(toy_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the toy bundle that a test may damage."""
    return Path(shutil.copytree(toy_bundle, tmp_path / "own"))


def make_video(path: Path, colours: Sequence[tuple[int, int, int]], *, frames_each: int = 6, rate: int = 10) -> Path:
    """A video of 32 x 32 pixels, `rate` frames a second, that shows one colour after another."""
    with av.open(path, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "bf": "2"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            pixels = np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3))
            for _ in range(frames_each):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
    return path


RED, GREEN, BLUE, GREY = (200, 30, 30), (20, 180, 40), (30, 40, 220), (120, 120, 120)


@dataclasses.dataclass(frozen=True)
class Videos:
    """Paths of the toy videos: `again` shows nearly what `first` shows, slower; `other` shows something else."""

    first: Path
    again: Path
    other: Path


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    folder = tmp_path_factory.mktemp("videos")
    return Videos(
        first=make_video(folder / "first.mp4", [RED, GREEN, BLUE, GREY]),
        again=make_video(folder / "again.mp4", [(210, 36, 26), GREEN, BLUE, (125, 120, 118)], frames_each=8),
        other=make_video(folder / "other.mp4", [BLUE, BLUE, GREY, GREY]),
    )


WHITE = (250, 250, 250)
STEP_COLOURS = {"take": RED, "pour": GREEN, "stir": BLUE}
"""Steps that the planted bundle knows, each by the colour of the picture; white is no step."""


@pytest.fixture(scope="session")
def step_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with planted answers: a frame is like a step iff it has the step's colour."""
    channels = np.eye(3, F, dtype=np.float32)
    table = np.zeros((len(WORDS), D), np.float32)
    for word, colour in STEP_COLOURS.items():
        table[WORDS.index(word), :3] = [1.0 if value == max(colour) else -1.0 for value in colour]
    model = ToyModel(tower=channels, head=np.eye(F, D, dtype=np.float32), mix=np.eye(D, dtype=np.float32), table=table)
    out = tmp_path_factory.mktemp("bundles") / "steps"
    write_bundle(
        out,
        toy_manifest(),
        (toy_network(role, graph) for role, graph in model.graphs().items()),
        tokenizer=toy_tokenizer(),
    )
    return out


@pytest.fixture(scope="session")
def step_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a video of steps, one second each: `step_video("take", None, "pour")`; None is no step."""
    folder = tmp_path_factory.mktemp("steps")

    def make(*steps: str | None, rate: int = 10, seconds: int = 1) -> Path:
        path = folder / f"{'-'.join(step or 'none' for step in steps)}.{rate}.{seconds}.mp4"
        colours = [WHITE if step is None else STEP_COLOURS[step] for step in steps]
        return path if path.exists() else make_video(path, colours, frames_each=rate * seconds, rate=rate)

    return make
