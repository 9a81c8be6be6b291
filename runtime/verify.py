"""Do two videos show the same procedure: the same steps, in the same order?"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import platform
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .alignment import alignment_distance, vector_distance
from .backends import DeployedBackend
from .backends.choose import BackendName, open_backend
from .backends.ort import Device
from .bundle import DEFAULT_BUNDLE, Bundle
from .cache import open_cache
from .cpus import available_cpus
from .decision import Judge, Verdict
from .embedder import Embedder, TextEmbedding, Tokenize, VideoEmbedding
from .embedding_cache import EmbeddingCache
from .errors import BundleError, BundleIntegrityError, BundleNotFoundError, OptionError, VideoError
from .explain import Explanation
from .explain import explain as explain_difference
from .sampling_interval import interval_notes
from .script import Script
from .spec import METHODS, Method, SamplingPolicy, SamplingSpec
from .thresholds import Threshold
from .tokenizer import Tokenizer
from .video_part import VideoPart

if TYPE_CHECKING:
    from .inspection import Inspection
    from .match import MatchResult, ScriptLike
    from .step_finding import TimelineSettings
    from .timeline import Timeline

__all__ = ["Model", "VerifyResult", "check_direction", "distance", "load"]

SCHEMA: Final = "weaksvr.verify/1"
MAX_DECODE_THREADS: Final = 4  # each one more holds pictures in memory, and gains little


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VerifyResult:
    """The verdict on two videos.

    Attributes:
        verdict: `same` or `different`, as `same` says, or `undecided`, which only a bundle says that was calibrated to
            abstain; a note tells why.
        same: whether the distance is at most the threshold, whatever the verdict.
        distance: by `method`; small means alike.
        threshold: the calibrated one of the bundle, or the caller's.
        margin: threshold - distance; its size tells how clear the verdict is.
        probability: chance that the procedures are the same, for pairs like those of the calibration and with their
            share of same pairs; it never rises with the distance. None where the bundle was not calibrated with it.
        method: how the videos were compared.
        device, provider, precision: what the networks ran on, as in effect.
        sampling: key of the sampling that was used.
        bundle: name of the model.
        notes: what a user should know, e.g. that a video is partly damaged.
        explanation: where the videos differ; None unless it was asked for.
    """

    verdict: Verdict
    same: bool
    distance: float
    threshold: float
    margin: float
    probability: float | None
    method: Method
    device: str
    provider: str
    precision: str
    sampling: str
    bundle: str
    notes: tuple[str, ...] = ()
    explanation: Explanation | None = None

    def to_json(self) -> dict[str, Any]:
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        explanation = None if self.explanation is None else self.explanation.to_dict()
        return {"schema": SCHEMA, **facts, "notes": list(self.notes), "explanation": explanation}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A loaded bundle; `load` makes one.

    Attributes:
        bundle: where it comes from.
        backend: what runs its networks: device, provider, precision.
        embedder: videos and texts to embeddings.
    """

    bundle: Bundle
    backend: DeployedBackend
    embedder: Embedder

    def verify(
        self,
        a: str | os.PathLike[str],
        b: str | os.PathLike[str],
        *,
        method: Method | None = None,
        threshold: float | None = None,
        part_a: tuple[float | None, float | None] = (None, None),
        part_b: tuple[float | None, float | None] = (None, None),
        explain: bool = False,
        script: Script | None = None,
    ) -> VerifyResult:
        """Compare two videos.

        Args:
            a, b: video files or folders of frames.
            method: `vector` (paper, Eq. 14) or `alignment` (time warping of the frames' features); None is the
                bundle's default.
            threshold: largest distance of a same pair (paper, Eq. 15); None is the bundle's calibrated one.
            part_a, part_b: start and end in seconds of what is looked at; None is the video's own start or end.
            explain: whether to find where the videos differ, too; see `explain.explain`.
            script: steps to name what differs, which implies `explain`; neither video need follow them.

        Raises:
            OptionError: if the method, the threshold or a part cannot be meant.
            VideoError: if a video cannot be used.
            BundleError: if there is no calibrated threshold, no text network for a script, or the networks fail.
        """
        judge = self.judge(method=method, threshold=threshold)
        texts = None if script is None else self.embedder.embed_text(script.texts)
        parts = [
            VideoPart(path=os.fsdecode(video), start=start, end=end)
            for video, (start, end) in ((a, part_a), (b, part_b))
        ]
        first, second = embeddings = self.embedder.embed_together(parts)
        decision = judge.decide(distance(first, second, method=judge.method), embeddings)
        damage = [f"{video.path}: {note}" for video in embeddings for note in video.notes]
        sparse = [note for video in embeddings for note in interval_notes(video, script=script)]
        explanation = None
        if explain or script is not None:
            sure = None if decision.verdict == "undecided" else decision.same
            explanation = explain_difference(first, second, same=sure, script=texts)
        return VerifyResult(
            verdict=decision.verdict,
            same=decision.same,
            distance=decision.distance,
            threshold=decision.threshold,
            margin=decision.margin,
            probability=decision.probability,
            method=judge.method,
            device=self.backend.device,
            provider=self.backend.provider,
            precision=self.backend.precision,
            sampling=self.embedder.sampling.key,
            bundle=self.bundle.manifest.name,
            notes=tuple(dict.fromkeys([*decision.reasons, *self.backend.notes, *damage, *sparse])),
            explanation=explanation,
        )

    def verify_many(
        self,
        references: Sequence[str | os.PathLike[str] | VideoPart],
        recordings: Iterable[str | os.PathLike[str] | VideoPart],
        *,
        method: Method | None = None,
        threshold: float | None = None,
        workers: int = 1,
    ) -> Generator[Inspection]:
        """Compare many recordings with one procedure; of its references the nearest one decides.

        The references are embedded once, when the first result is asked for. Arguments, results and errors are those
        of `inspection.References.embed` and `inspection.inspect`.
        """
        from .inspection import References, inspect

        approved = References.embed(self, references, method=method, threshold=threshold)
        yield from inspect(approved, recordings, workers=workers)

    def judge(self, *, method: Method | None = None, threshold: float | None = None) -> Judge:
        """What decides on distances of a method (None is the bundle's default), as loaded.

        Raises:
            OptionError: if the method or the threshold cannot be meant.
            BundleError: if there is no calibrated threshold, and none is given.
        """
        method = self.bundle.manifest.default_method if method is None else _check_method(method)
        return Judge(
            method=method,
            threshold=self.threshold(method) if threshold is None else _check_threshold(threshold),
            calibrated=self._calibrated(method),
            given=threshold is not None,
        )

    def match(
        self,
        scripts: ScriptLike | Sequence[ScriptLike],
        videos: Iterable[str | os.PathLike[str] | VideoEmbedding],
        *,
        method: Method | None = None,
        top: int | None = None,
    ) -> MatchResult:
        """Rank videos for a script or for several. See `match.match_videos`."""
        from .match import match_videos

        return match_videos(self, scripts, videos, method=method, top=top)

    def threshold(self, method: Method) -> float:
        """The bundle's threshold for `method` with the precision and sampling in effect.

        Raises:
            BundleError: if none was calibrated for this combination.
        """
        precision, sampling = self.backend.precision, self.embedder.sampling.key
        entry = self._calibrated(method)
        if not self.bundle.manifest.thresholds:
            raise BundleError(
                f"{self.bundle.path}: is uncalibrated, it does not know from which distance on two videos differ; "
                "give --threshold X, or calibrate it with weaksvr-calibrate --pairs FILE"
            )
        if entry is None:
            raise BundleError(
                f"{self.bundle.path}: has no threshold for method {method}, precision {precision} and sampling "
                f"{sampling}; give one, or calibrate it with weaksvr-calibrate"
            )
        return entry.threshold

    def _calibrated(self, method: Method) -> Threshold | None:
        """What the bundle knows of `method` with the precision and sampling in effect."""
        return self.bundle.manifest.threshold(method, self.backend.precision, self.embedder.sampling.key)

    def embed(
        self, path: str | os.PathLike[str], *, start: float | None = None, end: float | None = None
    ) -> VideoEmbedding:
        """Embed a video, or what it shows in [start, end) seconds. See `Embedder.embed`."""
        return self.embedder.embed(path, start=start, end=end)

    def embed_text(self, steps: Sequence[str]) -> TextEmbedding:
        """Embed the steps of a procedure. See `Embedder.embed_text`."""
        return self.embedder.embed_text(steps)

    def timeline(
        self,
        script: Script | Sequence[str] | str | os.PathLike[str],
        video: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        settings: TimelineSettings | None = None,
    ) -> Timeline:
        """When a video shows each step of a script, and whether it follows it. See `timeline.find_timeline`."""
        from .timeline import find_timeline

        return find_timeline(
            script,
            video,
            self.embedder,
            bundle=self.bundle.manifest.name,
            notes=self.backend.notes,
            start=start,
            end=end,
            settings=settings,
        )


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    backend: BackendName = "onnxruntime",
    device: Device = "auto",
    precision: str = "auto",
    sampling: SamplingPolicy | None = None,
    num_threads: int | None = None,
    cache: bool = False,
) -> Model:
    """Open a bundle and get ready to run it.

    Args:
        bundle: its folder; None is the one that comes with the package.
        backend: `onnxruntime`; `tensorrt`, which runs the bundle's engines; or `onnxruntime-tensorrt`, which makes its
            own when it first loads a bundle. TensorRT runs on a GPU alone.
        device: `cpu`, `cuda` (an error if it does not work), or `auto`.
        precision: one of the bundle's, or `auto`.
        sampling: which frames of a video are looked at; None is the bundle's own way. Each has thresholds of its own.
        num_threads: threads on the CPU, both of the networks and of decoding, which take turns; None takes the CPUs
            that this process may use. `pipeline.plan_threads` says how many are best for many videos at a time.
        cache: keep embeddings on the disk, and take them from there, where the environment does not forbid it; see
            `cache.cache_folder`. Not unless asked for: a library writes nothing of its own accord.

    Raises:
        BundleError: if the bundle cannot be used.
        DeviceError: if the device or the precision is not available.
        MissingExtraError: if what the backend needs is not installed.
        OptionError: if an option cannot be meant.
    """
    try:
        opened = Bundle.open(DEFAULT_BUNDLE if bundle is None else bundle, verify=False)
    except BundleNotFoundError as error:
        if bundle is not None:
            raise
        raise BundleNotFoundError(f"{error}; this installation has no default bundle: name one") from error
    running = open_backend(opened, backend=backend, device=device, precision=precision, num_threads=num_threads)
    embedder = Embedder(
        running,
        sampling=_sampling_of(opened, sampling),
        preprocess=opened.manifest.preprocess,
        tokenizer=_tokenizer_of(opened),
        decode_threads=min(num_threads or available_cpus(), MAX_DECODE_THREADS),
    )
    model = Model(bundle=opened, backend=running, embedder=embedder)
    if cache:
        _attach_cache(model)
    return model


