"""What the published files of CSV, COIN-SV and Diving48-SV have in common.

    label_bank.json      {label: [step, ...]}
    <split>_split.txt    video label
    <split>_pairs.txt    video1 label1 video2 label2

Columns are separated by white space; CRLF and a missing end of line are accepted. Paths count by their last parts, so
that the authors' absolute prefixes do not matter. Whatever is no row is skipped and counted, never mended.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...runtime.errors import DataError
from ...runtime.listing import SUFFIXES
from ...runtime.manifest_lines import parse_object, read_lines
from .collection import SPLITS, Collection, Item, NamedPair, Split
from .findings import Findings

__all__ = [
    "LABEL_BANK",
    "Layout",
    "compare_count",
    "last_parts",
    "read_json_file",
    "read_label_bank",
    "read_pair_rows",
    "read_published",
    "read_split",
    "rows_of",
]

LABEL_BANK = "label_bank.json"
_FILES = "published files"  # where findings about whole files stand
_SUFFIX = re.compile("|".join(re.escape(suffix) for suffix in sorted(SUFFIXES)), re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What tells one published dataset from another.

    Attributes:
        name: of the format.
        below_label: videos are named label/video, and split files give the video alone; else ids name them.
        task_of: a label's task.
        lists: the files that list a split's videos; of several, the first one that is there counts.
        rows: usable rows of the published files, by file name.
    """

    name: str
    below_label: bool
    task_of: Callable[[str], str]
    lists: Mapping[Split, tuple[str, ...]]
    rows: Mapping[str, int]


def read_label_bank(path: Path) -> dict[str, tuple[str, ...]]:
    """Steps by label.

    Raises:
        DataError: if the file is absent or is no object of lists of texts.
    """
    bank = read_json_file(path)
    if not bank:
        raise DataError(f"{path}: is an empty label bank; fetch the file again")
    for label, steps in bank.items():
        if not isinstance(steps, list) or not steps or not all(isinstance(s, str) and s.strip() for s in steps):
            raise DataError(f"{path}: label {label!r} has no list of step texts; correct it")
    return {label: tuple(step.strip() for step in steps) for label, steps in bank.items()}


def read_json_file(path: Path) -> dict[str, Any]:
    """The object that a published JSON file holds. Raises `DataError`."""
    text = "".join(line for _, line in read_lines(path))
    try:
        return parse_object(text, "fetch the file again")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__


def rows_of(path: Path, num_fields: int, findings: Findings, *, where: str) -> Iterator[tuple[str, list[str]]]:
    """Place (`line 3`) and fields of every line with `num_fields` of them; what names a macOS file is left out."""
    for number, line in read_lines(path):
        fields = line.split()
        place = f"line {number}"
        if not fields:
            findings.add("blank-line", where, place)
        elif len(fields) != num_fields:
            findings.add("field-count", where, place)
        elif any(field.rpartition("/")[2].startswith("._") for field in fields):
            findings.add("macos-file", where, place)
        elif any(
            "\0" in field or {".", ".."} & set(field.split("/")) or not last_parts(field, 1)[0] for field in fields
        ):
            findings.add("bad-name", where, place)
        else:
            yield place, fields


def last_parts(path: str, count: int) -> tuple[str, ...]:
    """The last `count` parts of a path, fewer if it has no more."""
    return tuple(path.rstrip("/").split("/")[-count:])


def _name_in_split(field: str, label: str, layout: Layout) -> str | None:
    """The name of a video of a split file, or None if its folder is not that of its label."""
    *folder, last = last_parts(field, 2)
    if not layout.below_label:
        return last
    suffix = Path(last).suffix
    stem = last.removesuffix(suffix) if _SUFFIX.fullmatch(suffix) else last
    return f"{label}/{stem}" if not folder or folder == [label] else None


def read_split(path: Path, layout: Layout, findings: Findings, *, where: str) -> dict[str, str]:
    """Label by video, in the order of the file.

    Raises:
        DataError: if the file cannot be read.
    """
    label_of: dict[str, str] = {}
    for place, (field, label) in rows_of(path, 2, findings, where=where):
        name = _name_in_split(field, label, layout)
        if name is None:
            findings.add("label-differs", where, place)
        elif label_of.get(name, label) != label:
            findings.add("two-labels", where, place)
        elif name in label_of:
            findings.add("duplicate-row", where, place)
        else:
            label_of[name] = label
    compare_count(len(label_of), layout, findings, where=where)
    return label_of


