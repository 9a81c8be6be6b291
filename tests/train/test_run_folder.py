from __future__ import annotations

import json

import pytest
from weaksvr.runtime.errors import OutputError
from weaksvr.train.run_folder import RunFolder


def test_a_run_may_begin_where_nothing_of_worth_is(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert folder.is_free()
    folder.create()
    assert folder.is_free()
    (folder.state.parent / f".{folder.state.name}.ab12.tmp").write_bytes(b"half")
    assert folder.is_free()
    folder.state.write_bytes(b"whole")
    assert not folder.is_free()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "metrics.jsonl", "last.txt", "checkpoint/model.safetensors"])
def test_what_lies_there_is_not_touched(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    assert not RunFolder(tmp_path).is_free()


def test_a_file_is_not_free(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert not RunFolder(tmp_path / "file").is_free()
    with pytest.raises(OutputError, match=r"below: cannot be created: Not a directory"):
        RunFolder(tmp_path / "file" / "below").create()


def test_sweeping_removes_half_written_files_alone(tmp_path):
    folder = RunFolder(tmp_path)
    folder.create()
    folder.checkpoint.mkdir()
    kept = [folder.metrics, folder.state, folder.checkpoint / "config.json"]
    for path in kept:
        path.write_text("whole")
        (path.parent / f".{path.name}.ab12.tmp").write_text("half")
    folder.sweep()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_giving_up_frees_a_folder_in_which_no_epoch_was_kept(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.state.write_text("state")
    folder.give_up()
    assert not folder.path.exists()
    folder.create()
    folder.state.write_text("state")
    folder.metrics.write_text("{}\n")
    folder.give_up()
    assert folder.state.exists()


def test_metrics_are_cut_and_a_torn_line_is_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    assert list(folder.metrics_lines()) == []
    folder.metrics.write_text("".join(json.dumps({"epoch": epoch}) + "\n" for epoch in (1, 2, 3)) + '{"epoch": 4, "lo')
    assert [line["epoch"] for line in folder.metrics_lines()] == [1, 2, 3]
    folder.cut_metrics(2)
    assert folder.metrics.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
