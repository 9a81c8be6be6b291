"""Where two videos differ, in words: what is swapped, missing, extra, repeated or replaced, and from when to when."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .alignment import alignment_path, unit_rows
from .embedder import TextEmbedding, VideoEmbedding
from .errors import OptionError, VideoError
from .explain_words import Span, Telling, summary, tell
from .step_changes import Change, ChangeKind, compare_labels
from .stretches import ALIKE, Stretch, label_stretches

__all__ = ["Aligned", "Difference", "Explanation", "Shown", "explain"]

_AROUND: Final = 2  # cells of the path before and after one that count for how unlike the videos are there

Floats = NDArray[np.float64]

_EXCHANGED: Final[dict[ChangeKind, ChangeKind]] = {"missing": "extra", "extra": "missing"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A stretch of one video that shows one thing.

    Attributes:
        start, end: seconds.
        label: a number; the same thing has the same one in both videos.
        step: number of the script's step that is shown, from 1 on; None without a script, or if it is none of them.
    """

    start: float
    end: float
    label: int
    step: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"start": self.start, "end": self.end, "label": self.label, "step": self.step}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """A stretch of A and its counterpart in B.

    Attributes:
        a, b: (start, end) in seconds.
        times: seconds in A and in B of frames that show the same, in order; every sampled frame of both is in it.
        moved: whether it changed places with something.
    """

    a: Span
    b: Span
    times: tuple[tuple[float, float], ...]
    moved: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "a": _span(self.a),
            "b": _span(self.b),
            "moved": self.moved,
            "times": [list(each) for each in self.times],
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One place where the videos part. All spans are (start, end) in seconds.

    Attributes:
        kind: `missing` is in A and not in B, `extra` in B and not in A, `repeated` is shown once more by one of them,
            `replaced` is one thing in A and another in B, `swapped` are two things in the other order.
        a, b: where it is; None in the video that has nothing of the kind. `swapped`: the thing that comes first in A.
        other_a, other_b: `swapped`: the other thing. `repeated`: where both videos show the same besides.
        steps: numbers of the script's steps that this is about, from 1 on: of the first thing, of what is missing,
            extra or repeated, or of what A shows; empty without a script, or where it is none of them.
        other_steps: of the other thing that is swapped, or of what B shows instead.
        text: the same in words.
    """

    kind: ChangeKind
    a: Span | None = None
    b: Span | None = None
    other_a: Span | None = None
    other_b: Span | None = None
    steps: tuple[int, ...] = ()
    other_steps: tuple[int, ...] = ()
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        spans = {name: _span(getattr(self, name)) for name in ("a", "b", "other_a", "other_b")}
        numbers = {"steps": list(self.steps), "other_steps": list(self.other_steps)}
        return {"kind": self.kind, **spans, **numbers, "text": self.text}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What stands behind a verdict.

    Attributes:
        summary: in one sentence, true to the verdict.
        differences: in the order of time.
        steps: the K steps of the script; empty without one.
        shown_a, shown_b: what each video shows, from its start to its end.
        aligned: counterparts, in the order of A; what is in none of them has no counterpart.
        most_unlike: the place of A and of B where the two, warped onto each other in order, are least alike.
        verdict: whether the videos were judged to be the same; None where there was no verdict.
    """

    summary: str
    differences: tuple[Difference, ...]
    steps: tuple[str, ...]
    shown_a: tuple[Shown, ...]
    shown_b: tuple[Shown, ...]
    aligned: tuple[Aligned, ...]
    most_unlike: tuple[Span, Span]
    verdict: bool | None = None

    def exchanged(self) -> Explanation:
        """The same with A and B exchanged."""
        unlike = (self.most_unlike[1], self.most_unlike[0])
        differences = tuple(_exchanged(each, self.steps) for each in self.differences)
        aligned = [
            Aligned(a=each.b, b=each.a, times=tuple((b, a) for a, b in each.times), moved=each.moved)
            for each in self.aligned
        ]
        return Explanation(
            summary=summary(differences, self.verdict, unlike),
            differences=differences,
            steps=self.steps,
            shown_a=self.shown_b,
            shown_b=self.shown_a,
            aligned=tuple(sorted(aligned, key=lambda each: each.a)),
            most_unlike=unlike,
            verdict=self.verdict,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "summary": self.summary,
            "differences": [each.to_dict() for each in self.differences],
            "steps": list(self.steps),
            "shown_a": [each.to_dict() for each in self.shown_a],
            "shown_b": [each.to_dict() for each in self.shown_b],
            "aligned": [each.to_dict() for each in self.aligned],
            "most_unlike": {name: _span(span) for name, span in zip("ab", self.most_unlike, strict=True)},
        }


