"""Which moments of two videos a report shows side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal

from .explain import Aligned, Difference, Explanation
from .explain_words import Span
from .step_changes import ChangeKind

__all__ = ["Mark", "Moment", "choose_moments"]

Mark = ChangeKind | Literal["counterpart", "least alike"]

MOST: Final = 12
AIMED_AT: Final = 10
MOST_DIFFERENT: Final = 9


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A column: a time of A and the one of B that belongs to it.

    Attributes:
        a, b: seconds; None where the video has nothing of the kind.
        mark: why it is shown: `counterpart` is the same thing in both.
        number: of the difference that it belongs to, from 1 on; None for counterparts.
    """

    a: float | None
    b: float | None
    mark: Mark
    number: int | None = None


def choose_moments(explanation: Explanation, *, different: bool = False) -> tuple[Moment, ...]:
    """At most `MOST` moments, in the order of A: what differs first of all, and counterparts between.

    Args:
        explanation: of the two videos.
        different: whether to show where they are least alike if no difference was found.
    """
    apart = [
        moment
        for number, each in enumerate(explanation.differences, start=1)
        for moment in _of_difference(each, number)
    ]
    if different and not apart:
        unlike_a, unlike_b = explanation.most_unlike
        apart = [Moment(a=_middle(unlike_a), b=_middle(unlike_b), mark="least alike")]
    apart = _spread(apart, MOST_DIFFERENT)
    room = min(max(AIMED_AT - len(apart), 3), MOST - len(apart))
    alike = [
        Moment(a=a, b=b, mark="counterpart")
        for a, b in _counterparts([each for each in explanation.aligned if not each.moved], room)
    ]
    return tuple(sorted((*apart, *alike), key=lambda moment: _place(moment, alike)))


def _of_difference(each: Difference, number: int) -> list[Moment]:
    pairs = [(each.a, each.b)]
    if each.kind == "swapped":
        pairs.append((each.other_a, each.other_b))
    return [Moment(a=_middle(a), b=_middle(b), mark=each.kind, number=number) for a, b in pairs]


def _counterparts(aligned: Sequence[Aligned], room: int) -> list[tuple[float, float]]:
    """`room` pairs of times, or fewer if there are fewer: every stretch first, then the long ones again."""
    picks = [0] * len(aligned)
    for _ in range(room):
        open_ones = [row for row, each in enumerate(aligned) if picks[row] < len(each.times)]
        if not open_ones:
            break
        fresh = [row for row in open_ones if not picks[row]] or open_ones
        longest = max(fresh, key=lambda row: len(aligned[row].times) / (picks[row] + 1))
        picks[longest] += 1
    pairs = []
    for each, count in zip(aligned, picks, strict=True):
        pairs += [each.times[(2 * pick + 1) * len(each.times) // (2 * count)] for pick in range(count)]
    return list(dict.fromkeys(pairs))


def _place(moment: Moment, alike: Sequence[Moment]) -> tuple[float, int, float]:
    """Where a moment stands: at its time in A; what only B has, behind the counterparts before it in B."""
    b = -1.0 if moment.b is None else moment.b
    if moment.a is not None:
        return moment.a, 0, b
    before = [each.a for each in alike if each.a is not None and each.b is not None and each.b <= b]
    return max(before, default=-1.0), 1, b


def _spread(moments: list[Moment], most: int) -> list[Moment]:
    """At most `most` of them, evenly spread."""
    if len(moments) <= most:
        return moments
    return [moments[(2 * pick + 1) * len(moments) // (2 * most)] for pick in range(most)]


def _middle(span: Span | None) -> float | None:
    return None if span is None else (span[0] + span[1]) / 2
