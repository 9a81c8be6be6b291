from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from weaksvr.runtime.embedder import VideoEmbedding
from weaksvr.runtime.embedding_store import EmbeddingStore, signature_of
from weaksvr.runtime.embedding_table import EmbeddingTable, TableLayout
from weaksvr.runtime.errors import OutputError, VideoError
from weaksvr.runtime.identity import ModelIdentity
from weaksvr.runtime.pipeline import StreamedVideo

D, T = 3, 4


def identity(**changes):
    names = ("bundle", "vision", "temporal", "precision", "provider", "sampling", "preprocess", "versions")
    return ModelIdentity(**{**dict.fromkeys(names, "x"), **changes})


def layout(*, frames=False, **changes):
    return TableLayout(identity=identity(**changes), dimensions=D, frames=frames, folder=str(Path.cwd()))


def embedded(path, number=0):
    rng = np.random.default_rng(number)
    embedding = VideoEmbedding(
        path=str(path),
        vector=rng.normal(size=D).astype(np.float32),
        frame_features=rng.normal(size=(T, D)).astype(np.float32),
        indices=np.arange(T) * 2,
        times_seconds=np.arange(T) / 5,
        notes=("a note",),
    )
    return StreamedVideo(path=str(path), embedding=embedding, num_frames=9, duration_seconds=1.8)


