"""From labelled pairs of videos to thresholds: where two videos begin to differ, and how sure that is."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .abstention import Abstention
from .bundle import Bundle, NewReport
from .bundle_update import write_thresholds
from .calibration_picture import Panel, draw
from .embedder import VideoEmbedding
from .errors import DataError, OptionError
from .evaluate import Progress, embed_videos, pair_distances
from .familiarity import describe_videos
from .manifest import Pair, read_pairs
from .operating_point import EQUAL_ERROR, Curve, OperatingPoint
from .probability import fit_probability
from .resampling import Links, binomial_bound, binomial_interval, min_pairs
from .spec import METHODS, Method
from .storage import sha256_of
from .thresholds import Calibration, CurvePoint, Evidence, Interval, Threshold
from .verify import Model

__all__ = ["CalibrationResult", "calibrate", "calibrated_threshold", "doubts", "write_calibration"]

SCHEMA: Final = "weaksvr.calibrate/1"
RESAMPLES: Final = 2000
CURVE_POINTS: Final = 33

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CalibrationResult:
    """Thresholds of one model on one set of pairs, not yet written anywhere.

    Attributes:
        thresholds: one for each way to compare.
        pairs: P, each two videos once.
        distances: by way to compare, float64 (P,).
        device, provider: what the networks ran on.
        bundle: name of the model.
        notes: what a user should know, above all what cannot be promised.
    """

    thresholds: tuple[Threshold, ...]
    pairs: tuple[Pair, ...]
    distances: Mapping[Method, Floats]
    device: str
    provider: str
    bundle: str
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> NDArray[np.bool_]:
        """The labels, bool (P,)."""
        return np.array([pair.same for pair in self.pairs], dtype=np.bool_)

    def to_json(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in ("bundle", "device", "provider")}
        thresholds = [threshold.to_json() for threshold in self.thresholds]
        return {"schema": SCHEMA, **kept, "thresholds": thresholds, "notes": list(self.notes)}


def calibrate(
    model: Model,
    pairs_file: str | os.PathLike[str],
    *,
    at: OperatingPoint = EQUAL_ERROR,
    methods: Sequence[Method] = METHODS,
    abstain: bool = False,
    progress: Progress | None = None,
) -> CalibrationResult:
    """Find thresholds for a model's precision and sampling as they are in effect. Nothing is written.

    Args:
        model: what embeds the videos.
        pairs_file: CSV with the header `video_a,video_b,same`.
        at: where the thresholds shall lie.
        methods: ways to compare.
        abstain: let the bundle leave verdicts open, see `familiarity`.
        progress: called with (videos done, videos in all).

    Raises:
        DataError: if the file is damaged, has not both kinds of pairs, contradicts itself, or a video is not there.
        OptionError: if no threshold does what `at` asks for, or the videos are too few to abstain on others.
        VideoError: if a video cannot be used.
        BundleError: if the networks fail.
    """
    path = Path(pairs_file)
    pairs, notes = _usable_pairs(path)
    videos = [video for pair in pairs for video in (pair.video_a, pair.video_b)]
    embeddings = embed_videos(model.embedder, videos, progress=progress)
    distances = {method: pair_distances(embeddings, pairs, method=method) for method in methods}
    thresholds = tuple(
        calibrated_threshold(
            distances[method],
            pairs,
            method=method,
            precision=model.backend.precision,
            sampling=model.embedder.sampling.key,
            at=at,
            source=path.name,
            sha256=sha256_of(path),
        )
        for method in methods
    )
    if abstain:
        thresholds = _with_abstention(thresholds, pairs, embeddings)
    notes += [f"{video.path}: {note}" for video in embeddings.values() for note in video.notes]
    notes += [f"{threshold.method}: {doubt}" for threshold in thresholds for doubt in doubts(threshold, at)]
    return CalibrationResult(
        thresholds=thresholds,
        pairs=pairs,
        distances=distances,
        device=model.backend.device,
        provider=model.backend.provider,
        bundle=model.bundle.manifest.name,
        notes=tuple(dict.fromkeys([*model.backend.notes, *notes])),
    )


def write_calibration(result: CalibrationResult, bundle: Bundle, *, out: Path | None = None) -> Bundle:
    """Put a result's thresholds, and a picture of what they are founded on, into a bundle or a copy of it.

    Args:
        result: from `calibrate`.
        bundle: the one that was calibrated.
        out: see `write_thresholds`, which also says what is raised.
    """
    panels = [
        Panel(entry=entry, same=result.same, distances=result.distances[entry.method]) for entry in result.thresholds
    ]
    picture = NewReport(kind="calibration", suffix="svg", data=draw(panels, name=result.bundle).encode())
    named = [_with_picture(entry, picture.path) for entry in result.thresholds]
    return write_thresholds(bundle, named, out=out, reports=[picture])


def calibrated_threshold(
    distances: Floats,
    pairs: Sequence[Pair],
    *,
    method: Method,
    precision: str,
    sampling: str,
    at: OperatingPoint = EQUAL_ERROR,
    source: str = "",
    sha256: str = "",
) -> Threshold:
    """The threshold that labelled pairs lead to, with its evidence and the probability that belongs to a distance.

    Args:
        distances: float64 (P,), of the pairs.
        pairs: P, of both kinds.
        method, precision, sampling: what the threshold will be valid for.
        at: where it shall lie.
        source, sha256: see `Evidence`.

    Raises:
        OptionError: if no threshold does what `at` asks for, as a different pair has distance 0.
    """
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    curve = Curve(same, distances)
    cut = curve.choose(at)
    threshold = float(curve.thresholds(cut)[0])
    accepted, refused = (float(rate[0]) for rate in curve.rates(cut))
    if at.rate is not None and accepted > at.rate:
        raise OptionError(
            f"{method}: no threshold has a false accept rate of at most {at.rate:g}, as {accepted:.2%} of the "
            "different pairs have distance 0; look whether the pairs are labelled as they should be"
        )
    eer = float(np.mean(curve.rates(curve.choose(EQUAL_ERROR))))
    links = Links.of([(pair.video_a, pair.video_b) for pair in pairs])
    return Threshold(
        method=method,
        precision=precision,
        sampling=sampling,
        threshold=threshold,
        calibrated=Calibration(
            pairs=len(pairs),
            same=int(same.sum()),
            auc=float(curve.auc[0]),
            eer=eer,
            rule=at.description,
            evidence=_evidence(
                same, distances, links, threshold=threshold, at=at, rates=(accepted, refused), source=(source, sha256)
            ),
        ),
        probability=fit_probability(same, distances),
    )


def doubts(threshold: Threshold, at: OperatingPoint) -> list[str]:
    """What the pairs of a calibration cannot promise, for people; empty if nothing of the kind is to be said."""
    evidence = threshold.calibrated.evidence
    if evidence is None:
        return []
    found = []
    if at.rate is not None and evidence.false_accept_bound > at.rate:
        count = threshold.calibrated.pairs - threshold.calibrated.same
        needed = min_pairs(at.rate) if at.rate else math.inf
        if evidence.independent_different >= needed:
            remedy = f"ask for a lower rate to promise {at.rate:g}"
        elif at.rate:
            remedy = (
                f"too few to promise {at.rate:g}, which takes at least {needed} independent ones, none of them accepted"
            )
        else:
            remedy = "no number of pairs can promise 0"
        found.append(
            f"the {count} different pairs are worth {evidence.independent_different:.0f} independent ones and show a "
            f"false accept rate of at most {evidence.false_accept_bound:.2g} (95 % confidence): {remedy}"
        )
    low, _ = evidence.intervals["auc"]
    if low <= 0.5:
        found.append(f"the AUC may be as low as {low:.2f}: these pairs do not show that the distances tell anything")
    if evidence.false_refuse == 1:
        found.append("every same pair is refused at this threshold")
    return found


def _evidence(
    same: NDArray[np.bool_],
    distances: Floats,
    links: Links,
    *,
    threshold: float,
    at: OperatingPoint,
    rates: tuple[float, float],
    source: tuple[str, str],
) -> Evidence:
    drawn: dict[str, list[Floats]] = {name: [] for name in ("threshold", "auc", "eer", "false_accept", "false_refuse")}
    for weights in links.resamples(same, RESAMPLES):
        curve = Curve(same, distances, weights)
        accepted, refused = curve.rates(curve.cuts_at(threshold))
        cuts = curve.choose(at)
        found = (curve.thresholds(cuts), curve.auc, np.mean(curve.rates(curve.choose(EQUAL_ERROR)), axis=0))
        for values, value in zip(drawn.values(), (*found, accepted, refused), strict=True):
            values.append(value)
    intervals = {name: _middle(np.concatenate(values)) for name, values in drawn.items()}
    worth = {kind: links.independent(distances, same == kind) for kind in (False, True)}
    for name, rate, kind in (("false_accept", rates[0], False), ("false_refuse", rates[1], True)):
        if rate in (0.0, 1.0):  # no resample can show an error that no pair shows
            intervals[name] = binomial_interval(rate * worth[kind], worth[kind])
    if rates == (0.0, 0.0):  # for the same reason
        intervals |= links.separated(same, distances)
    return Evidence(
        at=str(at),
        false_accept=rates[0],
        false_refuse=rates[1],
        intervals=intervals,
        false_accept_bound=binomial_bound(rates[0] * worth[False], worth[False]),
        false_refuse_bound=binomial_bound(rates[1] * worth[True], worth[True]),
        independent_same=worth[True],
        independent_different=worth[False],
        resampled=links.unit,
        resamples=RESAMPLES,
        videos=links.num_videos,
        source=source[0],
        sha256=source[1],
        curve=_points(Curve(same, distances), threshold),
    )


def _points(curve: Curve, threshold: float) -> tuple[CurvePoint, ...]:
    """The rates at the threshold and at others, evenly spread over the distances that there are, ends among them."""
    spread = np.linspace(0, len(curve.levels), CURVE_POINTS).round().astype(np.int64)
    levels = np.unique([*np.concatenate([[0.0], curve.levels])[spread], threshold])
    cuts = np.searchsorted(curve.levels, levels, side="right")
    accepted = curve.different[0, cuts] / curve.different[0, -1]
    refused = 1 - curve.same[0, cuts] / curve.same[0, -1]
    return tuple((float(t), float(a), float(r)) for t, a, r in np.round([levels, accepted, refused], 6).T)


def _with_abstention(
    thresholds: Sequence[Threshold], pairs: Sequence[Pair], embeddings: Mapping[Path, VideoEmbedding]
) -> tuple[Threshold, ...]:
    """The thresholds, each with its interval and what the videos look like. Raises `OptionError`."""
    links = Links.of([(pair.video_a, pair.video_b) for pair in pairs])
    groups: dict[Path, int] = {}
    for pair, group in zip(pairs, links.group.tolist(), strict=True):
        groups |= {pair.video_a: group, pair.video_b: group}
    familiarity = describe_videos([embeddings[video].frame_features for video in groups], list(groups.values()))
    found = []
    for entry in thresholds:
        evidence = entry.calibrated.evidence
        low, high = (entry.threshold, entry.threshold) if evidence is None else evidence.intervals["threshold"]
        # An interval of a bootstrap need not hold the threshold itself.
        band = Abstention(low=min(low, entry.threshold), high=max(high, entry.threshold), familiarity=familiarity)
        found.append(dataclasses.replace(entry, abstention=band))
    return tuple(found)


def _middle(values: Floats) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _with_picture(entry: Threshold, path: str) -> Threshold:
    evidence = entry.calibrated.evidence
    if evidence is None:
        return entry
    calibrated = dataclasses.replace(entry.calibrated, evidence=dataclasses.replace(evidence, picture=path))
    return dataclasses.replace(entry, calibrated=calibrated)


def _usable_pairs(path: Path) -> tuple[tuple[Pair, ...], list[str]]:
    """The pairs of a file, each two videos once, and what is to be said of them. Raises `DataError`."""
    given = read_pairs(path)
    found: dict[frozenset[Path], Pair] = {}
    for pair in given:
        first = found.setdefault(frozenset((pair.video_a, pair.video_b)), pair)
        if first.same != pair.same:
            raise DataError(
                f"{path}: says of {pair.video_a.name} and {pair.video_b.name} that they are the same and that they are "
                "different; keep one of the two lines"
            )
    pairs = tuple(found.values())
    for same, word in ((True, "the same procedure"), (False, "different procedures")):
        if not any(pair.same is same for pair in pairs):
            raise DataError(f"{path}: has no pair of {word}; a threshold needs both kinds")
    for pair in pairs:
        for video in (pair.video_a, pair.video_b):
            if not os.access(video, os.R_OK):
                raise DataError(f"{path}: its video {video} cannot be read; paths are relative to the pairs file")
    repeats = len(given) - len(pairs)
    return pairs, [f"{repeats} repeated pairs of {path.name} count once"] if repeats else []