def _attach_cache(model: Model) -> None:
    """Have the model's embedder use the cache, if there is one. Raises `OptionError` if its limit is no number."""
    from .identity import identity_of  # which knows `Model`

    opened = open_cache()
    if opened is None or "tensorrt" in model.backend.provider.lower():
        return  # an engine depends on more than the identity names
    sampling = model.embedder.sampling
    computes = (identity_of(model).digest, type(model.backend).__name__, model.backend.device, platform.machine())
    model.embedder.cache = EmbeddingCache(
        opened, model=" ".join(computes), rows=sampling.num_views * sampling.num_frames
    )


def distance(a: VideoEmbedding, b: VideoEmbedding, *, method: Method) -> float:
    """How far two videos are apart by `method`.

    Raises:
        OptionError: if there is no such method, or the embeddings come from different models.
        VideoError: if an embedding has no direction, so that nothing can be said.
    """
    _check_method(method)
    if a.vector.shape != b.vector.shape:
        raise OptionError(f"embeddings of {len(a.vector)} and {len(b.vector)} dimensions come from different models")
    for video in (a, b):
        check_direction(video, method=method)
    if method == "vector":
        return vector_distance(a.vector, b.vector)
    return alignment_distance(a.frame_features, b.frame_features)


def check_direction(video: VideoEmbedding, *, method: Method) -> None:
    """Check that `method` can compare this video: a feature of length 0 has no direction. Raises `VideoError`."""
    features = video.vector[None] if method == "vector" else video.frame_features
    if not features.any(axis=1).all():
        raise VideoError(f"{video.path}: the network sees nothing in it (all features are 0); use another video")


