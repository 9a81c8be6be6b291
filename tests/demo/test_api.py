"""Programs and crowds: the named endpoints, and what they may not reach."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from .conftest import EXAMPLES, HOSTILE, Server, memory_of

MAX_WAIT = 90
CLIENTS, EACH = 20, 5
MAX_WORKER_BYTES, MAX_GROWTH_BYTES = 900 * 2**20, 250 * 2**20
STEPS = "fill up the bowl from a bottle\nuse the tape\nuse the hammer on a nail\nset fire to a wick with the burner"


@pytest.fixture(scope="module")
def client(url) -> Client:
    return Client(url, verbose=False, analytics_enabled=False)


def test_endpoints_have_names(client):
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == {
        "/verify",
        "/timeline",
        "/find",
    }


def test_a_verdict_is_the_document_of_the_command(client, clips):
    videos = [handle_file(clips / "assembly_1.mp4"), handle_file(clips / "assembly_swapped.mp4")]
    document = client.predict(*videos, None, api_name="/verify")
    assert document["schema"] == "weaksvr.verify/1"
    assert document["same"] is False
    loose = client.predict(*videos, 0.5, api_name="/verify")
    assert (loose["same"], loose["threshold"]) == (True, 0.5)


def test_a_timeline_is_the_document_of_the_command(client, clips):
    document = client.predict(STEPS, handle_file(clips / "assembly_1.mp4"), api_name="/timeline")
    assert document["schema"] == "weaksvr.timeline/1"
    assert document["verdict"] == "PASS"
    assert [step["text"] for step in document["steps"]] == STEPS.splitlines()


def test_a_search_gives_names(client, clips):
    by_video = client.predict("", handle_file(clips / "assembly_2.mp4"), api_name="/find")
    assert by_video["hits"][0]["name"] == "assembly_2.mp4"
    by_steps = client.predict((EXAMPLES / "assembly_swapped.txt").read_text(), None, api_name="/find")
    assert by_steps["hits"][0]["name"] == "assembly_swapped.mp4"


@pytest.mark.parametrize("name", HOSTILE[:4])
def test_what_is_wrong_is_an_exception_with_one_line(client, clips, name):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as caught:
        client.predict(handle_file(clips / "assembly_1.mp4"), handle_file(clips / name), None, api_name="/verify")
    assert str(caught.value).startswith("Video B: ")
    assert str(clips) not in str(caught.value)


async def upload(session: httpx.AsyncClient, path: Path) -> dict:
    """The uploaded file, as requests name it."""
    reply = await session.post("/gradio_api/upload", files={"files": (path.name, io.BytesIO(path.read_bytes()))})
    reply.raise_for_status()
    return {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}


async def verify(session: httpx.AsyncClient, a: dict, b: dict) -> dict | str:
    """The document, or the text of what went wrong."""
    reply = await session.post("/gradio_api/call/verify", json={"data": [a, b, None]})
    if reply.status_code != 200:
        return reply.json()["detail"]
    kind = ""
    async with session.stream("GET", f"/gradio_api/call/verify/{reply.json()['event_id']}") as stream:
        async for line in stream.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            elif field == "data" and kind in ("complete", "error"):
                found = json.loads(value)
                return found[0] if kind == "complete" else str(found)
    raise AssertionError("the stream ended without an answer")


async def crowd(url: str, clips: Path) -> list[list[dict | str]]:
    """What each of the clients gets, asking for all of its videos at once; one of them is up to no good."""
    limits = httpx.Limits(max_connections=CLIENTS * EACH + CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=MAX_WAIT, limits=limits) as session:
        names = ["assembly_1.mp4", "assembly_2.mp4", "assembly_swapped.mp4", "playlist.mp4", "bytes.mp4"]
        files = {name: await upload(session, clips / name) for name in names}

        async def one(number: int) -> list[dict | str]:
            others = ["playlist.mp4", "bytes.mp4"] if number == 0 else ["assembly_2.mp4", "assembly_swapped.mp4"]
            chosen = [others[(number + turn) % 2] for turn in range(EACH)]
            return await asyncio.gather(*(verify(session, files["assembly_1.mp4"], files[name]) for name in chosen))

        return await asyncio.gather(*(one(number) for number in range(CLIENTS)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory as Linux tells it")
def test_twenty_people_at_once(server, url, clips):
    before = memory_of(server.process.pid)
    answers = asyncio.run(crowd(url, clips))
    assert [len(each) for each in answers] == [EACH] * CLIENTS
    assert all("Video B: " in text for text in answers[0])
    for number, found in enumerate(answers[1:], start=1):
        expected = [(number + turn) % 2 == 0 for turn in range(EACH)]  # assembly_2 is the same, the other one is not
        assert [document["same"] for document in found] == expected
    assert memory_of(server.process.pid) - before < MAX_GROWTH_BYTES
    assert all(memory_of(worker) < MAX_WORKER_BYTES for worker in server.workers())


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "http://127.0.0.1:1/a.mp4", "https://example.org/a.mp4", "file:///etc/passwd", "../../etc/passwd"],
)
def test_no_path_or_address_reaches_what_was_not_uploaded(url, clips, path):
    async def ask() -> dict | str:
        async with httpx.AsyncClient(base_url=url, timeout=MAX_WAIT) as session:
            good = await upload(session, clips / "assembly_1.mp4")
            return await verify(session, good, {"path": path, "meta": {"_type": "gradio.FileData"}})

    answer = asyncio.run(ask())
    assert isinstance(answer, str)
    assert "root:" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=https://example.org/",
        "/gradio_api/file={folder}/../../etc/passwd",
        "/gradio_api/file={source}",
        "/file=/etc/passwd",
        "/static/../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/process_recording",
    ],
)
def test_no_file_of_the_server_is_readable(url, server, path):
    target = path.format(folder=server.folder, source=Path(__file__).resolve())
    reply = httpx.get(httpx.URL(url).copy_with(raw_path=target.encode()))
    assert reply.status_code in (403, 404)
    assert "root:" not in reply.text


def test_too_large_a_file_is_refused(url, tmp_path):
    reply = httpx.post(f"{url}gradio_api/upload", files={"files": ("a.mp4", b"x" * (4 * 2**20))})
    assert reply.status_code == 413
    assert reply.json()["detail"] == "the file is larger than 3 MB, the limit"


def test_only_users_come_in_and_nothing_is_left_at_the_end(tmp_path, clips):
    users = tmp_path / "users"
    users.write_text("# who may\nann:a secret: with a colon\n")
    home = tmp_path / "home"
    home.mkdir()
    guarded = Server(home, "--auth", str(users), "--workers", "1", "--device", "cpu")
    try:
        for path in ("config", "gradio_api/info", f"gradio_api/file={guarded.folder}/examples/assembly_1.mp4"):
            assert httpx.get(guarded.url + path).status_code == 401
        assert httpx.post(f"{guarded.url}gradio_api/upload", files={"files": ("a.mp4", b"x")}).status_code == 401
        assert httpx.post(f"{guarded.url}login", data={"username": "ann", "password": "wrong"}).status_code == 400
        inside = Client(guarded.url, auth=("ann", "a secret: with a colon"), verbose=False, analytics_enabled=False)
        same = inside.predict(*[handle_file(clips / "assembly_1.mp4")] * 2, None, api_name="/verify")["same"]
        assert same is True
    finally:
        code = guarded.end()
    assert code == 0
    assert list(home.glob("weaksvr-demo-*")) == []
    assert guarded.log.read_text() == ""
