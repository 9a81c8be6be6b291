"""Which videos a dataset consists of, and which pairs and matching tests are asked about them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from .catalogue import STEP_TYPES, SplitName, wordings_of
from .tasks import KINDS, SPLITS, Kind, Procedure, Task, tasks_for

__all__ = ["Matching", "Pair", "VideoPlan", "draw_matching", "draw_pairs", "plan_split", "video_rng"]

VIDEOS_PER_PROCEDURE: dict[SplitName, int] = {"train": 1, "val": 3, "test": 3}
"""Train gains most from many different procedures; val and test need several videos of the same one.

Training on pairs needs several there too, see `takes` of `plan_split`."""

_DIFFERENT_PER_KIND = 6  # pairs a full task, of nine possible ones
_STEP_BY_NAME = {step.name: step for step in STEP_TYPES}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VideoPlan:
    """One video before it is rendered.

    Attributes:
        split, index: its place in the dataset.
        task, procedure: what it shows.
        texts: K sentences, one a step.
    """

    split: SplitName
    index: int
    task: Task
    procedure: Procedure
    texts: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where the file stands, relative to the dataset folder."""
        return f"videos/{self.split}/{self.index:04d}.mp4"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two videos, and whether they show the same procedure; `kind` is `same` or the kind of difference."""

    a: VideoPlan
    b: VideoPlan
    same: bool
    kind: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Matching:
    """A script and one video of every procedure of a task; `answer` is the index of the one that follows it."""

    texts: tuple[str, ...]
    candidates: tuple[VideoPlan, ...]
    answer: int


def video_rng(seed: int, split: SplitName, index: int, purpose: int) -> np.random.Generator:
    """The random numbers of one video; they depend on nothing but these arguments.

    Args:
        seed: seed of the dataset.
        split: the video's split.
        index: the video's number in it.
        purpose: 1 texts, 2 pixels, 3 matching.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, SPLITS.index(split), index)))


def _draw_texts(procedure: Procedure, split: SplitName, rng: np.random.Generator) -> tuple[str, ...]:
    texts = []
    for name in procedure.steps:
        choices = wordings_of(_STEP_BY_NAME[name], split=split)
        weights = np.ones(len(choices)) if split == "train" else np.array([3.0, 3.0, *([1.0] * (len(choices) - 2))])
        texts.append(str(rng.choice(choices, p=weights / weights.sum())))
    return tuple(texts)


def plan_split(split: SplitName, num_videos: int, *, seed: int, takes: int | None = None) -> tuple[VideoPlan, ...]:
    """The videos of a split, task by task; a larger number only appends.

    Within a task the procedures are shown one after the other, base and variants in turn, until the task is complete;
    the last task may be shorter, and starts with two videos of the base so that same and different pairs exist.

    Args:
        split: which split.
        num_videos: how many.
        seed: seed of the dataset.
        takes: videos of each procedure; None takes `VIDEOS_PER_PROCEDURE`.
    """
    repeats = takes or VIDEOS_PER_PROCEDURE[split]
    per_task = repeats * (1 + len(KINDS))
    tasks = tasks_for(split, -(-num_videos // per_task), seed=seed)
    plans = []
    for index in range(num_videos):
        task, place = tasks[index // per_task], index % per_task
        procedure = task.procedures[_order_within_task(repeats)[place]]
        texts = _draw_texts(procedure, split, video_rng(seed, split, index, 1))
        plans.append(VideoPlan(split=split, index=index, task=task, procedure=procedure, texts=texts))
    return tuple(plans)


def _order_within_task(repeats: int) -> list[int]:
    """Numbers of the procedures in the order of a task's videos; the base's second video comes early."""
    order = list(range(1 + len(KINDS))) * repeats
    if repeats > 1:
        order.insert(1, order.pop(1 + len(KINDS)))
    return order


def _by_task(plans: tuple[VideoPlan, ...]) -> list[list[VideoPlan]]:
    return [list(group) for _, group in itertools.groupby(plans, key=lambda plan: plan.task.name)]


def draw_pairs(plans: tuple[VideoPlan, ...], *, seed: int) -> tuple[Pair, ...]:
    """All pairs of videos of the same procedure, and for each kind up to six of base and variant.

    Args:
        plans: the videos of one split.
        seed: seed of the dataset.
    """
    pairs: list[Pair] = []
    for videos in _by_task(plans):
        rng = video_rng(seed, videos[0].split, videos[0].index, 4)
        pairs += [
            Pair(a=a, b=b, same=True, kind="same")
            for a, b in itertools.combinations(videos, 2)
            if a.procedure == b.procedure
        ]
        for kind in KINDS:
            pairs += _pairs_of_kind(videos, kind, rng)
    return tuple(pairs)


def _pairs_of_kind(videos: list[VideoPlan], kind: Kind, rng: np.random.Generator) -> list[Pair]:
    bases = [video for video in videos if video.procedure.kind == "base"]
    variants = [video for video in videos if video.procedure.kind == kind]
    crossed = list(itertools.product(bases, variants))
    chosen = sorted(rng.permutation(len(crossed))[:_DIFFERENT_PER_KIND])
    both = [crossed[i] if rng.uniform() < 0.5 else crossed[i][::-1] for i in chosen]
    return [Pair(a=a, b=b, same=False, kind=kind) for a, b in both]


def draw_matching(plans: tuple[VideoPlan, ...], *, seed: int) -> tuple[Matching, ...]:
    """For every video of a complete task the question which of five candidates follows its script.

    The candidates are one video of each procedure of the task, the asked one among them, in random order. The words
    of the script are drawn anew.

    Args:
        plans: the videos of one split.
        seed: seed of the dataset.
    """
    questions: list[Matching] = []
    for videos in _by_task(plans):
        kinds = {video.procedure.kind for video in videos}
        if len(kinds) < 1 + len(KINDS):
            continue
        for video in videos:
            rng = video_rng(seed, video.split, video.index, 3)
            candidates = [video]
            for kind in sorted(kinds - {video.procedure.kind}):
                others = [other for other in videos if other.procedure.kind == kind]
                candidates.append(others[int(rng.integers(len(others)))])
            shuffled = tuple(candidates[i] for i in rng.permutation(len(candidates)))
            texts = _draw_texts(video.procedure, video.split, rng)
            questions.append(Matching(texts=texts, candidates=shuffled, answer=shuffled.index(video)))
    return tuple(questions)
