"""The readers of the published formats, on made-up files of the published size and on the real ones where they are."""

from __future__ import annotations

import json
from pathlib import Path

import published_files as fake
import pytest
from weaksvr.runtime.errors import DataError, OptionError
from weaksvr.train.datasets.coin_sv import CoinVideo, read_coin_json
from weaksvr.train.datasets.findings import Findings
from weaksvr.train.datasets.formats import PublishedSource, read_source
from weaksvr.train.datasets.published import read_label_bank

REAL = Path(__file__).resolve().parents[4] / "shared" / "annotations"
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the published files are not here")


def read(name, folder, **options):
    findings = Findings()
    collection = read_source(PublishedSource(name=name, folder=folder, **options), findings)
    return collection, {(found.kind, found.where): found for found in findings.listed()}


def counts_of(found):
    return {key: finding.count for key, finding in found.items()}


def numbers(collection):
    splits = {split: len(items) for split, items in collection.splits.items()}
    pairs = {
        split: (
            len(pairs),
            sum(pair.same for pair in pairs),
            len({name for pair in pairs for name in (pair.a, pair.b)}),
        )
        for split, pairs in collection.pairs.items()
    }
    return splits, pairs


@pytest.fixture
def csv_folder(tmp_path):
    fake.write_csv(tmp_path / "CSV")
    return tmp_path / "CSV"


@pytest.fixture
def coin_folder(tmp_path):
    fake.write_coin(tmp_path / "COIN-SV")
    return tmp_path / "COIN-SV"


def test_csv_has_the_published_counts_and_skips_what_is_no_row(csv_folder):
    collection, found = read("csv-sv", csv_folder)
    splits, pairs = numbers(collection)
    assert splits == {"train": 899, "test": 1038}
    assert pairs["train"] == (8531, 8531, 899)
    assert pairs["test"][:2] == (1000, 500)
    assert len(collection.questions) == 798
    assert counts_of(found) == {
        ("macos-file", "train_split.txt"): 2,
        ("macos-file", "test_split.txt"): 1,
        ("blank-line", "train_pairs.txt"): 10,
        ("field-count", "train_pairs.txt"): 23,
        ("macos-file", "splits/text_matching.txt"): 2,
        ("question-repeated", "splits/text_matching.txt"): 25,
    }
    assert {finding.severity for finding in found.values()} == {"note"}
    assert found["macos-file", "splits/text_matching.txt"].examples == ("line 530", "line 679")
    assert found["field-count", "train_pairs.txt"].examples[0] == "line 8533"


def test_csv_names_videos_by_label_and_answers_by_the_folder(csv_folder):
    collection, _ = read("csv-sv", csv_folder)
    items = {item.name: item for split in collection.splits.values() for item in split}
    item = items["13.1/P07"]
    assert (item.task, item.procedure, list(item.steps)) == ("13", "13.1", fake.steps_of("13.1"))
    assert items.keys() == {name for rows in fake.csv_videos() for name, _ in rows}
    rows = [row for row in fake.matching_rows() if "._" not in row[3]]
    assert [(list(q.steps), list(q.names)) for q in collection.questions] == [
        (fake.steps_of(r[0]), r[1:]) for r in rows
    ]
    # The published rule, as the oracle: the answer is the procedure's number minus one.
    assert [q.answer for q in collection.questions] == [int(row[0].split(".")[1]) - 1 for row in rows]


def test_the_copy_without_junk_and_without_splits_reads_the_same(csv_folder):
    first, _ = read("csv-sv", csv_folder)
    for file in ("train.txt", "text_matching.txt", "text_retrieval.txt"):
        (csv_folder / "splits" / file).unlink()
    rows = (csv_folder / "train_pairs.txt").read_text().splitlines()[:8531]
    (csv_folder / "train_pairs.txt").write_text("\n".join(rows) + "\n")
    second, found = read("csv-sv", csv_folder)
    assert (second.splits, second.pairs) == (first.splits, first.pairs)
    assert second.questions == ()
    assert counts_of(found) == {
        ("macos-file", "train_split.txt"): 2,
        ("macos-file", "test_split.txt"): 1,
        ("file-optional-absent", "published files"): 3,
    }


