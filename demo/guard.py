"""What reaches the page: the few routes that it needs, in a bounded size, naming no file or address but its own.

The server beneath has more routes (it can fetch addresses, proxy others, convert recordings); none of them is needed,
so none of them is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from .limits import Limits
from .uploads import UploadFolder

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOGIN: Final = "/login"
UPLOAD: Final = "/gradio_api/upload"
FILE: Final = "/gradio_api/file="
_READ: Final = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout|login_check)/?"
    r"|/(static|assets)/.+"
    r"|/gradio_api/(info|app_id|startup-events|login_check|user|token|theme\.css|queue/data|queue/status)/?"
    r"|/gradio_api/upload_progress"
    r"|/gradio_api/(heartbeat|call)/.+"
    r"|/gradio_api/file=.+"
)
_WRITE: Final = re.compile(r"/login/?|/gradio_api/(upload|cancel|reset|queue/join|call/[^/]+)/?")
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MAX_BODY_BYTES: Final = 2**20
_FORM_BYTES: Final = 2**16  # what a form adds to the file in it
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """ASGI middleware.

    Args:
        app: what it guards.
        folder: where uploads lie.
        limits: `video_bytes` and `kept_bytes`.
    """

    def __init__(self, app: App, folder: UploadFolder, limits: Limits) -> None:
        self._app = app
        self._folder = folder
        self._limits = limits
        self._arriving = 0  # bytes of uploads that are under way

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page opens no sockets of another kind
        try:
            await self._pass(scope, receive, _with_headers(send))
        except _RefusedError as refused:
            await _reply(_with_headers(send), refused.status, str(refused))

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        path = _path_of(scope)
        if scope["method"] in ("GET", "HEAD"):
            if not _READ.fullmatch(path):
                raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
            if path.startswith(FILE) and not self._folder.holds(path.removeprefix(FILE)):
                raise _RefusedError(HTTPStatus.FORBIDDEN, "this file is not for reading")
            await self._app(scope, receive, send)
        elif scope["method"] != "POST" or not _WRITE.fullmatch(path):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
        elif path.rstrip("/") == UPLOAD:
            await self._upload(scope, receive, send)
        else:
            body = await _body(receive)
            if path.rstrip("/") != LOGIN:
                _check_addresses(body)
            await self._app(scope, _again(body, receive), send)

    async def _upload(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass an upload on if it fits. The server beneath counts the bytes of the file itself."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "an upload must say how long it is")
        size = int(length)
        if size > self._limits.video_bytes + _FORM_BYTES:
            most = self._limits.video_bytes / 2**20
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {most:g} MB, the limit")
        if self._folder.used_bytes() + self._arriving + size > self._limits.kept_bytes:
            raise _RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, "too many uploads are kept now; try again in a while")
        self._arriving += size
        try:
            await self._app(scope, receive, send)
        finally:
            self._arriving -= size


def _path_of(scope: Message) -> str:
    """The path below where the page is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


async def _body(receive: Receive) -> bytes:
    """All of a request's body. Raises `_RefusedError` if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MAX_BODY_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is larger than 1 MB")
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` for a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _check_addresses(body: bytes) -> None:
    """Refuse a request that names an address where a file is meant: the server beneath would fetch it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request is no JSON") from None
    for path in _file_paths(document):
        if _ADDRESS.match(unquote(path).strip()):
            raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "a video must be uploaded; addresses are not fetched")


def _file_paths(document: Any) -> Iterator[str]:
    """Every `path` of a nested document."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _with_headers(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return adding


async def _reply(send: Send, status: HTTPStatus, text: str) -> None:
    """An answer that both a browser and gradio's client show: its one line."""
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
