from __future__ import annotations

import csv
from pathlib import Path

import pytest
from weaksvr.runtime.errors import OutputError
from weaksvr.runtime.inspection import Inspection
from weaksvr.runtime.inspection_table import COLUMNS, InspectionTable
from weaksvr.runtime.video_part import VideoPart

RUN = "0123456789abcdef" * 4


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path / "results.csv"


def found(part, **changes):
    values = {"verdict": "same", "reference": "r.mp4", "distance": 0.1, "threshold": 0.25, "margin": 0.15, **changes}
    return Inspection(recording=part.path, start=part.start, end=part.end, probability=1 / 3, **values)


def signature(part):
    status = Path(part.path).stat()
    return status.st_size, status.st_mtime_ns


def rows_of(out):
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


A, B = VideoPart(path="a.mp4"), VideoPart(path="b.mp4", start=1, end=2.5)


def test_rows_stand_in_the_order_that_is_asked_for(out):
    with InspectionTable(out, run=RUN) as table:
        for part in (B, A):
            table.add(part, found(part, notes=("one; two", "three")), signature(part))
        assert not out.exists()
        assert len(rows_of(out.with_name("results.csv.part"))) == 2
        table.finish([A, B])
    rows = rows_of(out)
    assert tuple(rows[0]) == COLUMNS
    assert [row["recording"] for row in rows] == ["a.mp4", "b.mp4"]
    assert [rows[1][name] for name in ("start", "end", "margin", "notes")] == ["1.0", "2.5", "0.15", "one; two | three"]
    assert float(rows[0]["probability"]) == 1 / 3
    assert sorted(path.name for path in out.parent.iterdir()) == ["a.mp4", "b.mp4", "results.csv"]


@pytest.mark.parametrize("finished", [True, False])
def test_what_was_found_is_taken_over(out, finished):
    one = found(A, notes=("one; two", "three"), reference="'=r.mp4")
    with InspectionTable(out, run=RUN) as table:
        table.add(A, one, signature(A))
        if finished:
            table.finish([A])
    with InspectionTable(out, run=RUN) as table:
        assert table.reuse(A) == one
        assert table.reuse(B) is None
        assert table.reuse(VideoPart(path="a.mp4", start=1)) is None
        table.add(B, found(B), signature(B))
        table.finish([B, A])
    assert [row["recording"] for row in rows_of(out)] == ["b.mp4", "a.mp4"]


def test_a_line_that_was_cut_off_does_not_count(out):
    with InspectionTable(out, run=RUN) as table:
        table.add(A, found(A), signature(A))
        table.add(B, found(B), signature(B))
    part = out.with_name("results.csv.part")
    whole = part.read_bytes()
    for length in range(1, len(whole)):
        part.write_bytes(whole[:length])
        with InspectionTable(out, run=RUN) as table:
            again = [table.reuse(one) is not None for one in (A, B)]
        lines = whole[:length].count(b"\n")
        assert again == [lines >= 2, lines >= 3]
        assert part.exists() is (lines >= 2)


def test_changed_recordings_changed_rows_and_failures_are_done_again(out):
    with InspectionTable(out, run=RUN) as table:
        table.add(A, found(A), signature(A))
        table.add(B, Inspection(recording="b.mp4", start=1, end=2.5, error="b.mp4: is odd"), signature(B))
        table.finish([A, B])
    text = out.read_text()
    with InspectionTable(out, run=RUN) as table:
        assert table.reuse(B) is None
        assert table.reuse(A) is not None
    out.write_text(text.replace('"same"', '"different"'))
    with InspectionTable(out, run=RUN) as table:
        assert table.reuse(A) is None
    out.write_text(text)
    (out.parent / "a.mp4").write_bytes(b"longer")
    with InspectionTable(out, run=RUN) as table:
        assert table.reuse(A) is None


@pytest.mark.parametrize("finished", [True, False])
def test_another_run_is_refused_or_replaced(out, finished):
    with InspectionTable(out, run=RUN) as table:
        table.add(A, found(A), signature(A))
        if finished:
            table.finish([A])
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    with (
        pytest.raises(OutputError, match=r"was begun with other references, .* give --fresh"),
        InspectionTable(out, run="f" * 64),
    ):
        pass
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before
    with InspectionTable(out, run="f" * 64, fresh=True) as table:
        assert table.reuse(A) is None
        table.add(A, found(A), signature(A))
        table.finish([A])
    assert [row["run"] for row in rows_of(out)] == ["f" * 16]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\uff1d1", "'=1", "a;=1", 'a",=1', "a\n=1", "\udcff"],
)
def test_no_text_is_a_formula_or_a_line_of_its_own(out, text):
    part = VideoPart(path=f"{text}.mp4")
    with InspectionTable(out, run=RUN) as table:
        table.add(part, found(part, notes=(text,), reference=text, error=text), None)
        table.finish([part])
    data = out.read_text(encoding="utf-8")
    assert data.count("\n") == 2
    (row,) = rows_of(out)
    for name in ("recording", "reference", "error", "notes"):
        assert row[name].lstrip()[0] not in "=+-@\uff1d"
        assert row[name].isprintable()


def test_files_that_are_not_ours(out, tmp_path):
    for data in (b"a,b\n1,2\n", b"\xff\xfe", b'"recording\n'):
        out.write_bytes(data)
        with (
            pytest.raises(OutputError, match="is not a file of weaksvr-verify"),
            InspectionTable(out, run=RUN, fresh=True),
        ):
            pass
        assert out.read_bytes() == data
    with pytest.raises(OutputError, match="there is no folder"), InspectionTable(tmp_path / "no" / "r.csv", run=RUN):
        pass
    with pytest.raises(OutputError, match="is not a file; choose another name"), InspectionTable(tmp_path, run=RUN):
        pass


def test_one_process_at_a_time(out):
    pytest.importorskip("fcntl")
    with InspectionTable(out, run=RUN):
        with pytest.raises(OutputError, match="is being written by another process"), InspectionTable(out, run=RUN):
            pass
        assert out.with_name("results.csv.part").exists()