def failed(path):
    return StreamedVideo(path=str(path), error=VideoError(f"{path}: is bad"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Relative paths of ten files."""
    monkeypatch.chdir(tmp_path)
    for number in range(10):
        Path(f"{number}.mp4").write_bytes(bytes(number + 1))
    return [f"{number}.mp4" for number in range(10)]


def store(out="out.parquet", *, rows=3, fresh=False, **changes):
    return EmbeddingStore(Path(out), layout(**changes), rows_at_a_time=rows, fresh=fresh)


def write(files, *, out="out.parquet", **options):
    with store(out, **options) as kept:
        for number, file in enumerate(files):
            kept.add(embedded(file, number), signature_of(Path(file)))
        kept.finish(files)


def stop(videos):
    """A run that is interrupted after these videos."""
    with contextlib.suppress(KeyboardInterrupt), store() as kept:
        for video in videos:
            kept.add(video, signature_of(Path(video.path)))
        raise KeyboardInterrupt


@pytest.mark.parametrize("frames", [False, True])
def test_what_was_added_is_there(files, frames):
    with store(frames=frames) as kept:
        for number, file in enumerate(files[:4]):
            kept.add(embedded(file, number), signature_of(Path(file)))
        kept.add(failed("no.mp4"), None)
        assert not Path("out.parquet").exists()
        kept.finish([*files[:4], "no.mp4"])
    assert not Path("out.parquet.part").exists()
    table = pq.read_table("out.parquet")
    assert table["video"].to_pylist() == [*files[:4], "no.mp4"]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), D)
    row = table.slice(2, 1).to_pylist()[0]
    expected = embedded(files[2], 2)
    np.testing.assert_array_equal(np.float32(row["vector"]), expected.embedding.vector)
    if frames:
        np.testing.assert_array_equal(np.float32(row["frame_features"]), expected.embedding.frame_features)
    else:
        assert "frame_features" not in row
    assert (row["indices"], row["num_frames"], row["duration_seconds"]) == ([0, 2, 4, 6], 9, 1.8)
    np.testing.assert_array_equal(row["times_seconds"], np.arange(T) / 5)
    assert (row["notes"], row["error"], row["bytes"], row["precision"]) == (["a note"], None, 3, "x")
    assert row["modified_ns"] == Path(files[2]).stat().st_mtime_ns
    assert row["model"] == identity().digest
    last = table.slice(4, 1).to_pylist()[0]
    assert last["error"] == "no.mp4: is bad"
    assert last["vector"] is last["indices"] is last["bytes"] is last["num_frames"] is None
    assert last["notes"] == []


def test_rows_of_a_finished_file_are_reused_in_any_order(files):
    write(files)
    wanted = [files[number] for number in (7, 0, 9, 3, 1)]
    with store() as kept:
        assert [kept.reuse(file) for file in wanted] == [True] * 5
        assert not kept.reuse("other.mp4")
        kept.add(embedded("other.mp4", 77), None)
        kept.finish(["other.mp4", *wanted])
    table = pq.read_table("out.parquet")
    assert table["video"].to_pylist() == ["other.mp4", *wanted]
    for row, number in zip(table["vector"].to_pylist(), (77, 7, 0, 9, 3, 1), strict=True):
        np.testing.assert_array_equal(np.float32(row), embedded("", number).embedding.vector)


def test_what_a_stopped_run_had_done_is_reused(files):
    stop([*(embedded(file, number) for number, file in enumerate(files[:5])), failed(files[5])])
    assert not Path("out.parquet").exists()
    assert not list(Path("out.parquet.part").glob(".*"))
    with store() as kept:
        assert [kept.reuse(file) for file in files[:7]] == [True] * 5 + [False] * 2  # a failure is tried again
        kept.add(embedded(files[5], 5), signature_of(Path(files[5])))
        kept.finish(files[:6])
    assert pq.read_table("out.parquet")["video"].to_pylist() == files[:6]


def test_another_folder_names_other_files(files, tmp_path, monkeypatch):
    write(files)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in files:
        shutil.copy2(file, copy)
    monkeypatch.chdir(copy)
    with store("../out.parquet") as kept:
        assert not kept.reuse(files[0])
        assert kept.reuse(f"../{files[0]}") is False  # written as it would have to be, were `..` followed blindly
        assert kept.reuse(str(tmp_path / files[0]))


@pytest.mark.parametrize("change", ["content", "time", "gone", "model", "fresh"])
def test_what_is_not_the_same_is_not_reused(files, change):
    write(files)
    path = Path(files[0])
    status = path.stat()
    if change == "content":
        path.write_bytes(bytes(99))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "gone":
        path.unlink()
    options = {"model": {"vision": "y"}, "fresh": {"fresh": True}}.get(change, {})
    with store(**options) as kept:
        assert not kept.reuse(files[0])
        assert kept.reuse(files[1]) is (change not in ("model", "fresh"))
        assert len(kept.notes) == (change == "model")
    assert pq.read_table("out.parquet").num_rows == 10
    assert not Path("out.parquet.part").exists()


def test_frames_are_wanted_now_or_no_more(files):
    write(files)
    with store(frames=True) as kept:
        assert not kept.reuse(files[0])
        assert "comes from another model or other options and is not reused" in kept.notes[0]
    write(files, frames=True)
    with store() as kept:
        assert kept.reuse(files[0])
        kept.finish(files[:1])
    assert "frame_features" not in pq.read_table("out.parquet").schema.names


def test_a_damaged_part_is_done_again(files):
    stop([embedded(files[0])])
    (part,) = Path("out.parquet.part").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    with store() as kept:
        assert not kept.reuse(files[0])


def test_a_folder_of_frames_is_known_by_its_frames(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(10))
    (tmp_path / "notes.txt").write_bytes(bytes(5))
    before = signature_of(tmp_path)
    assert before == (20, max(path.stat().st_mtime_ns for path in tmp_path.glob("*.jpg")))
    (tmp_path / "notes.txt").write_bytes(bytes(9))
    assert signature_of(tmp_path) == before
    (tmp_path / "3.jpg").write_bytes(bytes(10))
    assert signature_of(tmp_path) != before
    assert signature_of(tmp_path / "none") is None


def test_names_that_are_no_text(files):
    path = os.fsdecode(b"\xff.mp4")
    with store() as kept:
        kept.add(embedded(path), None)
        kept.add(failed("ü.mp4"), None)
        kept.finish([path, "ü.mp4"])
    assert pq.read_table("out.parquet")["video"].to_pylist() == ["\\xff.mp4", "ü.mp4"]


OTHERS = {
    "text": lambda path: path.write_text("mine"),
    "empty": lambda path: path.touch(),
    "a foreign table": lambda path: pq.write_table(pa.table({"a": [1]}), path),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_the_file_of_another_program_is_not_replaced(files, make):
    out = Path("out.parquet")
    make(out)
    before = out.read_bytes()
    with pytest.raises(OutputError, match=r"out\.parquet: is damaged, or not written by weaksvr-embed"), store():
        pass
    assert out.read_bytes() == before
    assert not Path("out.parquet.part").exists()


def test_a_table_in_another_form_is_not_replaced(files):
    schema = pa.schema([("a", pa.int64())], metadata={b"weaksvr": b'{"schema": "weaksvr.embeddings/9"}'})
    pq.write_table(pa.table({"a": [1]}, schema=schema), "out.parquet")
    with pytest.raises(OutputError, match=r"holds embeddings in another form \(weaksvr\.embeddings/9\)"), store():
        pass


def test_places_where_nothing_can_be_written(files):
    with pytest.raises(OutputError, match="there is no folder nowhere; make it first"), store("nowhere/out.parquet"):
        pass
    Path("folder").mkdir()
    with pytest.raises(OutputError, match="folder: is not a file; choose another name"), store("folder"):
        pass
    Path("out.parquet.part").write_text("in the way")
    with pytest.raises(OutputError, match=r"out\.parquet: cannot be written there: "), store():
        pass


def test_two_processes_do_not_write_the_same_file(files):
    with store() as first:
        with pytest.raises(OutputError, match="is being written by another process"), store():
            pass
        first.add(embedded(files[0]), None)
        first.finish(files[:1])
    assert EmbeddingTable.open(Path("out.parquet")).model == identity().digest


def test_the_columns_are_those_that_are_documented():
    table = (
        (Path(__file__).parents[2] / "docs" / "embed.md").read_text().partition("| column |")[2].partition("\n\n")[0]
    )
    documented = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert documented == layout(frames=True).arrow_schema().names


def test_what_was_embedded_can_be_told_as_documented(files):
    with store() as kept:
        kept.add(embedded(files[0]), None)
        kept.add(failed("no.mp4"), None)
        kept.finish([files[0], "no.mp4"])
    table = pq.read_table("out.parquet", filters=pc.field("error").is_null())
    assert table["video"].to_pylist() == files[:1]


def test_memory_is_bounded_by_bytes():
    assert layout().rows_at_a_time(T) == 2**19 // (512 + 4 * D)
    wide = TableLayout(identity=identity(), dimensions=128, frames=True, folder="x")
    assert wide.rows_at_a_time(48) == 2**19 // (512 + 4 * 128 * 49)
    assert TableLayout(identity=identity(), dimensions=4096, frames=True, folder="x").rows_at_a_time(999) == 16