def read_pair_rows(
    path: Path,
    layout: Layout,
    findings: Findings,
    *,
    labels: frozenset[str],
    label_of: Mapping[str, str] | None,
) -> tuple[NamedPair, ...]:
    """The pairs of a file.

    Args:
        path: the file.
        layout: of the dataset.
        findings: takes what is skipped.
        labels: the labels that there are.
        label_of: label by video of the split; None where its file is absent, then neither videos nor labels are
            looked up.

    Raises:
        DataError: if the file cannot be read.
    """
    where = path.name
    pairs: dict[frozenset[str], NamedPair] = {}
    for place, (field_a, label_a, field_b, label_b) in rows_of(path, 4, findings, where=where):
        names = ["/".join(last_parts(field, 2 if layout.below_label else 1)) for field in (field_a, field_b)]
        both = tuple(zip(names, (label_a, label_b), strict=True))
        key = frozenset(names)
        if label_of is not None and not {label_a, label_b} <= labels:
            findings.add("label-unknown", where, place)
        elif layout.below_label and any(name.rpartition("/")[0] != label for name, label in both):
            findings.add("label-differs", where, place)
        elif label_of is not None and any(name not in label_of for name in names):
            findings.add("video-not-in-split", where, place)
        elif label_of is not None and any(label_of[name] != label for name, label in both):
            findings.add("label-differs", where, place)
        elif len(key) == 1:
            findings.add("pair-of-itself", where, place)
        elif key in pairs:
            findings.add("duplicate-row", where, place)
        else:
            pairs[key] = NamedPair(a=names[0], b=names[1], same=label_a == label_b)
    compare_count(len(pairs), layout, findings, where=where)
    return tuple(pairs.values())


def compare_count(count: int, layout: Layout, findings: Findings, *, where: str) -> None:
    """Note where a file gives more or fewer rows than the published one."""
    published = layout.rows.get(where, count)
    if count != published:
        kind = "rows-fewer" if count < published else "rows-more"
        findings.add(kind, where, f"{count} here, {published} there", count=abs(count - published))


def read_published(layout: Layout, source: Path, findings: Findings) -> Collection:
    """Read the label bank, and the splits and pairs that are there; which are absent is a finding.

    Raises:
        DataError: if `source` is no folder, holds no label bank or no split and no pairs, or a file cannot be read.
    """
    if not source.is_dir():
        raise DataError(f"{source}: is no folder; give the one that holds {LABEL_BANK} of {layout.name}")
    bank = read_label_bank(source / LABEL_BANK)
    listed, files = _read_lists(layout, source, findings)
    labels = frozenset(bank).union(*(label_of.values() for label_of in listed.values()))
    pairs: dict[Split, tuple[NamedPair, ...]] = {}
    for split in SPLITS:
        where = f"{split}_pairs.txt"
        if (source / where).exists():
            label_of = listed.get(split)
            pairs[split] = read_pair_rows(source / where, layout, findings, labels=labels, label_of=label_of)
            files.append(where)
            if label_of is None:
                findings.add("pairs-without-split", where, count=len(pairs[split]))
        elif where in layout.rows:
            findings.add("file-absent", _FILES, where)
    if not listed and not pairs:
        raise DataError(f"{source}: holds no split and no pairs of {layout.name}; give the folder of {LABEL_BANK}")
    if len(listed) == len(layout.lists):
        used = {label for label_of in listed.values() for label in label_of.values()}
        for label in sorted(bank.keys() - used):
            findings.add("label-unused", LABEL_BANK, label)
    splits = {split: _items(label_of, bank, layout) for split, label_of in listed.items()}
    return Collection(name=layout.name, source=source, files=(LABEL_BANK, *files), splits=splits, pairs=pairs)


def _read_lists(layout: Layout, source: Path, findings: Findings) -> tuple[dict[Split, dict[str, str]], list[str]]:
    """Label by video of every split that is there, and the files that were read."""
    listed: dict[Split, dict[str, str]] = {}
    files: list[str] = []
    for split, lists in layout.lists.items():
        there = [where for where in lists if (source / where).exists()]
        for where in lists:
            if where not in there:
                findings.add("file-optional-absent" if there else "file-absent", _FILES, where)
        for where in there:
            label_of = read_split(source / where, layout, findings, where=where)
            if listed.setdefault(split, label_of) != label_of:
                names = sorted({name for name, _ in listed[split].items() ^ label_of.items()})
                findings.add("list-differs", where, names[0], count=len(names))
        files += there
    return listed, files


def _items(label_of: Mapping[str, str], bank: Mapping[str, tuple[str, ...]], layout: Layout) -> tuple[Item, ...]:
    """The videos of a split; no steps where the bank lacks the label."""
    return tuple(
        Item(name=name, steps=bank.get(label, ()), task=layout.task_of(label), procedure=label)
        for name, label in label_of.items()
    )