def test_the_unpaired_list_stands_in_for_the_split_file(csv_folder):
    first, _ = read("csv-sv", csv_folder)
    (csv_folder / "train_split.txt").unlink()
    (csv_folder / "splits" / "text_matching.txt").unlink()
    second, found = read("csv-sv", csv_folder)
    assert second.splits == first.splits
    assert found["file-optional-absent", "published files"].examples == ("train_split.txt", "splits/text_matching.txt")
    assert second.questions == first.questions[:125]  # text_retrieval.txt, the first 125 rows


def test_two_lists_of_one_split_that_differ_are_a_problem(csv_folder):
    text = (csv_folder / "splits" / "train.txt").read_bytes().replace(b"7.1/P00\t7.1", b"7.1/P77\t7.1")
    (csv_folder / "splits" / "train.txt").write_bytes(text)
    found = read("csv-sv", csv_folder)[1]["list-differs", "splits/train.txt"]
    assert (found.count, found.severity, found.examples) == (2, "problem", ("7.1/P00",))


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("4.5/S00 4.4 4.5/S01 4.5", "label-differs"),
        ("4.5/S00 99.9 4.5/S01 4.5", "label-unknown"),
        ("4.5/S99 4.5 4.5/S01 4.5", "video-not-in-split"),
        ("4.5/S01 4.5 4.5/S01 4.5", "pair-of-itself"),
        ("4.5/../S01 4.5 4.5/S01 4.5", "bad-name"),
        ("/elsewhere/4.5/S01 4.5 4.5/ 4.5", "label-differs"),
    ],
)
def test_a_wrong_pair_is_counted_with_its_reason(csv_folder, row, kind):
    path = csv_folder / "test_pairs.txt"
    path.write_text(path.read_text().partition("\n")[2] + row)
    collection, found = read("csv-sv", csv_folder)
    assert found[kind, "test_pairs.txt"].examples == ("line 1000",)
    assert found[kind, "test_pairs.txt"].severity == "problem"
    assert len(collection.pairs["test"]) == 999
    assert found["rows-fewer", "test_pairs.txt"].text == (
        "test_pairs.txt: 1 rows fewer than in the published file: 999 here, 1000 there"
    )


def test_a_pair_that_stands_before_the_other_way_round_is_kept_once(csv_folder):
    path = csv_folder / "test_pairs.txt"
    a, x, b, y = path.read_text().splitlines()[0].split()
    path.write_text(path.read_text() + f"{b} {y} {a} {x}")
    collection, found = read("csv-sv", csv_folder)
    assert found["duplicate-row", "test_pairs.txt"].examples == ("line 1001",)
    assert len(collection.pairs["test"]) == 1000


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("1.2 1.1/S00 1.3/S00 1.4/S00 1.5/S00 1.3/S01", "answer-unknown"),
        ("1.2 1.1/S00 1.2/S00 1.2/S01 1.4/S00 1.5/S00", "answer-unknown"),
        ("1.2 1.1/S00 1.2/S00 1.3/S00 1.3/S00 1.5/S00", "answer-unknown"),
        ("1.9 1.1/S00 1.2/S00 1.3/S00 1.4/S00 1.5/S00", "label-unknown"),
        ("1.2 1.1/S00 1.2/S00 1.3/S00 1.4/S00 1.5/S99", "video-not-in-split"),
        ("1.2 1.1/S00 1.2/S00 1.3/S00 1.4/S00", "field-count"),
    ],
)
def test_a_wrong_question_is_counted_with_its_reason(csv_folder, row, kind):
    with (csv_folder / "splits" / "text_matching.txt").open("a") as file:
        file.write(row)
    collection, found = read("csv-sv", csv_folder)
    assert found[kind, "splits/text_matching.txt"].examples == ("line 801",)
    assert len(collection.questions) == 798


@pytest.mark.parametrize(
    ("row", "kind"), [("P00.mp4 7.1", "duplicate-row"), ("7.2/P50 7.1", "label-differs"), ("a b c", "field-count")]
)
def test_a_wrong_row_of_a_split_is_counted_with_its_reason(csv_folder, row, kind):
    with (csv_folder / "train_split.txt").open("a") as file:
        file.write(row)
    collection, found = read("csv-sv", csv_folder)
    assert found[kind, "train_split.txt"].examples == ("line 902",)
    assert len(collection.splits["train"]) == 899


