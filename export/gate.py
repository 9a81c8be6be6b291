"""Accept a variant of a model only if it decides as its source does, PyTorch in fp32, on real videos.

What is compared, each time on the very bytes that the bundle would hold, in a process of their own:

- every network alone, on several batch sizes (`probes`);
- H and v of every video of the pairs, from the decoded frames on, with the preprocessing that the manifest states;
- the verdicts of both ways to compare, each variant at the threshold that its bundle holds, PyTorch at its own.

Where a bundle is there and PyTorch is not, the source is the bundle's own fp32 networks, which passed this gate.

The limits are those of `limits`. Nothing is decided by a variant's speed, so that an export can be repeated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import NewEngine, NewNetwork
from ..runtime.bundle_format import Manifest
from ..runtime.embedder import Embedder, VideoEmbedding
from ..runtime.errors import BundleError, ExportError
from ..runtime.evaluate import pair_distances
from ..runtime.manifest import Clip, Pair
from ..runtime.spec import METHODS, Method
from ..runtime.verify import check_direction
from .calibration import CalibrationData, further_pairs
from .difference import Difference
from .draft import make_draft
from .isolated import Child, IsolatedBackend
from .limits import Limits
from .probes import compare_network, make_probes, shown
from .verdicts import Distances, Verdicts, judge

__all__ = ["Gate", "Measured", "PrecisionReport", "Progress", "Running", "Variant", "variant_name"]

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A model in one precision, run by ONNX Runtime, or as TensorRT engines if there are any.

    Attributes:
        networks: by role.
        engines: built from the networks, by role.
        notes: decisions that were made, for people.
    """

    precision: str
    networks: Mapping[str, NewNetwork]
    engines: Mapping[str, NewEngine] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people and for the report."""
        return variant_name(self.precision, is_tensorrt=bool(self.engines))


def variant_name(precision: str, *, is_tensorrt: bool) -> str:
    """What a precision is called in the report, run by ONNX Runtime or as TensorRT engines."""
    return f"{precision}-tensorrt" if is_tensorrt else precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """A variant whose networks are loaded in a child."""

    variant: Variant
    backend: IsolatedBackend
    embedder: Embedder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out for a variant on the videos.

    Attributes:
        videos: differences of v and H.
        distances: of all pairs, by way to compare.
        milliseconds: that the networks took for a video, median.
    """

    videos: tuple[Difference, ...]
    distances: Mapping[Method, Distances]
    milliseconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrecisionReport:
    """What the gate says about a variant.

    Attributes:
        device, provider, optimization: where and how its networks ran.
        networks, videos: differences from PyTorch.
        verdicts, distances: by way to compare.
        num_bytes: size of its networks or engines.
        milliseconds: that they took for a video, median; 0 where they did not run as they do when deployed.
        refusals: what is beyond the limits; it has passed if nothing is.
        is_tensorrt: whether engines ran, not the networks.
    """

    precision: str
    device: str
    provider: str
    optimization: str
    networks: tuple[Difference, ...]
    videos: tuple[Difference, ...]
    verdicts: Mapping[Method, Verdicts]
    distances: Mapping[Method, Distances]
    limits: Limits
    num_bytes: int
    milliseconds: float
    notes: tuple[str, ...]
    refusals: tuple[str, ...]
    is_tensorrt: bool = False

    @property
    def name(self) -> str:
        """The variant's."""
        return variant_name(self.precision, is_tensorrt=self.is_tensorrt)

    def to_json(self) -> dict[str, Any]:
        kept = ("precision", "device", "provider", "optimization", "num_bytes", "milliseconds", "notes")
        return {
            **{name: getattr(self, name) for name in kept},
            "limits": dataclasses.asdict(self.limits),
            "networks": [dataclasses.asdict(difference) for difference in self.networks],
            "videos": [dataclasses.asdict(difference) for difference in self.videos],
            "methods": {method: verdicts.to_json() for method, verdicts in self.verdicts.items()},
        }


