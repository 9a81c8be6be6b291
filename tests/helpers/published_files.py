"""Made-up files in the published formats, of the published size and with the published oddities."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PREFIX = "/storage/data/someone/dataset/CSV/frames"
# fmt: off
COIN_LABELS = (
    "15.3", "18.0", "28.14", "33.2", "58.1", "61.0", "64.0", "71.0", "76.0", "79.0", "87.0", "88.0", "90.1",
    "94.3", "105.0", "108.0", "109.2", "121.0", "122.0", "123.1", "125.0", "126.1", "128.1", "130.0", "137.0",
    "140.0", "141.0", "142.0", "143.2", "145.1", "146.0", "157.0", "157.2", "159.0", "163.0", "166.0", "168.4",
)
# fmt: on
Rows = Iterable[tuple[str, str]]


def steps_of(label: str) -> list[str]:
    return [f"take part {label}", "turn it", f"put down part {label}"]


def write_rows(path: Path, rows: Iterable[Sequence[str]], *, end: str = "\n", last: str = "\n", tab: str = " ") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(tab.join(row) for row in rows) + last).encode())


def write_bank(folder: Path, labels: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "label_bank.json").write_text(json.dumps({label: steps_of(label) for label in labels}, indent=4))


def same_pairs(videos: Rows, count: int | None = None) -> list[tuple[str, str, str, str]]:
    found = ((a, x, b, y) for (a, x), (b, y) in itertools.combinations(videos, 2) if x == y)
    return list(itertools.islice(found, count))


def pairs_of(videos: Sequence[tuple[str, str]], each: int) -> list[tuple[str, str, str, str]]:
    """As many same pairs, first, as different ones of the same task."""
    different = (
        (a, x, b, y)
        for (a, x), (b, y) in itertools.combinations(videos, 2)
        if x != y and x.partition(".")[0] == y.partition(".")[0]
    )
    found = same_pairs(videos, each) + list(itertools.islice(different, each))
    assert len(found) == 2 * each
    return found


def csv_videos() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(name, label) of the 899 training and 1038 test videos."""
    tasks = [task for task in range(1, 16) if task != 6]
    labels = [f"{task}.{way}" for task in tasks for way in range(1, 6)]
    train, test = [], []
    for place, label in enumerate(labels[25:]):
        train += [(f"{label}/P{number:02}", label) for number in range(19 if place == 0 else 20)]
    for place, label in enumerate(labels[:25]):
        test += [(f"{label}/S{number:02}", label) for number in range(42 if place < 13 else 41)]
    return train, test


def matching_rows() -> list[list[str]]:
    """800 rows; 25 of them repeat others, and rows 530 and 679 name a macOS file."""
    rows = []
    for number in range(800):
        task, way = divmod(number % 25, 5)
        videos = [f"{task + 1}.{other}/S{number % 775 // 25:02}" for other in range(1, 6)]
        rows.append([f"{task + 1}.{way + 1}", *videos])
    for number in (530, 679):
        rows[number - 1][3] = "1.3/._S40"
    return rows


def write_csv(folder: Path) -> None:
    train, test = csv_videos()
    write_bank(folder, dict.fromkeys(label for _, label in test + train))
    junk = [("._P07.mp4", "13.1"), ("._P09.mp4", "13.1")]
    rows = [(f"{name.split('/')[1]}.mp4", label) for name, label in train]
    write_rows(folder / "train_split.txt", [*rows[:600], *junk, *rows[600:]])
    tested = [(f"{name.split('/')[1]}.MP4", label) for name, label in test]
    write_rows(folder / "test_split.txt", [*tested, ("._S03.MP4", "1.3")])
    template = [(f"{PREFIX}/5.5/S00", "5.5", f"{PREFIX}/5.4/S00", "5.4", "0")] * 20
    tail = [(), *template, ("..",), (), ("5.5",), *[()] * 8, ("25*4", ":=", "100")]
    assert len(tail) == 33
    write_rows(folder / "train_pairs.txt", [*same_pairs(train), *tail], last="")
    write_rows(folder / "test_pairs.txt", pairs_of(test, 500))
    absolute = [(f"{PREFIX}/{name}", label) for name, label in train]
    write_rows(folder / "splits" / "train.txt", absolute, end="\r\n", last="\r\n", tab="\t")
    write_rows(folder / "splits" / "text_matching.txt", matching_rows(), end="\r\n", last="\r\n")
    write_rows(folder / "splits" / "text_retrieval.txt", matching_rows()[:125], end="\r\n", last="\r\n")