def test_coin_has_the_published_counts_and_no_training_text(coin_folder):
    collection, found = read("coin-sv", coin_folder)
    splits, pairs = numbers(collection)
    assert splits == {"train": 1221, "val": 442, "test": 451}
    assert {split: pairs[split][:2] for split in pairs} == {
        "train": (21741, 21741),
        "val": (400, 200),
        "test": (1000, 500),
    }
    assert len({item.task for item in collection.splits["train"]}) == 36
    assert len({item.procedure for item in collection.splits["test"]}) == 268
    assert counts_of(found) == {("no-text", "train"): 1221}
    assert found["no-text", "train"].severity == "problem"
    assert found["no-text", "train"].examples[0] == "-0000000000 (label 15.3)"


def test_coin_json_gives_the_training_texts(coin_folder, tmp_path):
    labels = {name: label for rows in fake.coin_videos().values() for name, label in rows}
    file = fake.write_coin_json(tmp_path / "COIN.json", labels)
    collection, found = read("coin-sv", coin_folder, coin_json=file)
    assert found == {}
    for items in collection.splits.values():
        assert {item.name: list(item.steps) for item in items} == {
            item.name: fake.steps_of(item.procedure) for item in items
        }
        assert {(item.start, item.end) for item in items} == {(None, None)}  # cut out before, as in the published way
    whole, _ = read("coin-sv", coin_folder, coin_json=file, uncut=True)
    assert {(item.start, item.end) for items in whole.splits.values() for item in items} == {(5.0, 45.0)}


def test_coin_json_that_does_not_fit_is_told_and_never_used(coin_folder, tmp_path):
    videos = fake.coin_videos()
    labels = {name: label for rows in videos.values() for name, label in rows}
    (gone, _), (other_task, _), (other_steps, label) = videos["train"][:3]
    tested = videos["test"][0][0]
    del labels[gone]
    steps = {"annotation": [{"label": "a new step"}]}
    changed = {
        other_task: fake.coin_entry("151.0"),
        other_steps: fake.coin_entry(label) | steps,
        tested: fake.coin_entry(videos["test"][0][1]) | steps,
    }
    file = fake.write_coin_json(tmp_path / "COIN.json", labels, **changed)
    collection, found = read("coin-sv", coin_folder, coin_json=file)
    train = {item.name: item.steps for item in collection.splits["train"]}
    assert (train[gone], train[other_task], train[other_steps]) == ((), (), ("a new step",))
    assert list(collection.splits["test"][0].steps) == fake.steps_of(videos["test"][0][1])  # the bank's
    assert {key: finding.examples for key, finding in found.items()} == {
        ("coin-absent", "train"): (gone,),
        ("coin-task-differs", "train"): (f"{other_task} (151, not 15)",),
        ("coin-steps-vary", "train"): ("15.3 (2 sequences)",),
        ("coin-bank-differs", "test"): (tested,),
        ("no-text", "train"): (f"{gone} (label 15.3)", f"{other_task} (label 15.3)"),
    }
    whole, found = read("coin-sv", coin_folder, coin_json=file, uncut=True)
    assert found["coin-part-unknown", "train"].count == 2
    assert not {gone, other_task} & {item.name for item in whole.splits["train"]}


def test_diving_has_the_published_counts(tmp_path):
    fake.write_diving(tmp_path)
    collection, found = read("diving48-sv", tmp_path)
    splits, pairs = numbers(collection)
    assert splits == {"train": 6035, "val": 3024, "test": 7938}
    assert {split: pairs[split][:2] for split in pairs} == {
        "train": (50000, 50000),
        "val": (400, 200),
        "test": (1000, 500),
    }
    assert counts_of(found) == {("label-unused", "label_bank.json"): 1}
    assert found["label-unused", "label_bank.json"].examples == ("30",)
    assert {item.task for items in collection.splits.values() for item in items} == {"diving"}


def test_a_video_under_two_labels_and_a_cut_file_are_told(tmp_path):
    fake.write_diving(tmp_path)
    path = tmp_path / "val_split.txt"
    first = path.read_text().splitlines()[0].split()[0]
    path.write_text("\n".join([*path.read_text().splitlines()[:3000], f"{first} 47"]))
    _, found = read("diving48-sv", tmp_path)
    assert found["two-labels", "val_split.txt"].examples == ("line 3001",)
    assert found["rows-fewer", "val_split.txt"].count == 24


@needs_real_files
@pytest.mark.parametrize(
    ("name", "folder", "labels", "least", "most", "strings"),
    [
        ("csv-sv", "CSV", 70, 5, 16, 105),
        ("coin-sv", "COIN-SV", 553, 3, 21, 130),
        ("diving48-sv", "DIVING48-SV", 48, 4, 4, 24),
    ],
)
def test_real_label_banks(name, folder, labels, least, most, strings):
    bank = read_label_bank(REAL / folder / "label_bank.json")
    lengths = [len(steps) for steps in bank.values()]
    assert (len(bank), min(lengths), max(lengths)) == (labels, least, most)
    assert len({step for steps in bank.values() for step in steps}) == strings


