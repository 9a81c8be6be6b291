"""Which requests reach the server beneath, tried without one."""

from __future__ import annotations

import asyncio
import json

import pytest
from weaksvr.demo.guard import Guard
from weaksvr.demo.limits import Limits
from weaksvr.demo.uploads import UploadFolder

LIMITS = Limits(video_bytes=1000, kept_bytes=100_000)


@pytest.fixture
def opened():
    with UploadFolder(LIMITS) as folder:
        yield folder


class Beneath:
    """Answers 200 and remembers what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope, receive, send) -> None:
        assert scope["type"] == "http"
        message = await receive()
        self.bodies.append(message.get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def ask(opened, method: str, path: str, *, body: bytes = b"", chunks: int = 1, root: str = "", **headers):
    """Status, headers and text of the answer, and what reached the server beneath."""
    beneath, sent = Beneath(), []
    size = max(1, -(-len(body) // chunks))
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": root + path,
        "root_path": root,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(Guard(beneath, opened, LIMITS)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode(), beneath.bodies


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=https://example.org/a.mp4"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=../../../etc/passwd"),
        ("GET", "/gradio_api/file=file:///etc/passwd"),
    ],
)
def test_no_file_of_the_server_is_for_reading(opened, method, path):
    assert ask(opened, method, path)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=https://example.org/"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/file=/etc/passwd"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/run-history/buckets"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/docs"),
        ("GET", "/gradio_api/custom_component/a/client/component/index.js"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("POST", "/gradio_api/run/verify"),
        ("POST", "/gradio_api/api/verify"),
        ("POST", "/gradio_api/stream/abc"),
        ("PUT", "/"),
        ("DELETE", "/gradio_api/upload"),
        ("OPTIONS", "/config"),
    ],
)
def test_routes_that_are_not_needed_are_not_there(opened, method, path):
    assert ask(opened, method, path)[0] == 404


@pytest.mark.parametrize("path", ["/", "/config", "/assets/index.js", "/gradio_api/info", "/gradio_api/queue/data"])
@pytest.mark.parametrize("root", ["", "/demo"])
def test_what_the_page_needs_is_there_with_headers_that_keep_it_to_itself(opened, path, root):
    status, headers, _, _ = ask(opened, "GET", path, root=root)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_files_of_the_upload_folder_are_for_reading(opened):
    assert ask(opened, "GET", f"/gradio_api/file={opened.examples['assembly_1']}")[0] == 200


@pytest.mark.parametrize(
    "address",
    ["http://10.0.0.1/a.mp4", "https://example.org/a.mp4", "HTTP://x", " http://x", "http%3A//x", "file:///etc/x"],
)
@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/call/verify"])
def test_addresses_are_not_fetched(opened, address, path):
    body = json.dumps({"data": [{"video": {"path": address, "meta": {"_type": "gradio.FileData"}}}, None]}).encode()
    status, _, text, reached = ask(opened, "POST", path, body=body)
    assert (status, reached) == (422, [])
    assert json.loads(text)["detail"] == "a video must be uploaded; addresses are not fetched"


@pytest.mark.parametrize("chunks", [1, 7])
def test_a_request_reaches_the_server_beneath_whole(opened, chunks):
    body = json.dumps({"data": [{"path": "/tmp/a.mp4"}, "steps: a\nb"], "session_hash": "x"}).encode()
    status, _, _, reached = ask(opened, "POST", "/gradio_api/queue/join", body=body, chunks=chunks)
    assert (status, reached) == (200, [body])


def test_a_request_is_bounded(opened):
    status, _, text, reached = ask(opened, "POST", "/gradio_api/queue/join", body=b"x" * (2**20 + 1), chunks=9)
    assert (status, reached) == (413, [])
    assert "larger than 1 MB" in text


@pytest.mark.parametrize("body", [b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"", b"x=1", b"\xff"])
def test_what_is_no_json_is_refused(opened, body):
    status, _, text, reached = ask(opened, "POST", "/gradio_api/queue/join", body=body)
    assert (status, text, reached) == (400, '{"detail": "the request is no JSON"}', [])


def test_a_login_is_a_form(opened):
    status, _, _, reached = ask(opened, "POST", "/login", body=b"username=a&password=b")
    assert (status, reached) == (200, [b"username=a&password=b"])


def test_uploads_say_how_long_they_are_and_fit(opened):
    upload = "/gradio_api/upload"
    assert ask(opened, "POST", upload)[0] == 411
    assert ask(opened, "POST", upload, content_length="x")[0] == 411
    assert ask(opened, "POST", upload, content_length="900")[0] == 200
    status, _, text, _ = ask(opened, "POST", upload, content_length=str(1000 + 2**16 + 1))
    assert status == 413
    assert "the limit" in json.loads(text)["detail"]
    (opened.path / "kept").write_bytes(b"x" * 99_500)
    status, _, text, _ = ask(opened, "POST", upload, content_length="600")
    assert status == 507
    assert "try again in a while" in text