def spread(labels: Sequence[str], sizes: Sequence[int], prefix: str) -> list[tuple[str, str]]:
    """Ids of 10 digits behind the prefix, which may begin with a dash, as some ids do."""
    found: list[tuple[str, str]] = []
    for label, size in zip(labels, sizes, strict=True):
        found += [(f"{prefix}{len(found) + number:010}", label) for number in range(size)]
    return found


def coin_videos() -> dict[str, list[tuple[str, str]]]:
    tasks = list(dict.fromkeys(label.partition(".")[0] for label in COIN_LABELS))
    unseen = [f"{task}.{way}" for way in range(50, 70) for task in tasks]
    test, val = unseen[:268], unseen[268 : 268 + 285]
    return {
        "train": spread(COIN_LABELS, [21] * 18 + [44] * 12 + [45] * 7, "-"),
        "val": spread(val, [158] + [1] * 284, "v"),
        "test": spread(test, [184] + [1] * 267, "t"),
    }


def write_coin(folder: Path) -> None:
    videos = coin_videos()
    write_bank(folder, dict.fromkeys(label for split in ("test", "val") for _, label in videos[split]))
    for split, rows in videos.items():
        write_rows(folder / f"{split}_split.txt", rows, last="" if split == "train" else "\n")
    write_rows(folder / "train_pairs.txt", same_pairs(videos["train"], 21741))
    write_rows(folder / "val_pairs.txt", pairs_of(videos["val"], 200))
    write_rows(folder / "test_pairs.txt", pairs_of(videos["test"], 500))


def coin_entry(label: str, *, start: float = 5.0, end: float = 45.0) -> dict[str, object]:
    parts = [{"id": str(n), "segment": [9.0 * n, 9.0 * n + 5], "label": step} for n, step in enumerate(steps_of(label))]
    task = int(label.partition(".")[0])
    return {"recipe_type": task, "start": start, "end": end, "duration": 60.0, "subset": "x", "annotation": parts}


def write_coin_json(path: Path, videos: Mapping[str, str], **changed: dict[str, object]) -> Path:
    database = {name: coin_entry(label) for name, label in videos.items()}
    path.write_text(json.dumps({"database": database | changed}))
    return path


def write_diving(folder: Path) -> None:
    """Class 30 has no video, as in the published lists."""
    write_bank(folder, map(str, range(48)))
    classes = {"train": [*range(20)], "val": [*range(40, 48)], "test": [n for n in range(20, 40) if n != 30]}
    totals = {"train": 6035, "val": 3024, "test": 7938}
    for split, numbers in classes.items():
        sizes = [totals[split] - 100 * (len(numbers) - 1)] + [100] * (len(numbers) - 1)
        videos = spread([str(number) for number in numbers], sizes, "-mmq0PT-u8k_")
        write_rows(folder / f"{split}_split.txt", videos, last="" if split == "train" else "\n")
        each = {"train": 50000, "val": 200, "test": 500}[split]
        # One task: all pairs of different classes are of the same task.
        different = [(a, x, b, y) for (a, x), (b, y) in zip(videos[:each], videos[-each:], strict=True) if x != y]
        rows = same_pairs(videos, each) + (different if split != "train" else [])
        write_rows(folder / f"{split}_pairs.txt", rows, last="" if split == "train" else "\n")
