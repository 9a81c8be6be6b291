"""What turns one sequence of labelled stretches into another: what was swapped, left out, repeated, replaced."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, NamedTuple

__all__ = ["Change", "ChangeKind", "Changes", "compare_labels"]

ChangeKind = Literal["swapped", "missing", "extra", "repeated", "replaced"]

_REPLACED: Final = 1.01  # a little more than leaving out: of equally short accounts, the one that matches more is taken
_MAX_SWAPS: Final = 4  # looking for one takes the fourth power of the number of stretches
_MAX_SEARCHED: Final = 24  # stretches; of more, what changed places is found one by one


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change; every number is that of a stretch.

    Attributes:
        kind: `missing` is in `a` alone, `extra` in `b` alone, `repeated` in one of them once more.
        a, b: stretches in a row; empty where the video has none.
        other_a, other_b: `swapped`: what it changed places with. `repeated`: where the same is shown besides.
    """

    kind: ChangeKind
    a: tuple[int, ...] = ()
    b: tuple[int, ...] = ()
    other_a: tuple[int, ...] = ()
    other_b: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """How two sequences of labels are related.

    Attributes:
        pairs: stretch of `a` and stretch of `b` that are counterparts, in the order of `a`; their labels are equal.
        found: the changes.
    """

    pairs: tuple[tuple[int, int], ...]
    found: tuple[Change, ...]


class _Gap(NamedTuple):
    """Stretches in a row without a counterpart, and the nearest ones with one (-1 and the number of all for none)."""

    rows: tuple[int, ...]
    before: int
    after: int


def compare_labels(a: Sequence[int], b: Sequence[int], *, named: int = 0) -> Changes:
    """Find a short account of how `b` differs from `a`.

    Exchanges of two stretches are looked for first, as long as one saves two other changes; then the sequences are
    aligned; then what is left over is matched across the order.

    Args:
        a, b: labels, neighbours different.
        named: labels below are those of named steps; stretches of others that are left over side by side count as one.
    """
    order, exchanged = _exchanges(a, b)
    paired = {order[i]: j for i, j in _matches([a[i] for i in order], b)}
    for i, label in enumerate(a):  # what is left over on both sides
        free = [j for j, other in enumerate(b) if other == label and j not in paired.values()]
        if i not in paired and free:
            paired[i] = free[0]
    pairs = tuple(sorted(paired.items()))
    found = [
        Change(kind="swapped", a=(i,), b=(paired[i],), other_a=(k,), other_b=(paired[k],))
        for i, k in exchanged
        if i in paired and k in paired and paired[i] > paired[k]
    ]
    found += _moves(pairs, {i for change in found for i in (*change.a, *change.other_a)})
    found += _left_over(a, b, pairs, named)
    return Changes(pairs=pairs, found=tuple(found))


