"""The page as people meet it: in a browser, from upload to verdict."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.needs_tool("chromium")
WAIT = 30_000  # milliseconds


@pytest.fixture
def page(browser, url):
    """The page, freshly opened; nothing may have gone wrong in it at the end, and nothing been asked from elsewhere."""
    yield from opened(browser, url)


@pytest.fixture
def narrow(browser, url):
    yield from opened(browser, url, viewport={"width": 360, "height": 740})


def opened(browser, url, **options):
    context = browser.new_context(**options)
    view, wrong, hosts = context.new_page(), [], set()
    view.on("pageerror", lambda error: wrong.append(str(error)))
    view.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    view.set_default_timeout(WAIT)
    view.goto(url)
    view.get_by_role("button", name="Compare", exact=True).wait_for()
    yield view
    context.close()
    assert wrong == []
    assert hosts <= {urlsplit(url).netloc, ""}  # blob: and data: have no host


def upload(page, name: str, path) -> None:
    field = page.locator(f"#{name}")
    if field.locator("video").count():
        field.get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).first.click()
    field.locator("input[type=file]").set_input_files(str(path))
    field.locator("video").wait_for()


def compare(page, a, b) -> str:
    upload(page, "video-a", a)
    upload(page, "video-b", b)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#verdict .w-verdict").wait_for()
    return page.locator("#verdict h2").inner_text()


def tab(page, name: str) -> None:
    target = page.get_by_role("tab", name=name)
    if not target.count() or not target.first.is_visible():
        page.locator(".overflow-menu button").first.click()
        target = page.get_by_role("button", name=name).or_(page.get_by_role("tab", name=name))
    target.first.click()


def test_two_uploads_give_a_verdict(page, clips):
    assert compare(page, clips / "assembly_1.mp4", clips / "assembly_2.mp4") == "Same procedure"
    assert page.locator("#verdict .w-columns li").count() == 8
    assert page.locator("#verdict .w-columns img").first.evaluate("image => image.naturalWidth") > 0
    assert "distance 0.0" in page.locator("#verdict svg.w-scale").text_content()


def test_an_example_is_one_click_and_the_differences_are_told(page):
    page.get_by_role("button", name="Try: two steps swapped").first.click()
    page.locator("#verdict .w-result").wait_for()
    assert page.locator("#verdict h2").inner_text() == "Different procedures"
    told = page.locator("#verdict .w-list").inner_text()
    assert "swapped" in told
    assert "≠" in page.locator("#verdict .w-columns").inner_text()
    page.get_by_text("Numbers").first.click()
    assert page.locator("#verdict .w-table").is_visible()


def test_the_example_of_the_same_procedure(page):
    page.get_by_role("button", name="Try: the same steps, other things").click()
    page.locator("#verdict .w-result").wait_for()
    assert page.locator("#verdict h2").inner_text() == "Same procedure"


def test_a_recording_is_compared_as_an_upload_is(page, clips):
    upload(page, "video-b", clips / "assembly_2.mp4")
    field = page.locator("#video-a")
    field.get_by_role("button", name="Capture from camera").click()
    field.get_by_text("Click to Access Webcam").click()
    field.get_by_role("button", name="start recording").click()
    page.wait_for_timeout(6000)  # of recording
    field.get_by_role("button", name=re.compile("recording")).click()
    field.get_by_role("button", name="Clear").wait_for()  # it has arrived
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#verdict .w-verdict").wait_for()
    assert page.locator("#verdict h2").inner_text() == "Different procedures"


def test_an_error_is_one_clear_line_and_the_page_goes_on(page, clips):
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("alert").wait_for()
    line = "Video A: is missing; upload one, record one, or take an example"
    assert page.get_by_role("alert").locator("p").inner_text() == line
    page.get_by_role("button", name="Try: two steps swapped").first.click()
    page.locator("#verdict .w-result").wait_for()


@pytest.mark.parametrize("name", ["playlist.mp4", "stream.mp4", "bytes.mp4"])
def test_what_only_calls_itself_a_video_reads_no_other_file(page, clips, name):
    page.locator("#video-a input[type=file]").set_input_files(str(clips / "assembly_1.mp4"))
    page.locator("#video-a video").wait_for()
    page.locator("#video-b input[type=file]").set_input_files(str(clips / name))
    page.locator("#video-b video").wait_for(state="attached")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("alert").wait_for()
    text = page.get_by_role("alert").locator("p").inner_text()
    assert text.startswith("Video B: ")
    assert "/" not in text.replace("and/or", "")
    assert page.locator("#verdict .w-result").count() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the server's workers as Linux lists them")
def test_cancel_stops_the_work_and_the_next_request_is_served(page, server):
    page.get_by_role("button", name="Try: two steps swapped").first.click()
    page.locator("#verdict .w-result").wait_for()
    workers = server.workers()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    for _ in range(3):  # two are worked on, one waits
        page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#verdict .w-busy").wait_for()
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Cancel").first.click()
    page.locator("#verdict h2", has_text="Cancelled").wait_for()
    page.get_by_role("button", name="Try: the same steps, other things").click()
    page.locator("#verdict h2", has_text="Same procedure").wait_for()
    assert not set(workers) & set(server.workers())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the server's workers as Linux lists them")
def test_who_goes_away_is_not_worked_for(browser, url, server):
    workers = server.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    context = browser.new_context()
    view = context.new_page()
    view.goto(url)
    view.get_by_role("button", name="Try: two steps swapped").first.click(timeout=WAIT)
    view.locator("#verdict .w-busy").wait_for(timeout=WAIT)
    view.wait_for_timeout(500)
    context.close()
    begun = time.monotonic()
    while len(set(workers) & set(server.workers())) == len(workers):  # one was at work, and is killed
        assert time.monotonic() - begun < WAIT / 1000
        time.sleep(0.2)
    for worker in set(workers) & set(server.workers()):
        os.kill(worker, signal.SIGCONT)


def test_a_script_is_followed_and_edited_and_the_player_jumps(page):
    tab(page, "Follow the script")
    page.get_by_role("button", name="Try: two steps swapped").last.click()
    page.locator("#timeline .w-result").wait_for()
    assert page.locator("#timeline h2").inner_text() == "Does not follow the script"
    assert "out of order" in page.locator("#timeline .w-steps").inner_text()

    steps = page.locator("#steps textarea")
    lines = steps.input_value().splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    steps.fill("\n".join(lines))
    page.get_by_role("button", name="Find the steps").click()
    page.locator("#timeline h2", has_text="Follows the script").wait_for()

    choice = page.locator("#timeline button[data-seek]").nth(2)
    choice.click()
    wanted = float(choice.get_attribute("data-seek"))
    assert wanted > 1
    moved = "seconds => Math.abs(document.querySelector('#script-video video').currentTime - seconds) < 0.5"
    page.wait_for_function(moved, arg=wanted)

    steps.fill("# nothing\n")
    page.get_by_role("button", name="Find the steps").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").locator("p").inner_text() == "the steps: holds no step; write one step a line"


def test_videos_are_found_by_a_video_and_by_steps(page, clips):
    tab(page, "Find")
    page.get_by_role("button", name="Try: videos like this").click()
    page.locator("#hits .w-result").wait_for()
    first = page.locator("#hits li").first
    assert "assembly_swapped.mp4" in first.inner_text()
    assert "= same procedure" in first.inner_text()
    page.get_by_role("button", name="Try: videos of its steps").click()
    page.locator("#hits li", has_text="fits the steps").first.wait_for()
    assert "assembly_swapped.mp4" in page.locator("#hits li").first.inner_text()


def test_the_threshold_slider_shows_its_errors_and_is_used_if_asked(page):
    tab(page, "Model")
    assert "(the model's own)" in page.locator("#rates").inner_text()
    assert page.locator(".w-calibration").evaluate("image => image.naturalWidth") > 0
    slider = page.locator("#threshold input[type=range]")
    accepted = []
    for value in ("0.05", "0.3"):
        slider.fill(value)
        page.locator("#rates b", has_text=f"{float(value):.3f}").wait_for()
        accepted.append(float(page.locator("#rates .w-meter b").first.inner_text().removesuffix(" %")))
    assert accepted[0] < 2
    assert accepted[1] > 50
    page.get_by_label("Use this threshold when I compare videos").check()
    tab(page, "Verify")
    page.get_by_role("button", name="Try: two steps swapped").first.click()
    page.locator("#verdict .w-result").wait_for()
    assert page.locator("#verdict h2").inner_text() == "Same procedure"  # 0.216 is below 0.3
    assert "threshold 0.300" in page.locator("#verdict svg.w-scale").text_content()


def test_the_page_fits_a_narrow_screen(narrow):
    narrow.get_by_role("button", name="Try: two steps swapped").first.click()
    narrow.locator("#verdict .w-result").wait_for()
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert narrow.evaluate(overflow) <= 0
    tab(narrow, "Follow the script")
    narrow.get_by_role("button", name="Try: two steps swapped").last.click()
    narrow.locator("#timeline .w-result").wait_for()
    assert narrow.evaluate(overflow) <= 0
    tab(narrow, "Find")
    narrow.get_by_role("button", name="Try: videos like this").click()
    narrow.locator("#hits .w-result").wait_for()
    assert narrow.evaluate(overflow) <= 0


def test_the_keyboard_is_enough(page):
    go_to(page, "Try: two steps swapped")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.locator("#verdict .w-result").wait_for()
    assert page.locator("#verdict").get_attribute("aria-live") == "polite"
    page.get_by_role("tab", name="Verify").focus()
    go_to(page, "Follow the script")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Find the steps").wait_for()


def go_to(page, name: str) -> None:
    """Press Tab until the focus is on what is called so."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"Tab does not lead to {name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barriers(browser, url, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme=scheme)
    view = context.new_page()
    view.set_default_timeout(WAIT)
    view.goto(url)
    view.get_by_role("button", name="Try: two steps swapped").first.click()
    view.locator("#verdict .w-result").wait_for()
    found = [("Verify", violation) for violation in serious(Axe().run(view))]
    for name in ("Follow the script", "Find", "Model", "API"):
        tab(view, name)
        if name == "Find":
            view.get_by_role("button", name="Try: videos like this").click()
            view.locator("#hits .w-result").wait_for()
        if name == "Follow the script":
            view.get_by_role("button", name="Try: two steps swapped").last.click()
            view.locator("#timeline .w-result").wait_for()
        view.wait_for_timeout(300)
        found += [(name, violation) for violation in serious(Axe().run(view))]
    context.close()
    assert found == []


def serious(results) -> list[str]:
    return [
        f"{violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for violation in results.response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
