"""Builds the page, and serves it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

import fastapi
import gradio as gr
import uvicorn

from ..runtime.errors import OptionError
from .desk import Desk
from .guard import Guard
from .tab_api import api_tab
from .tab_find import FindTab
from .tab_model import ModelTab
from .tab_script import ScriptTab
from .tab_verify import VerifyTab
from .uploads import UploadFolder
from .worker import WorkerPool

__all__ = ["Address", "build_page", "serve"]

TITLE: Final = "WeakSVR: is it the same procedure?"
_FIRST_PORT: Final = 7860
_PORTS: Final = 100
_STYLE: Final = Path(__file__).with_name("style.css")
_FONTS: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO: Final = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
# Results are announced to those who do not see them; what has a `data-seek` moves the player there.
_SCRIPT: Final = """() => {
  for (const result of document.querySelectorAll(".w-live")) {
    result.setAttribute("aria-live", "polite");
    result.setAttribute("aria-atomic", "false");
  }
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-seek]");
    const player = document.querySelector("#script-video video");
    if (!chosen || !player) return;
    player.currentTime = Number(chosen.dataset.seek);
    player.scrollIntoView({ block: "nearest" });
  });
}"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where the page is to be found, and by whom.

    Attributes:
        host: name or number of the interface; by default only this machine can open the page.
        port: None takes a free one, from 7860 on.
        root_path: the path under which a reverse proxy offers the page.
        users: (name, password) of those who may open it; empty means everyone.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    root_path: str = ""
    users: tuple[tuple[str, str], ...] = ()


def build_page(desk: Desk) -> gr.Blocks:
    """The page with all its tabs."""
    facts = desk.pool.facts
    page = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        gr.HTML(
            '<header class="w-head"><h1>Is the work done the same way?</h1>'
            "<p>Two videos of manual work: do they show the same steps, in the same order? "
            f"<b>{escape(facts['name'])}</b>: {escape(facts['description'])}</p></header>"
        )
        with gr.Tabs():
            with gr.Tab("Verify", id="verify"):
                verify = VerifyTab(desk)
            with gr.Tab("Follow the script", id="script"):
                ScriptTab(desk)
            with gr.Tab("Find", id="find"):
                FindTab(desk)
            with gr.Tab("Model", id="model"):
                model = ModelTab(facts)
            with gr.Tab("API", id="api"):
                api_tab(desk.limits)
        verify.connect(model.use, model.threshold)

        def leave(request: gr.Request) -> None:
            desk.cancel(request.session_hash or "")

        page.unload(leave)
        page.load(None, None, None, js=_SCRIPT)
    page.queue(default_concurrency_limit=None, max_size=None, api_open=False)
    return page


@contextlib.contextmanager
def serve(pool: WorkerPool, folder: UploadFolder, address: Address) -> Iterator[str]:
    """Serve the page while the context is open.

    Yields:
        Its address.

    Raises:
        OptionError: if it cannot be served there.
    """
    with _quiet_environment(folder), contextlib.closing(_listen(address)) as listener:
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        gr.mount_gradio_app(app, build_page(Desk(pool, folder)), "/", **_mount_options(pool, address))
        guarded = Guard(app, folder, pool.limits)
        server = uvicorn.Server(
            uvicorn.Config(guarded, log_level="warning", server_header=False, timeout_graceful_shutdown=2)
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="weaksvr-demo-server", daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            host, port = listener.getsockname()[:2]
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        finally:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # pages still open are cut off, as is meant
            server.should_exit = True
            thread.join()


def _listen(address: Address) -> socket.socket:
    """A socket at the address. Raises `OptionError` if there can be none."""
    ports = range(_FIRST_PORT, _FIRST_PORT + _PORTS) if address.port is None else (address.port,)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    reason = ""
    for port in ports:
        try:
            return socket.create_server((address.host, port), family=family)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    tried = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
    raise OptionError(f"{address.host}, {tried}: the page cannot be served there: {reason}; take another host or port")


def _mount_options(pool: WorkerPool, address: Address) -> dict[str, Any]:
    return {
        "root_path": address.root_path or None,
        "auth": list(address.users) or None,
        "max_file_size": pool.limits.video_bytes,
        "allowed_paths": [],
        "show_error": True,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": ["settings"],
        "theme": _theme(),
        "css": _STYLE.read_text(encoding="utf-8"),
    }


def _theme() -> gr.themes.Base:
    """Calm, with one accent, and fonts that are there already: nothing is fetched."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=[gr.themes.Font(name) for name in _FONTS],
        font_mono=[gr.themes.Font(name) for name in _MONO],
    ).set(
        body_text_color_subdued="#52606d",
        body_text_color_subdued_dark="#aab4bf",
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#12161c",
        block_background_fill_dark="#1b2129",
        button_primary_background_fill="#1f5fa8",
        button_primary_background_fill_hover="#194f8d",
        button_primary_background_fill_dark="#1f5fa8",
        button_primary_background_fill_hover_dark="#2a6fbd",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
    )


@contextlib.contextmanager
def _quiet_environment(folder: UploadFolder) -> Iterator[None]:
    """Everything temporary goes into `folder`, and nobody is told that there is a page."""
    values = {"GRADIO_TEMP_DIR": str(folder.path), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in values}
    temporary, tempfile.tempdir = tempfile.tempdir, str(folder.path)
    os.environ.update(values)
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
