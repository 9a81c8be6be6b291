"""Take the README's picture of the demo: the page after an example, in Debian's Chromium.

    python docs/make_screenshot.py

Starts the page with the bundle that comes along, compares two example videos, and writes `demo.png` beside this file,
with few enough colours to be small. Needs the extra `demo`, Playwright, and `chromium` on the PATH.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import sync_playwright
from weaksvr.demo.app import Address, serve
from weaksvr.demo.child import ModelOptions
from weaksvr.demo.limits import Limits
from weaksvr.demo.uploads import UploadFolder
from weaksvr.demo.worker import WorkerPool
from weaksvr.runtime.storage import write_bytes

TARGET = Path(__file__).with_name("demo.png")
MAX_BYTES = 150_000
VIEW = {"width": 1120, "height": 1560}
COLOURS = 80


def take(url: str, browser_path: str) -> bytes:
    """The page after the second example, from its head to the end of the verdict, as PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW, color_scheme="light")
        page.goto(url)
        page.get_by_role("button", name="Try: two steps swapped").first.click()
        page.locator("#verdict .w-result").wait_for(timeout=60_000)
        page.wait_for_timeout(1500)  # until the players show their first frames
        end = page.locator("#verdict .w-film").bounding_box()
        box = {"x": 56, "y": 10, "width": VIEW["width"] - 112, "height": end["y"] + end["height"]}
        picture = page.screenshot(clip=box)
        browser.close()
    return picture


@click.command()
def main() -> None:
    """Take the picture."""
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise click.ClickException("chromium is not on the PATH; install Debian's: apt-get install chromium")
    limits = Limits()
    with (
        UploadFolder(limits) as folder,
        WorkerPool(ModelOptions(device="cpu"), limits) as pool,
        serve(pool, folder, Address()) as url,
    ):
        picture = Image.open(io.BytesIO(take(url, browser_path))).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    if len(buffer.getvalue()) > MAX_BYTES:
        raise click.ClickException(f"the picture takes {len(buffer.getvalue())} bytes; take fewer colours or pixels")
    write_bytes(TARGET, buffer.getvalue())
    click.echo(f"{TARGET}: {len(buffer.getvalue())} bytes, {picture.width} x {picture.height}")


if __name__ == "__main__":
    main()