def explain(
    a: VideoEmbedding,
    b: VideoEmbedding,
    *,
    same: bool | None = None,
    script: TextEmbedding | None = None,
    alike: float = ALIKE,
) -> Explanation:
    """Find where two videos differ.

    Both are cut into stretches that show one thing, the stretches that show the same are put together, and the two
    sequences are compared. With A and B exchanged the result is the same, exchanged.

    Args:
        a, b: from the same model, frame features of T rows in time order.
        same: the verdict on them, which the summary must not contradict; None is no verdict.
        script: steps to name what is shown; neither video need follow it.
        alike: mean cosine of the frames' features from which on two stretches show the same; the default was chosen
            for the model that comes with the package.

    Raises:
        OptionError: if the embeddings come from different models, or `alike` is no cosine.
        VideoError: if a frame of a video has no direction, so that nothing can be said.
    """
    if not -1 <= alike <= 1:
        raise OptionError(f"{alike = } must be a cosine, from -1 to 1")
    dimensions = {video.frame_features.shape[1] for video in (a, b)}
    dimensions |= set() if script is None else {script.sentence_features.shape[1]}
    if len(dimensions) > 1:
        raise OptionError(f"embeddings of {sorted(dimensions)} dimensions come from different models; use one model")
    for video in (a, b):
        if not video.frame_features.any(axis=1).all():
            raise VideoError(
                f"{video.path}: the network sees nothing in a frame (its features are 0); use another video"
            )
    if _rank(b) < _rank(a):  # whichever comes first, the same is computed: so nothing depends on the order
        return _explain(b, a, same, script, alike).exchanged()
    return _explain(a, b, same, script, alike)


def _explain(
    a: VideoEmbedding, b: VideoEmbedding, same: bool | None, script: TextEmbedding | None, alike: float
) -> Explanation:
    features = unit_rows(a.frame_features), unit_rows(b.frame_features)
    texts = () if script is None else script.steps
    known = None if script is None else unit_rows(script.sentence_features)
    stretches = label_stretches(*features, texts=known, alike=alike)
    labels = [[stretch.label for stretch in each] for each in stretches]
    changes = compare_labels(labels[0], labels[1], named=len(texts))
    edges = _edges(a.times_seconds), _edges(b.times_seconds)
    shown_a, shown_b = (
        tuple(_shown(stretch, edge, len(texts)) for stretch in each)
        for each, edge in zip(stretches, edges, strict=True)
    )
    differences = tuple(sorted((_difference(change, shown_a, shown_b, texts) for change in changes.found), key=_place))
    moved = {row for change in changes.found if change.kind == "swapped" for row in (*change.a, *change.other_a)}
    aligned = tuple(
        Aligned(
            a=(shown_a[i].start, shown_a[i].end),
            b=(shown_b[j].start, shown_b[j].end),
            times=_times(stretches[0][i], stretches[1][j], features, (a.times_seconds, b.times_seconds)),
            moved=i in moved,
        )
        for i, j in changes.pairs
    )
    unlike = _most_unlike(features, edges)
    return Explanation(
        summary=summary(differences, same, unlike),
        differences=differences,
        steps=texts,
        shown_a=shown_a,
        shown_b=shown_b,
        aligned=aligned,
        most_unlike=unlike,
        verdict=same,
    )


def _rank(video: VideoEmbedding) -> tuple[bytes, bytes]:
    return video.frame_features.tobytes(), video.times_seconds.tobytes()