def _check_method(method: Method) -> Method:
    if method not in METHODS:
        raise OptionError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    return method


def _check_threshold(threshold: float) -> float:
    if not (math.isfinite(threshold) and threshold >= 0):
        raise OptionError(f"{threshold = } must be a finite number of at least 0")
    return float(threshold)


def _sampling_of(bundle: Bundle, policy: SamplingPolicy | None) -> SamplingSpec:
    """The bundle's sampling, or as many frames a view by another policy. Raises `OptionError`."""
    own = bundle.manifest.sampling
    return own if policy is None else dataclasses.replace(own, policy=policy)


def _tokenizer_of(bundle: Bundle) -> Tokenize | None:
    """The bundle's tokenizer, which is read when a text is first embedded; None if there is no text network."""
    entry = bundle.manifest.tokenizer
    if entry is None:
        return None

    @functools.cache
    def tokenizer() -> Tokenizer:
        try:
            text = bundle.read(entry).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BundleIntegrityError(f"{bundle.path / entry.path}: is not a tokenizer file (not UTF-8)") from error
        return Tokenizer.from_json(
            text, context_length=entry.context_length, cleaning=entry.cleaning, zeroed_id=entry.zeroed_id
        )

    def tokenize(texts: Sequence[str]) -> NDArray[np.int64]:
        return tokenizer()(texts)

    return tokenize
