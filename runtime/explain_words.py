"""Differences between two videos in words that name the times and, where a script is known, its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .clock import clock_span
from .step_changes import ChangeKind

__all__ = ["Span", "Telling", "summary", "tell"]

Span = tuple[float, float]
"""From when to when, in seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """The facts of a difference; see `explain.Difference`."""

    kind: ChangeKind
    a: Span | None = None
    b: Span | None = None
    other_a: Span | None = None
    other_b: Span | None = None
    steps: tuple[int, ...] = ()
    other_steps: tuple[int, ...] = ()


def tell(facts: Telling, texts: Sequence[str]) -> str:
    """A difference in one line.

    Args:
        facts: what is to be told.
        texts: the script's steps; empty without one.
    """
    if facts.kind == "swapped":
        return _swapped(facts, texts)
    if facts.kind == "repeated":
        return _repeated(facts, texts)
    if facts.kind == "replaced":
        return _replaced(facts, texts)
    here, there, span = ("A", "B", facts.a) if facts.kind == "missing" else ("B", "A", facts.b)
    if facts.steps:
        be = "are" if len(facts.steps) > 1 else "is"
        return f"{_names(facts.steps, texts)} ({_at(here, span)}) {be} missing in {there}"
    return f"{_at(here, span)} has no counterpart in {there}"


def summary(differences: Sequence[object], same: bool | None, unlike: tuple[Span, Span]) -> str:
    """What a verdict and the differences come to, in one sentence that contradicts neither.

    Args:
        differences: those that were found.
        same: the verdict; None is no verdict.
        unlike: where A and B are least alike.
    """
    places = "1 place" if len(differences) == 1 else f"{len(differences)} places"
    if differences and same:
        return f"the distance is within the threshold, yet the videos seem to part in {places}"
    if differences:
        return f"the videos part in {places}"
    if same is False:
        return (
            "the distance is over the threshold, but no single place stands out; "
            f"least alike are {_at('A', unlike[0])} and {_at('B', unlike[1])}"
        )
    return "no difference stands out"


def _swapped(facts: Telling, texts: Sequence[str]) -> str:
    first = f"({_at('A', facts.a)}, {_at('B', facts.b)})"
    second = f"({_at('A', facts.other_a)}, {_at('B', facts.other_b)})"
    if facts.steps and facts.other_steps:
        numbers = _numbers(sorted([*facts.steps, *facts.other_steps]), texts)
        come = "come" if len(facts.other_steps) > 1 else "comes"
        return (
            f"{numbers} are swapped in B: {_texts(facts.other_steps, texts)} {second} {come} before "
            f"{_texts(facts.steps, texts)} {first}"
        )
    if facts.steps or facts.other_steps:
        early = _names(facts.other_steps, texts) if facts.other_steps else "something else"
        late = _names(facts.steps, texts) if facts.steps else "something else"
        return f"in B, {early} {second} comes before {late} {first}, in A after it"
    return (
        f"in B, what A shows at {_clock(facts.other_a)} (B {_clock(facts.other_b)}) comes before what A shows at "
        f"{_clock(facts.a)} (B {_clock(facts.b)})"
    )


def _repeated(facts: Telling, texts: Sequence[str]) -> str:
    here, there, again = ("A", "B", facts.a) if facts.a is not None else ("B", "A", facts.b)
    own, counterpart = (facts.other_a, facts.other_b) if here == "A" else (facts.other_b, facts.other_a)
    if facts.steps:
        return (
            f"{_names(facts.steps, texts)} is done once more in {here} ({_clock(again)}, besides {_clock(own)}) "
            f"than in {there} ({_clock(counterpart)})"
        )
    return (
        f"{_at(here, again)} shows once more what is at {_at(here, own)}; {there} shows it at {_clock(counterpart)} "
        "and not once more"
    )


def _replaced(facts: Telling, texts: Sequence[str]) -> str:
    in_a, in_b = _at("A", facts.a), _at("B", facts.b)
    if facts.steps and facts.other_steps:
        names = _names(facts.other_steps, texts), _names(facts.steps, texts)
        return f"in B, {names[0]} ({in_b}) is done in place of {names[1]} ({in_a})"
    if facts.steps:
        return f"in B, something else ({in_b}) is done in place of {_names(facts.steps, texts)} ({in_a})"
    if facts.other_steps:
        return f"in A, something else ({in_a}) is done in place of {_names(facts.other_steps, texts)} ({in_b})"
    return f"{in_a} and {in_b}, in the same place of the order, show different things"


def _at(video: str, span: Span | None) -> str:
    return f"{video} {_clock(span)}"


def _clock(span: Span | None) -> str:
    return "nowhere" if span is None else clock_span(*span)


def _number(step: int, texts: Sequence[str]) -> str:
    """The number of a step, with those of the others that have the same text."""
    return " or ".join(str(row) for row, text in enumerate(texts, start=1) if text == texts[step - 1])


def _numbers(steps: Sequence[int], texts: Sequence[str]) -> str:
    return ("steps " if len(steps) > 1 else "step ") + _listed([_number(step, texts) for step in steps])


def _texts(steps: Sequence[int], texts: Sequence[str]) -> str:
    return _listed([f"'{texts[step - 1]}'" for step in steps])


def _names(steps: Sequence[int], texts: Sequence[str]) -> str:
    return f"{_numbers(steps, texts)} {_texts(steps, texts)}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
