"""CSV: labels TASK.PROCEDURE, videos in a folder for each label, and questions that match a script with videos.

It has no validation set. Its lists are `train_split.txt` and `test_split.txt`; `splits/train.txt` is the training list
once more, without rows of macOS files, in the copy of WeakSVR alone.
"""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path

from .collection import Collection
from .csv_matching import MATCHING_FILES, read_csv_matching
from .findings import Findings
from .published import LABEL_BANK, Layout, read_label_bank, read_published

__all__ = ["CSV_SV", "read_csv_sv"]

CSV_SV = Layout(
    name="csv-sv",
    below_label=True,
    task_of=lambda label: label.partition(".")[0],
    lists=types.MappingProxyType({"train": ("train_split.txt", "splits/train.txt"), "test": ("test_split.txt",)}),
    rows=types.MappingProxyType(
        {
            "train_split.txt": 899,
            "splits/train.txt": 899,
            "test_split.txt": 1038,
            "train_pairs.txt": 8531,
            "test_pairs.txt": 1000,
            "splits/text_matching.txt": 798,
            "splits/text_retrieval.txt": 125,
        }
    ),
)


def read_csv_sv(source: Path, findings: Findings) -> Collection:
    """Read the folder of CSV's files, the matching questions among them.

    Raises:
        DataError: as `read_published` does.
    """
    collection = read_published(CSV_SV, source, findings)
    there = [where for where in MATCHING_FILES if (source / where).exists()]
    for where in MATCHING_FILES:
        if where not in there:
            findings.add("file-optional-absent", "published files", where)
    if not there:
        return collection
    test = collection.splits.get("test")
    questions = read_csv_matching(
        source / there[0],
        CSV_SV,
        findings,
        where=there[0],
        bank=read_label_bank(source / LABEL_BANK),
        known=None if test is None else frozenset(item.name for item in test),
    )
    return dataclasses.replace(collection, questions=questions, files=(*collection.files, there[0]))