class Gate:
    """Compares variants with their source on one set of pairs.

    Args:
        source: the deployed code over PyTorch, or over the networks of a bundle.
        manifest: what the bundle will say, but for files, thresholds and checks.
        data: gives the labelled pairs.
        num_pairs: pairs to compare in all; see `further_pairs`.
        progress: called with (what is being done, parts done, parts in all).
        source_name: for people.
        source_thresholds: at which the source is judged; those that are not given are calibrated on the pairs.

    Attributes:
        data: labelled pairs to calibrate and compare on.
        pairs: all pairs that are compared, the labelled ones first.
    """

    def __init__(
        self,
        source: Embedder,
        manifest: Manifest,
        data: CalibrationData,
        *,
        num_pairs: int,
        progress: Progress,
        source_name: str = "PyTorch",
        source_thresholds: Mapping[Method, float] = MappingProxyType({}),
    ) -> None:
        self.data = data
        self._source = source
        self._source_name = source_name
        self._source_thresholds = source_thresholds
        self._manifest = manifest
        self._progress = progress
        parts = {clip.video: clip for clip in data.clips}
        self._clips = [parts.get(video, Clip(video=video, steps=())) for video in data.videos]
        self._same = np.array([pair.same for pair in data.pairs], dtype=np.bool_)
        further = [Pair(video_a=a, video_b=b, same=False) for a, b in further_pairs(data, num_pairs)]
        self.pairs = (*data.pairs, *further)
        self._probes = make_probes(source, self._clips, data.texts)
        self._wanted: dict[Path, VideoEmbedding] = {}
        self._source_distances: dict[Method, NDArray[np.float64]] = {}

    @property
    def num_videos(self) -> int:
        """Videos that are embedded."""
        return len(self._clips)

    @contextlib.contextmanager
    def running(self, variant: Variant) -> Iterator[Running]:
        """Load a variant's networks in a child. Raises `ExportError`."""
        draft = make_draft(
            self._manifest, variant.networks.values(), precision=variant.precision, engines=variant.engines.values()
        )
        with Child(variant.name, library="TensorRT" if variant.engines else "ONNX Runtime") as child:
            backend = IsolatedBackend(child, draft, precision=variant.precision)
            embedder = Embedder(
                backend,
                sampling=draft.manifest.sampling,
                preprocess=draft.manifest.preprocess,
                tokenizer=self._source.tokenizer,
            )
            yield Running(variant=variant, backend=backend, embedder=embedder)

    def check_networks(self, running: Running) -> dict[str, tuple[Difference, ...]]:
        """Compare every network alone, by role. Raises `ExportError` if one cannot be compared."""
        name = self._source_name
        with _named(running.variant.name):
            return {
                probe.role: compare_network(self._source.backend, running.backend, probe, name=name)
                for probe in self._probes
            }

    def measure(self, all_running: Sequence[Running]) -> list[Measured]:
        """Embed every video once by every variant, and once by the source if that was not done before.

        Raises:
            ExportError: if a variant cannot be run, or computes what is no number.
            VideoError: if a video cannot be used.
        """
        names = ", ".join(running.variant.name for running in all_running)
        what = f"comparing {names} with {self._source_name} on {len(self._clips)} videos, {len(self.pairs)} pairs"
        worst: list[dict[str, Difference]] = [{} for _ in all_running]
        found: list[dict[Path, VideoEmbedding]] = [{} for _ in all_running]
        seconds: list[list[float]] = [[] for _ in all_running]
        for done, clip in enumerate(self._clips):
            self._progress(what, done, len(self._clips))
            sampled = self._source.read(clip.video, start=clip.start, end=clip.end)
            wanted = self._wanted.get(clip.video) or self._source.embed_sampled(sampled)
            self._wanted[clip.video] = wanted
            for method in METHODS:
                check_direction(wanted, method=method)
            for row, running in enumerate(all_running):
                before = running.backend.seconds
                with _named(running.variant.name):
                    found[row][clip.video] = running.embedder.embed_sampled(sampled)
                    for difference in self._of_video(clip.video, wanted, found[row][clip.video]):
                        earlier = worst[row].get(difference.what, difference)
                        worst[row][difference.what] = earlier.merged(difference)
                seconds[row].append(running.backend.seconds - before)
        self._progress(what, len(self._clips), len(self._clips))
        return [
            Measured(
                videos=tuple(worst[row].values()),
                distances=self._distances(found[row]),
                milliseconds=statistics.median(seconds[row]) * 1e3,
            )
            for row in range(len(all_running))
        ]

    def _of_video(self, video: Path, wanted: VideoEmbedding, found: VideoEmbedding) -> list[Difference]:
        """The differences of v and H."""
        frames = [f"frame {index} of {shown(video)}" for index in wanted.indices]
        vectors, name = (wanted.vector[None], found.vector[None]), self._source_name
        return [
            Difference.of("video_vector", *vectors, rows=[shown(video)], source=name),
            Difference.of("frame_features", wanted.frame_features, found.frame_features, rows=frames, source=name),
        ]

    def _distances(self, found: Mapping[Path, VideoEmbedding]) -> dict[Method, Distances]:
        if not self._source_distances:
            self._source_distances = {m: pair_distances(self._wanted, self.pairs, method=m) for m in METHODS}
        return {
            method: Distances(source=source, variant=pair_distances(found, self.pairs, method=method), same=self._same)
            for method, source in self._source_distances.items()
        }

    def report(
        self,
        running: Running,
        networks: Mapping[str, Sequence[Difference]],
        measured: Measured | None,
        *,
        thresholds: Mapping[Method, float],
        limits: Limits,
    ) -> PrecisionReport:
        """Judge a variant.

        Args:
            running: the variant.
            networks: from `check_networks`.
            measured: from `measure`; None where there are no pairs.
            thresholds: those that the bundle holds for it; verdicts are judged by the methods that have one.
            limits: for its precision.
        """
        names = [f"{shown(pair.video_a)} and {shown(pair.video_b)}" for pair in self.pairs]
        videos, distances = ((), {}) if measured is None else (measured.videos, measured.distances)
        alone = tuple(difference for differences in networks.values() for difference in differences)
        refusals = [
            text for difference in (*alone, *videos) for text in difference.refusals(limits, source=self._source_name)
        ]
        verdicts = {}
        judged = {method: found for method, found in distances.items() if method in thresholds}
        for method, found in judged.items():
            own = self._source_thresholds.get(method)
            verdicts[method] = judge(found, threshold=thresholds[method], tie=limits.tie, source_threshold=own)
            refusals += verdicts[method].refusals(
                method, limits, names=names, distances=found, source=self._source_name
            )
        backend, variant = running.backend, running.variant
        kept = variant.engines or variant.networks
        return PrecisionReport(
            precision=variant.precision,
            device=backend.device,
            provider=backend.provider,
            optimization=backend.optimization,
            networks=alone,
            videos=videos,
            verdicts=verdicts,
            distances=judged,
            limits=limits,
            num_bytes=sum(len(file.data) for file in kept.values()),
            milliseconds=0.0 if measured is None or backend.optimization != "all" else measured.milliseconds,
            notes=variant.notes,
            refusals=tuple(f"{variant.name}: {text}" for text in refusals),
            is_tensorrt=bool(variant.engines),
        )


@contextlib.contextmanager
def _named(variant: str) -> Iterator[None]:
    """What goes wrong while a variant runs is an `ExportError` that names it."""
    try:
        yield
    except BundleError as error:
        raise ExportError(f"{variant}: {error}") from error