def _edges(times: Floats) -> Floats:
    """Where each sampled frame's time begins and ends, float64 (T + 1,): halfway between neighbours."""
    middles = (times[1:] + times[:-1]) / 2
    first = max(0.0, 2 * times[0] - middles[0]) if len(middles) else times[0]
    last = 2 * times[-1] - middles[-1] if len(middles) else times[-1]
    return np.concatenate([[first], middles, [last]])


def _shown(stretch: Stretch, edges: Floats, num_steps: int) -> Shown:
    return Shown(
        start=float(edges[stretch.start]),
        end=float(edges[stretch.stop]),
        label=stretch.label,
        step=stretch.label + 1 if stretch.label < num_steps else None,
    )


def _hull(rows: Sequence[int], shown: Sequence[Shown]) -> Span | None:
    return (shown[min(rows)].start, shown[max(rows)].end) if rows else None


def _steps(rows: Sequence[int], shown: Sequence[Shown]) -> tuple[int, ...]:
    return tuple(step for row in rows if (step := shown[row].step) is not None)


def _difference(
    change: Change, shown_a: Sequence[Shown], shown_b: Sequence[Shown], texts: tuple[str, ...]
) -> Difference:
    steps = _steps(change.a, shown_a) or (_steps(change.b, shown_b) if not change.a else ())
    if change.kind == "replaced":
        other = _steps(change.b, shown_b)
    else:
        other = _steps(change.other_a, shown_a) if change.kind == "swapped" else ()
    telling = Telling(
        kind=change.kind,
        a=_hull(change.a, shown_a),
        b=_hull(change.b, shown_b),
        other_a=_hull(change.other_a, shown_a),
        other_b=_hull(change.other_b, shown_b),
        steps=steps,
        other_steps=other,
    )
    return _told(telling, texts)


def _told(telling: Telling, texts: tuple[str, ...]) -> Difference:
    facts = {field.name: getattr(telling, field.name) for field in dataclasses.fields(telling)}
    return Difference(**facts, text=tell(telling, texts))


def _exchanged(each: Difference, texts: tuple[str, ...]) -> Difference:
    own, other = (each.b, each.a), (each.other_b, each.other_a)
    steps, other_steps = each.steps, each.other_steps
    if each.kind == "swapped":  # the first thing in B was the second in A
        own, other = other, own
    if each.kind in ("swapped", "replaced"):
        steps, other_steps = other_steps, steps
    telling = Telling(
        kind=_EXCHANGED.get(each.kind, each.kind),
        a=own[0],
        b=own[1],
        other_a=other[0],
        other_b=other[1],
        steps=steps,
        other_steps=other_steps,
    )
    return _told(telling, texts)


def _place(each: Difference) -> tuple[float, float]:
    """Where a difference is in the order of time, whichever video is called A."""
    starts = [span[0] for span in (each.a, each.b, each.other_a, each.other_b) if span is not None]
    return min(starts), max(starts)


def _times(
    first: Stretch, second: Stretch, features: tuple[Floats, Floats], times: tuple[Floats, Floats]
) -> tuple[tuple[float, float], ...]:
    rows = slice(first.start, first.stop), slice(second.start, second.stop)
    path = alignment_path(features[0][rows[0]], features[1][rows[1]])
    seconds = [times[video][rows[video]][path[:, video]].tolist() for video in (0, 1)]
    return tuple(zip(*seconds, strict=True))


def _most_unlike(features: tuple[Floats, Floats], edges: tuple[Floats, Floats]) -> tuple[Span, Span]:
    path = alignment_path(*features)
    costs = 1.0 - (features[0][path[:, 0]] * features[1][path[:, 1]]).sum(axis=1)
    total = np.concatenate([[0.0], np.cumsum(costs)])
    cells = np.arange(len(path))
    low, high = np.maximum(cells - _AROUND, 0), np.minimum(cells + _AROUND + 1, len(path))
    worst = int(np.argmax((total[high] - total[low]) / (high - low)))
    around = path[low[worst] : high[worst]]
    first, second = (
        (float(edge[around[0, video]]), float(edge[around[-1, video] + 1])) for video, edge in enumerate(edges)
    )
    return first, second


def _span(span: Span | None) -> dict[str, float] | None:
    return None if span is None else {"start": span[0], "end": span[1]}