def _exchanges(a: Sequence[int], b: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """The order in which the stretches of `a` are most like `b`, and the exchanges that lead there."""
    order = list(range(len(a)))
    exchanged: list[tuple[int, int]] = []
    if max(len(a), len(b)) > _MAX_SEARCHED:
        return order, exchanged
    while len(exchanged) < _MAX_SWAPS:
        now = _cost([a[i] for i in order], b)
        tried = []
        for i, k in itertools.combinations(range(len(order)), 2):
            if a[order[i]] != a[order[k]]:
                changed = order.copy()
                changed[i], changed[k] = changed[k], changed[i]
                tried.append((_cost([a[row] for row in changed], b), k - i, i, k))
        if not tried or min(tried)[0] > now - 1.9:
            break
        _, _, i, k = min(tried)
        exchanged.append((min(order[i], order[k]), max(order[i], order[k])))
        order[i], order[k] = order[k], order[i]
    return order, exchanged


def _table(a: Sequence[int], b: Sequence[int]) -> list[list[float]]:
    """What it costs to turn the first i labels of `a` into the first j of `b`."""
    table = [[float(j) for j in range(len(b) + 1)]]
    for i, label in enumerate(a, start=1):
        row = [float(i)]
        for j, other in enumerate(b, start=1):
            kept = table[-1][j - 1] + (0.0 if label == other else _REPLACED)
            row.append(min(kept, table[-1][j] + 1, row[-1] + 1))
        table.append(row)
    return table


def _cost(a: Sequence[int], b: Sequence[int]) -> float:
    return _table(a, b)[-1][-1]


def _matches(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches with equal labels on the cheapest way from `a` to `b`, in order."""
    table = _table(a, b)
    i, j = len(a), len(b)
    found = []
    while i and j:
        if a[i - 1] == b[j - 1] and table[i][j] == table[i - 1][j - 1]:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif table[i][j] == table[i - 1][j] + 1:
            i -= 1
        elif table[i][j] == table[i][j - 1] + 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
    return found[::-1]


def _moves(pairs: Sequence[tuple[int, int]], told: set[int]) -> list[Change]:
    """What changed places besides: the fewest pairs without which the others keep their order, and what they passed.

    Args:
        pairs: counterparts, in the order of `a`.
        told: stretches of `a` whose exchange is told already; they are left out.
    """
    rest = [pair for pair in pairs if pair[0] not in told]
    chains: list[list[tuple[int, int]]] = []  # the longest that ends with each pair
    for pair in rest:
        before = [chain for chain in chains if chain[-1][1] < pair[1]]
        chains.append([*max(before, key=len, default=[]), pair])
    kept = max(chains, key=len, default=[])
    found = []
    for i, j in rest:
        passed = [(k, m) for k, m in kept if (k < i) != (m < j)]
        if (i, j) in kept or not passed:
            continue
        moved, others = ((i,), (j,)), (tuple(k for k, _ in passed), tuple(sorted(m for _, m in passed)))
        first, second = (moved, others) if i < passed[0][0] else (others, moved)
        found.append(Change(kind="swapped", a=first[0], b=first[1], other_a=second[0], other_b=second[1]))
    return found


def _left_over(a: Sequence[int], b: Sequence[int], pairs: Sequence[tuple[int, int]], named: int) -> list[Change]:
    """The stretches without a counterpart: repeated, replaced, missing or extra."""
    in_a, in_b = dict(pairs), {j: i for i, j in pairs}
    again_a, again_b = _repeated(a, b, in_a), _repeated(b, a, in_b)
    found = [Change(kind="repeated", a=(row,), other_a=(k,), other_b=(in_a[k],)) for row, k in again_a.items()]
    found += [Change(kind="repeated", b=(row,), other_a=(in_b[k],), other_b=(k,)) for row, k in again_b.items()]
    gaps_b = _gaps(b, in_b, again_b, named)
    for gap in _gaps(a, in_a, again_a, named):
        before, after = in_a.get(gap.before, -1), in_a.get(gap.after, len(b))
        beside = next((other for other in gaps_b if other.before == before or other.after == after), None)
        if beside is None:
            found.append(Change(kind="missing", a=gap.rows))
        else:
            gaps_b.remove(beside)
            found.append(Change(kind="replaced", a=gap.rows, b=beside.rows))
    return [*found, *(Change(kind="extra", b=gap.rows) for gap in gaps_b)]


def _repeated(labels: Sequence[int], others: Sequence[int], paired: Mapping[int, int]) -> dict[int, int]:
    """Stretches without a counterpart of which the same video has an equal one that is paired: number of both."""
    found = {}
    for row, label in enumerate(labels):
        beside = [k for k, same in enumerate(labels) if same == label and k in paired]
        if row not in paired and beside and labels.count(label) > others.count(label):
            found[row] = beside[0]
    return found


def _gaps(labels: Sequence[int], paired: Collection[int], told: Collection[int], named: int) -> list[_Gap]:
    """Stretches that are neither paired nor told of.

    Unnamed neighbours are one gap; a named step is always one of its own.
    """
    found: list[_Gap] = []
    for row, label in enumerate(labels):
        if row in paired or row in told:
            continue
        before = max((k for k in paired if k < row), default=-1)
        after = min((k for k in paired if k > row), default=len(labels))
        last = found[-1].rows if found else ()
        if last and last[-1] == row - 1 and min(label, labels[row - 1]) >= named:
            found[-1] = _Gap((*last, row), before, after)
        else:
            found.append(_Gap((row,), before, after))
    return found
