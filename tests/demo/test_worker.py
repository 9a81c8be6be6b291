from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from weaksvr.demo.child import OUT_OF_MEMORY, ModelOptions
from weaksvr.demo.limits import Limits
from weaksvr.demo.worker import CRASHED, StoppedError, WorkerPool
from weaksvr.runtime.errors import BundleError, OptionError, WeakSVRError
from weaksvr.runtime.gallery import Gallery
from weaksvr.runtime.gallery_search import add_videos, gallery_key
from weaksvr.runtime.verify import load

from .conftest import HOSTILE, write_clip

MAX_WAIT = 60


def request(*paths: Path, task: str = "verify", **needed) -> dict:
    videos = [{"path": str(path), "label": f"Video {letter}"} for path, letter in zip(paths, "AB", strict=False)]
    return {"task": task, "videos": videos, "pictures": False, **needed}


def verdict(pool: WorkerPool, a: Path, b: Path) -> bool:
    return pool.submit(request(a, b)).future.result(MAX_WAIT)["result"]["same"]


def trouble(pool: WorkerPool, a: Path, b: Path) -> str:
    with pytest.raises(WeakSVRError) as caught:
        pool.submit(request(a, b)).future.result(MAX_WAIT)
    return str(caught.value)


@contextlib.contextmanager
def pool_of_one(**changes) -> Iterator[WorkerPool]:
    """A pool with one worker, and limits of its own."""
    limits = dataclasses.replace(Limits(video_pixels=1000 * 1000), **changes)
    with WorkerPool(ModelOptions(num_threads=1), limits, workers=1) as pool:
        yield pool


def worker() -> int:
    """The process that was started last."""
    return max(child.pid for child in multiprocessing.active_children() if child.name == "weaksvr-demo-worker")


def until_running(pool: WorkerPool, ticket) -> None:
    begun = time.monotonic()
    while ticket.stage == "waiting":
        assert time.monotonic() - begun < MAX_WAIT
        time.sleep(0.01)


def test_verdicts_are_those_of_the_library(pool, clips):
    assert verdict(pool, clips / "assembly_1.mp4", clips / "assembly_2.mp4") is True
    assert verdict(pool, clips / "assembly_1.mp4", clips / "assembly_swapped.mp4") is False


def test_an_answer_is_plain_and_holds_what_the_page_shows(pool, clips):
    wanted = {**request(clips / "assembly_1.mp4", clips / "assembly_swapped.mp4"), "pictures": True}
    answer = pool.submit(wanted).future.result(MAX_WAIT)
    assert json.loads(json.dumps(answer)) == answer
    assert len(answer["columns"]) == 8
    assert all(column["picture_b"].startswith("data:image/jpeg;base64,") for column in answer["columns"])
    for name in ("seconds_a", "seconds_b"):
        times = [column[name] for column in answer["columns"]]
        assert times == sorted(times)
    assert any(column["apart"] > answer["unlike_from"] for column in answer["columns"])
    assert answer["result"]["explanation"]["differences"][0]["kind"] == "swapped"


def test_columns_add_up_to_the_distance(pool, clips):
    """Where all cells are in a column, the mean of `apart`, weighted by cells, is the alignment distance."""
    wanted = {**request(clips / "assembly_1.mp4", clips / "assembly_2.mp4"), "pictures": True}
    answer = pool.submit(wanted).future.result(MAX_WAIT)
    mean = sum(column["apart"] for column in answer["columns"]) / len(answer["columns"])
    assert mean == pytest.approx(answer["result"]["distance"], rel=0.1)  # columns hold one cell more or less


def test_a_video_is_followed_along_a_script(pool, clips):
    steps = "fill up the bowl from a bottle\nuse the tape\nuse the hammer on a nail\nset fire to a wick with the burner"
    wanted = {**request(clips / "assembly_1.mp4", task="timeline", script=steps), "pictures": True}
    answer = pool.submit(wanted).future.result(MAX_WAIT)
    assert answer["result"]["verdict"] == "PASS"
    assert len(answer["pictures"]) == 4
    swapped = request(clips / "assembly_swapped.mp4", task="timeline", script=steps)
    assert pool.submit(swapped).future.result(MAX_WAIT)["result"]["verdict"] == "FAIL"


def test_a_gallery_is_searched_under_the_same_limits(clips, tmp_path):
    model, uri = load(device="cpu", num_threads=1), str(tmp_path / "shop")
    add_videos(Gallery.create(uri, gallery_key(model)), model, [clips / "assembly_1.mp4", clips / "assembly_2.mp4"])
    with WorkerPool(ModelOptions(num_threads=1, gallery=uri), Limits(), workers=1) as pool:
        assert pool.facts["shelf"] == "the gallery shop"
        for _ in range(2):
            found = pool.submit(request(clips / "assembly_2.mp4", task="find")).future.result(MAX_WAIT)
            assert [hit["name"] for hit in found["hits"]] == ["assembly_2.mp4", "assembly_1.mp4"]
            assert str(tmp_path) not in json.dumps(found)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("", r"^the steps: holds no step; write one step a line$"),
        ("pour | max 3", r"^the steps, line 1: 'max 3' is no duration"),
        ("stir\n" * 51, r"^the steps: there are 51, but this page takes at most 50$"),
    ],
)
def test_a_script_that_cannot_be_meant(pool, clips, script, message):
    with pytest.raises(WeakSVRError, match=message):
        pool.submit(request(clips / "assembly_1.mp4", task="timeline", script=script)).future.result(MAX_WAIT)


