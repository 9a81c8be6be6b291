"""Diving48-SV: class numbers as labels, four attributes as steps, videos by the ids of Diving48."""

from __future__ import annotations

import types
from pathlib import Path

from .collection import Collection
from .findings import Findings
from .published import Layout, read_published

__all__ = ["DIVING48_SV", "read_diving48_sv"]

DIVING48_SV = Layout(
    name="diving48-sv",
    below_label=False,
    task_of=lambda _: "diving",
    lists=types.MappingProxyType(
        {"train": ("train_split.txt",), "val": ("val_split.txt",), "test": ("test_split.txt",)}
    ),
    rows=types.MappingProxyType(
        {
            "train_split.txt": 6035,
            "val_split.txt": 3024,
            "test_split.txt": 7938,
            "train_pairs.txt": 50000,
            "val_pairs.txt": 400,
            "test_pairs.txt": 1000,
        }
    ),
)


def read_diving48_sv(source: Path, findings: Findings) -> Collection:
    """Read the folder of Diving48-SV's files. Raises `DataError` as `read_published` does."""
    return read_published(DIVING48_SV, source, findings)
