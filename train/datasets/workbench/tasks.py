"""Tasks and their procedures: which sequences of steps exist, and which split they belong to.

A task is a base procedure and four variants of it. All changes happen between the first and the last step, so the five
procedures of a task share their end points. The ordered pair (first step, last step) decides the split, which keeps
every procedure of val and test out of train by construction, for any numbers of videos and across seeds.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Literal, get_args

import numpy as np

from .catalogue import STEP_NAMES, SplitName

__all__ = ["KINDS", "SPLITS", "Kind", "Procedure", "Task", "split_of", "tasks_for"]

Kind = Literal["swap", "drop", "replace", "repeat"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

MIN_STEPS, MAX_STEPS = 4, 6
_SPLIT_BY_CLASS: tuple[SplitName, ...] = ("train", "train", "train", "val", "test")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Procedure:
    """A sequence of steps.

    Attributes:
        name: unique within a dataset, `<task>.<kind>`.
        kind: `base`, or how it was made from the base.
        steps: step type names in order.
    """

    name: str
    kind: Literal["base"] | Kind
    steps: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A base procedure and its variants.

    Attributes:
        name: unique within a dataset.
        num_steps: K, length of the base procedure.
        procedures: base, swap, drop, replace, repeat.
        scene: step types whose tools and workpieces are on the bench in every video of the task, so that what lies
            there does not tell the procedures apart.
    """

    name: str
    num_steps: int
    procedures: tuple[Procedure, ...]
    scene: tuple[str, ...]


def split_of(steps: tuple[str, ...]) -> SplitName:
    """The one split in which a sequence of steps may occur.

    Args:
        steps: K step type names.
    """
    first, last = STEP_NAMES.index(steps[0]), STEP_NAMES.index(steps[-1])
    return _SPLIT_BY_CLASS[(first + 2 * last) % len(_SPLIT_BY_CLASS)]


def _vary(base: tuple[str, ...], kind: Kind, rng: np.random.Generator) -> tuple[str, ...]:
    """A variant of `base` with the same first and last step."""
    steps = list(base)
    inner = range(1, len(base) - 1)
    if kind == "swap":
        i, j = rng.choice(inner, size=2, replace=False)
        steps[i], steps[j] = steps[j], steps[i]
    elif kind == "drop":
        del steps[rng.choice(inner)]
    elif kind == "replace":
        steps[rng.choice(inner)] = str(rng.choice([name for name in STEP_NAMES if name not in base]))
    else:
        i = int(rng.integers(0, len(base) - 2))
        steps.insert(int(rng.integers(i + 2, len(base))), base[i])
    return tuple(steps)


class _Deck:
    """Deals step types so that each turns up once before any turns up again, as far as a hand needs different ones."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: list[str] = []

    def deal(self, count: int) -> list[str]:
        """`count` different step types."""
        hand, self._left = self._left[:count], self._left[count:]
        if len(hand) < count:
            fresh = [str(name) for name in self._rng.permutation(STEP_NAMES)]
            others = [name for name in fresh if name not in hand]
            missing = count - len(hand)
            self._left = [name for name in fresh if name not in others[:missing]]
            hand += others[:missing]
        return hand


def _draw_task(name: str, split: SplitName, deck: _Deck, rng: np.random.Generator) -> Task:
    """One task whose end points belong to `split`."""
    while True:
        hand = deck.deal(int(rng.integers(MIN_STEPS, MAX_STEPS + 1)))
        orders = [tuple(order) for order in itertools.permutations(hand, 2) if split_of(order) == split]
        if orders:
            break
    first, last = orders[int(rng.integers(len(orders)))]
    inner = [str(step) for step in rng.permutation([step for step in hand if step not in (first, last)])]
    base = (first, *inner, last)
    procedures = [Procedure(name=f"{name}.base", kind="base", steps=base)]
    procedures += [Procedure(name=f"{name}.{kind}", kind=kind, steps=_vary(base, kind, rng)) for kind in KINDS]
    scene = tuple(sorted({step for procedure in procedures for step in procedure.steps}))
    return Task(name=name, num_steps=len(base), procedures=tuple(procedures), scene=scene)


def tasks_for(split: SplitName, num_tasks: int, *, seed: int) -> tuple[Task, ...]:
    """The first `num_tasks` tasks of a split; no sequence of steps occurs twice among their procedures.

    Args:
        split: which split.
        num_tasks: how many; a larger number only appends.
        seed: seed of the dataset.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, SPLITS.index(split))))
    deck = _Deck(rng)
    tasks: list[Task] = []
    seen: set[tuple[str, ...]] = set()
    while len(tasks) < num_tasks:
        task = _draw_task(f"{split}-{len(tasks):04d}", split, deck, rng)
        sequences = {procedure.steps for procedure in task.procedures}
        if len(sequences) == len(task.procedures) and not sequences & seen:
            seen |= sequences
            tasks.append(task)
    return tuple(tasks)
