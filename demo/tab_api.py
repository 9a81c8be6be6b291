"""The tab that tells programs how to use the page."""

from __future__ import annotations

from html import escape
from typing import Final

import gradio as gr

from .limits import Limits

__all__ = ["CALLS", "api_tab"]

CALLS: Final = """from gradio_client import Client, handle_file

page = Client("{url}")  # auth=("name", "password") where the page asks for it

verdict = page.predict(
    handle_file("a.mp4"),
    handle_file("b.mp4"),
    None,  # a threshold of your own; None takes the model's
    api_name="/verify",
)
print(verdict["same"], verdict["distance"], verdict["threshold"])

timeline = page.predict(
    "fill up the bowl\\nuse the tape | max 30s",
    handle_file("a.mp4"),
    api_name="/timeline",
)
print(timeline["verdict"], [(step["text"], step["status"]) for step in timeline["steps"]])
"""


def api_tab(limits: Limits) -> None:
    """Build the tab inside the page that is being built."""
    gr.HTML(f"""<article class="w-result w-api">
<section class="w-section"><h3>For programs</h3>
<p>The same answers for scripts, through <code>pip install gradio_client</code>. Three endpoints have a name:</p>
<ul class="w-notes">
<li><b>/verify</b> takes two videos and a threshold, and gives the document of <code>weaksvr-verify --json</code>;</li>
<li><b>/timeline</b> takes steps, one a line, and a video, and gives the document of
<code>weaksvr-timeline --json</code>;</li>
<li><b>/find</b> takes steps and a video, of which one may be missing, and gives names of videos, best first.</li>
</ul></section>
<pre tabindex="0" aria-label="Example in Python"><code>{escape(CALLS.format(url="http://127.0.0.1:7860/"))}</code></pre>
<section class="w-section"><h3>What to expect</h3>
<ul class="w-notes">
<li>What is wrong with a video or a script arrives as an exception whose text is one line.</li>
<li>Videos up to {limits.video_bytes / 2**20:g} MB, {limits.video_seconds:g} seconds and
{limits.video_pixels / 1e6:.1f} million pixels a frame; {limits.seconds:g} seconds of work on a request.</li>
<li>Requests are served in the order in which they come; {limits.waiting} may wait.</li>
<li>Uploads are deleted after {limits.kept_seconds / 60:g} minutes, and when the page is closed.</li>
</ul></section></article>""")