@needs_real_files
@pytest.mark.parametrize(
    ("name", "folder", "test", "labels_in_pairs", "pairs"),
    [
        ("coin-sv", "COIN-SV", (451, 34, 268), 229, {"val": (400, 200, 303), "test": (1000, 500, 412)}),
        ("diving48-sv", "DIVING48-SV", (7938, 1, 19), 19, {"val": (400, 200, 708), "test": (1000, 500, 1740)}),
    ],
)
def test_real_lists(name, folder, test, labels_in_pairs, pairs):
    collection, found = read(name, REAL / folder)
    items = collection.splits["test"]
    assert (len(items), len({i.task for i in items}), len({i.procedure for i in items})) == test
    assert numbers(collection)[1] == pairs
    assert all(item.steps for item in items)
    assert counts_of(found) == {("file-absent", "published files"): 3, ("pairs-without-split", "val_pairs.txt"): 400}
    label_of = {item.name: item.procedure for item in items}
    paired = {label_of[video] for pair in collection.pairs["test"] for video in (pair.a, pair.b)}
    assert len(paired) == labels_in_pairs


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"label_bank.json: is not JSON"),
        ("[]", r"is not a JSON object"),
        ("{}", r"is an empty label bank"),
        ('{"1.1": []}', r"label '1.1' has no list of step texts"),
        ('{"1.1": ["a", " "]}', r"label '1.1' has no list of step texts"),
        ('{"1.1": ["a"], "1.1": ["b"]}', r"key '1.1' stands twice"),
    ],
)
def test_a_damaged_label_bank_is_refused(tmp_path, content, message):
    (tmp_path / "label_bank.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read("csv-sv", tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (7, "is not an object"),
        ({}, "has no recipe_type"),
        ({"recipe_type": True, "annotation": [{"label": "a"}]}, "has no recipe_type"),
        ({"recipe_type": 1}, "has no list 'annotation' with steps"),
        ({"recipe_type": 1, "annotation": [{"label": ""}]}, "has an annotation without a label"),
        ({"recipe_type": 1, "annotation": [{"label": "a"}], "start": -1}, "start is -1; give seconds"),
        (
            {"recipe_type": 1, "annotation": [{"label": "a"}], "start": 5, "end": 5},
            "ends at 5.0 s, not after its start",
        ),
    ],
)
def test_a_damaged_coin_json_is_refused(tmp_path, entry, message):
    path = tmp_path / "COIN.json"
    path.write_text(json.dumps({"database": {"abc": entry}}))
    with pytest.raises(DataError, match=rf"COIN.json: video 'abc' {message}"):
        read_coin_json(path)
    path.write_text("{}")
    with pytest.raises(DataError, match="has no object 'database' with the videos"):
        read_coin_json(path)


def test_a_video_of_coin_json(tmp_path):
    path = fake.write_coin_json(tmp_path / "COIN.json", {"abc": "12.3"})
    steps = tuple(fake.steps_of("12.3"))
    assert read_coin_json(path) == {"abc": CoinVideo(task="12", steps=steps, start=5.0, end=45.0)}


def test_a_folder_that_is_none_or_lacks_everything_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone: is no folder; give the one that holds label_bank.json of csv-sv"):
        read("csv-sv", tmp_path / "gone")
    fake.write_bank(tmp_path, ["1.1"])
    with pytest.raises(DataError, match="holds no split and no pairs of csv-sv"):
        read("csv-sv", tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("coin", {}, "format 'coin' is not known; use one of csv-sv, coin-sv, diving48-sv"),
        ("csv-sv", {"uncut": True}, "--coin-json and --uncut are of coin-sv alone"),
        ("diving48-sv", {"coin_json": Path("a")}, "--coin-json and --uncut are of coin-sv alone"),
        ("coin-sv", {"uncut": True}, "--uncut takes start and end of every video from COIN.json"),
        ("coin-sv", {"kind": "files"}, "--kind files says what is looked for in --videos DIR"),
    ],
)
def test_options_that_do_not_fit(name, options, message):
    with pytest.raises(OptionError, match=message):
        PublishedSource(name=name, folder=Path(), **options)