def test_an_unknown_task_is_refused(pool, clips):
    with pytest.raises(WeakSVRError, match=r"task 'fly' is not known; use one of find, timeline, verify"):
        pool.submit(request(clips / "assembly_1.mp4", task="fly")).future.result(MAX_WAIT)


MESSAGES = {
    "playlist.mp4": "Video B: is a text file (a playlist or script?), not a video; give the video itself",
    "stream.mp4": "Video B: is a text file (a playlist or script?), not a video; give the video itself",
    "text.mp4": "Video B: is a text file",
    "bytes.mp4": "Video B: ",
    "long.mp4": "Video B: lasts 100 seconds, but this page takes at most 60; cut it",
    "wide.mp4": "Video B: has frames of 1100 x 1100, but this page takes at most 1.0 million pixels; scale it down",
    "short.mp4": "Video B: has 2 frames, but ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_good_video_is_one_clear_line_without_a_path(pool, clips, name):
    message = trouble(pool, clips / "assembly_1.mp4", clips / name)
    assert message.startswith(MESSAGES[name])
    assert str(clips) not in message
    assert "\n" not in message


def test_first_come_first_served(clips):
    done: list[int] = []
    with pool_of_one() as pool:
        tickets = [pool.submit(request(clips / "assembly_1.mp4", clips / "assembly_2.mp4")) for _ in range(8)]
        for number, ticket in enumerate(tickets):
            ticket.future.add_done_callback(lambda _, number=number: done.append(number))
        assert pool.ahead(tickets[-1]) >= 6
        for ticket in tickets:
            ticket.future.result(MAX_WAIT)
    assert done == sorted(done)


def test_the_queue_is_bounded(clips):
    with pool_of_one(waiting=2) as pool:
        wanted = request(clips / "assembly_1.mp4", clips / "assembly_2.mp4")
        os.kill(worker(), signal.SIGSTOP)
        until_running(pool, pool.submit(wanted))
        waiting = [pool.submit(wanted) for _ in range(2)]
        with pytest.raises(StoppedError, match="2 requests wait already, which is the limit; try again later"):
            pool.submit(wanted)
        assert not any(ticket.future.done() for ticket in waiting)


def test_time_is_limited_and_the_next_request_is_served(clips):
    with pool_of_one(seconds=3) as pool:
        stopped = worker()
        os.kill(stopped, signal.SIGSTOP)
        message = trouble(pool, clips / "assembly_1.mp4", clips / "assembly_2.mp4")
        assert message == "stopped after 3 seconds, the limit of this page; take shorter videos"
        assert verdict(pool, clips / "assembly_1.mp4", clips / "assembly_2.mp4") is True
        assert worker() != stopped


def test_a_crash_is_told_and_harms_no_other(clips):
    with pool_of_one() as pool:
        os.kill(worker(), signal.SIGSTOP)
        ticket = pool.submit(request(clips / "assembly_1.mp4", clips / "assembly_2.mp4"))
        after = pool.submit(request(clips / "assembly_1.mp4", clips / "assembly_swapped.mp4"))
        until_running(pool, ticket)
        os.kill(worker(), signal.SIGKILL)
        with pytest.raises(StoppedError, match="made the program that reads it crash; it is damaged"):
            ticket.future.result(MAX_WAIT)
        assert after.future.result(MAX_WAIT)["result"]["same"] is False


def test_cancelling_kills_the_work_and_forgets_what_waits(clips):
    with pool_of_one() as pool:
        stopped = worker()
        os.kill(stopped, signal.SIGSTOP)
        wanted = request(clips / "assembly_1.mp4", clips / "assembly_2.mp4")
        mine = [pool.submit(wanted, owner="me") for _ in range(2)]
        other = pool.submit(wanted, owner="you")
        until_running(pool, mine[0])
        pool.cancel_all("me")
        for ticket in mine:
            with pytest.raises(StoppedError, match=r"^cancelled$"):
                ticket.future.result(MAX_WAIT)
        assert other.future.result(MAX_WAIT)["result"]["same"] is True
        pool.cancel(other)  # it is done: nothing happens
        with pytest.raises(ProcessLookupError):
            os.kill(stopped, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited on Linux alone")
def test_memory_is_limited_by_the_kernel(clips, tmp_path):
    huge = write_clip(tmp_path / "huge.mp4", frames=20, size=(3000, 3000))
    with pool_of_one(video_pixels=10**8) as pool:
        assert verdict(pool, huge, huge) is True
    with pool_of_one(video_pixels=10**8, memory_bytes=100 * 2**20) as pool:
        assert trouble(pool, huge, huge).startswith(("Video ", OUT_OF_MEMORY, CRASHED))
        assert verdict(pool, clips / "assembly_1.mp4", clips / "assembly_2.mp4") is True


def test_a_model_that_cannot_be_loaded_is_said_at_once(tmp_path):
    with pytest.raises(BundleError, match=r"none: no such bundle|none: "):
        WorkerPool(ModelOptions(bundle=str(tmp_path / "none")), Limits(), workers=1)


def test_what_waits_when_the_page_ends_is_cancelled(clips):
    with pool_of_one() as pool:
        os.kill(worker(), signal.SIGSTOP)
        tickets = [pool.submit(request(clips / "assembly_1.mp4", clips / "assembly_2.mp4")) for _ in range(3)]
    for ticket in tickets:
        with pytest.raises(StoppedError):
            ticket.future.result(1)
    with pytest.raises(StoppedError, match="this page is being shut down; try again later"):
        pool.submit({})


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_must_be_limits(value):
    with pytest.raises(OptionError, match=r"seconds = .* must be a finite number above 0"):
        Limits(seconds=value)
