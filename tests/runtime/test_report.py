"""Reports: what stands on the page is what the result says, and no text from outside becomes part of the page."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from weaksvr.runtime.bundle import MANIFEST_NAME
from weaksvr.runtime.clock import clock, clock_span
from weaksvr.runtime.errors import OptionError, OutputError, VideoError
from weaksvr.runtime.explain import Aligned, Difference, Explanation, Shown
from weaksvr.runtime.key_frames import KeyFrame
from weaksvr.runtime.report import check_report_path, write_report
from weaksvr.runtime.report_facts import Facts, VideoFacts, content_sha256
from weaksvr.runtime.report_moments import Moment
from weaksvr.runtime.report_timeline import timeline_page
from weaksvr.runtime.report_verify import Column, verify_page
from weaksvr.runtime.script import Script, ScriptStep
from weaksvr.runtime.step_finding import TimelineSettings
from weaksvr.runtime.verify import VerifyResult, load
from weaksvr.runtime.video_part import VideoPart

EVIL = "<script>alert(1)</script>\"'&<img src=http://evil.test/x onerror=alert(2)>"
VOID = {"meta", "img", "br", "rect", "path", "circle", "polyline"}
FINE = TimelineSettings(window_seconds=1.2, whole_seconds=3.6, phases=8)


class Page(HTMLParser):
    """A page taken apart: tags, attributes and text; refuses one that is not well formed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data + " ")

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def check_safe(text):
    """What every report must keep, whatever is in the result."""
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    for name in ("src", "href", "xlink:href", "action"):
        assert all(value.startswith("data:image/") for value in page.values(name))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "@import" not in style
    assert set(re.findall(r"url\((.)", style)) <= {"#"}
    policy = next(value for value in page.values("content") if "default-src" in value)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert ("html", "lang", "en") in page.attributes
    assert page.tags.count("img") == len(
        [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    )
    assert page.tags.count("th") == len(page.values("scope"))
    return page


def facts(name="a.mp4", **changes):
    known = Facts(
        command=f"weaksvr-verify {name}",
        created="2026-03-04T05:06:07+00:00",
        bundle="/models/one",
        manifest_sha256="ab" * 32,
        versions=(("weaksvr", "1.2"), ("av", "18.1")),
        backend="Ort",
        sampling="uniform-4",
    )
    return dataclasses.replace(known, **changes)


def video(path):
    return VideoFacts(
        part=VideoPart(path=path), sha256="cd" * 32, duration_seconds=9.0, num_frames=90, height=48, width=64
    )


def verified(text="swap", steps=("take", "pour"), **changes):
    explanation = Explanation(
        summary="the videos part in 1 place",
        differences=(
            Difference(kind="swapped", a=(1, 2), b=(3, 4), other_a=(2, 3), other_b=(2, 3), steps=(1,), text=text),
        ),
        steps=steps,
        shown_a=(Shown(start=0, end=1, label=0), Shown(start=1, end=9, label=1, step=1)),
        shown_b=(Shown(start=0, end=4, label=0), Shown(start=4, end=9, label=1, step=1)),
        aligned=(Aligned(a=(0, 1), b=(0, 4), times=((0.5, 2.0),)),),
        most_unlike=((1, 2), (2, 3)),
        verdict=False,
    )
    result = VerifyResult(
        verdict="different",
        same=False,
        distance=0.4321,
        threshold=0.1234,
        margin=-0.3087,
        probability=0.017,
        method="alignment",
        device="cpu",
        provider="CPUExecutionProvider",
        precision="fp32",
        sampling="uniform-4",
        bundle="toy",
        notes=(f"{text}: partly damaged",),
        explanation=explanation,
    )
    return dataclasses.replace(result, **changes)


def page_of(result, a="a.mp4", b="b.mp4", columns=(), **changes):
    return verify_page(result, videos=(video(a), video(b)), columns=columns, facts=facts(a, **changes))


@pytest.fixture(scope="module")
def step_model(step_bundle):
    return load(step_bundle, device="cpu")


@pytest.mark.parametrize(
    ("verdict", "heading"), [("same", "Same procedure"), ("different", "Different"), ("undecided", "Undecided")]
)
def test_the_verdict_is_the_first_thing(verdict, heading):
    page = check_safe(page_of(verified(verdict=verdict, same=verdict == "same")))
    body = page.text[page.text.index(verdict.upper()) :]
    assert body.startswith(f"{verdict.upper()} {heading}")
    assert page.tags.index("h1") < page.tags.index("table")
    assert ("The chance of the same procedure is 2 %." in page.text) is (verdict != "undecided")


def test_every_number_of_a_verification_is_on_its_page(tmp_path):
    model = load(device="cpu")
    examples = Path(__file__).resolve().parents[2] / "examples"
    pair = examples / "assembly_1.mp4", examples / "assembly_swapped.mp4"
    steps = Script.of(["fill the bowl", "use the tape", "use the hammer", "light the wick"])
    result = model.verify(*pair, script=steps)
    write_report(result, tmp_path / "out.html", model=model, videos=pair, command="weaksvr-verify a 'b c'")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    page = check_safe(text)
    known = model.bundle.manifest.threshold(result.method, result.precision, result.sampling)
    evidence = known.calibrated.evidence
    manifest = hashlib.sha256((model.bundle.path / MANIFEST_NAME).read_bytes()).hexdigest()
    expected = [
        *(f"{value:.4f}" for value in (result.distance, result.threshold, *evidence.intervals["threshold"])),
        f"{result.margin:+.4f}",
        f"{result.probability:.3f}",
        f"{known.calibrated.auc:.4f}",
        f"{known.calibrated.eer:.4f}",
        f"{known.calibrated.pairs}, of which {known.calibrated.same} are the same",
        *(f"{100 * rate:.1f} %" for rate in (evidence.false_accept, evidence.false_refuse)),
        *(repr(value) for value in (result.distance, result.threshold)),
        *(result.sampling, result.bundle, result.precision, result.provider, manifest, "weaksvr-verify a 'b c'"),
        *(hashlib.sha256(path.read_bytes()).hexdigest() for path in pair),
        *steps.texts,
    ]
    assert [value for value in expected if value not in page.text] == []
    for difference in result.explanation.differences:
        assert difference.text[1:] in page.text
        for span in (difference.a, difference.b, difference.other_a, difference.other_b):
            assert clock_span(*span) in page.text
    photos = [value for value in page.values("src") if value.startswith("data:image/jpeg")]
    assert len(photos) == len([alt for alt in page.values("alt") if alt.startswith("What video")])
    assert 8 <= len(photos) / 2 <= 12
    assert len(text) < 500_000


def test_a_caller_s_threshold_is_called_one():
    page = check_safe(page_of(verified()))
    assert "0.1234, given by the caller" in page.text
    assert "nothing is known of its errors" in page.text


def test_columns_are_marked_by_a_word_and_a_border():
    columns = [
        Column(moment=Moment(a=0.5, b=2.0, mark="counterpart"), picture_a="data:image/jpeg;base64,AA=="),
        Column(moment=Moment(a=1.5, b=None, mark="missing", number=1), picture_a="data:image/jpeg;base64,AA=="),
    ]
    text = page_of(verified(), columns=columns)
    page = check_safe(text)
    assert "= counterparts" in page.text
    assert "B 0:02.0" in page.text
    assert "cannot be decoded" in page.text  # B has no picture
    assert "only in A (1)" in page.text
    assert "nothing of it in B" in page.text
    assert 'class="w-apart w-missing"' in text


def test_texts_from_outside_stay_texts():
    result = verified(text=EVIL, steps=(EVIL, "pour"), bundle=EVIL)
    text = page_of(result, a=f"dir/{EVIL[:20]}", b="\u202egpj.\udcff\x1b[2J.mp4", command=EVIL)
    page = check_safe(text)
    assert EVIL in page.text
    assert html.escape(EVIL) in text
    assert "\\u202egpj.\\udcff\\x1b[2J.mp4" in page.text


def test_a_report_needs_an_explanation_and_both_videos(step_model, videos, tmp_path):
    with pytest.raises(OptionError, match="needs an explanation: verify with explain=True"):
        page_of(verified(explanation=None))
    with pytest.raises(OptionError, match="needs an explanation"):
        write_report(verified(explanation=None), tmp_path / "o.html", model=step_model, videos=["a", "b"])
    with pytest.raises(OptionError, match="needs the two of them, but 1 were given"):
        write_report(verified(), tmp_path / "o.html", model=step_model, videos=[videos.first])
    with pytest.raises(VideoError, match="no such file"):
        write_report(verified(), tmp_path / "o.html", model=step_model, videos=["none.mp4", "none.mp4"])
    assert list(tmp_path.iterdir()) == []


def test_every_number_of_a_timeline_is_on_its_page(step_model, step_video, tmp_path):
    limits = ({}, {"min_seconds": 2.5}, {"max_seconds": 9.0}, {"min_seconds": 0.5, "max_seconds": 4.0})
    texts = ("take", "pour", "take the cup", "stir")
    script = Script(steps=tuple(ScriptStep(text=text, **bound) for text, bound in zip(texts, limits, strict=True)))
    path = step_video("take", "pour", None, "stir", "take")
    result = step_model.timeline(script, path, settings=FINE)
    write_report(result, tmp_path / "out.html", model=step_model)
    page = check_safe((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert f"{result.verdict} Does not follow the script" in page.text
    assert [reason for reason in result.reasons if reason[1:] not in page.text] == []
    for step in (*result.steps, *result.repeats):
        assert f"{step.confidence:.2f}" in page.text
        assert step.text in page.text
        if step.start is not None:
            times = clock(step.start, tenths=True), clock(step.end, tenths=True), f"{step.end - step.start:.1f} s"
            assert " ".join(times) in page.text
    for word in ("any time", "at least 2.5 s", "at most 9 s", "0.5 to 4 s", *{step.status for step in result.steps}):
        assert word in page.text
    for part in result.unexplained:
        assert f"{clock_span(part.start, part.end)}, {part.end - part.start:.1f} s" in page.text
    assert len(page.values("src")) == len([step for step in result.steps if step.start is not None])
    assert hashlib.sha256(path.read_bytes()).hexdigest() in page.text
    assert f"Sampling {step_model.embedder.sampling.key}" in page.text
    assert all(f"{name} {value}" in page.text for name, value in result.settings.to_dict().items())


def test_steps_from_outside_stay_texts(step_model, step_video):
    result = step_model.timeline(["take"], step_video("take", "pour"), settings=FINE)
    steps = tuple(dataclasses.replace(step, text=EVIL, status="repeated") for step in result.steps)
    changed = dataclasses.replace(result, steps=steps, script=EVIL, reasons=(EVIL,), notes=(EVIL,), bundle=EVIL)
    text = timeline_page(changed, video=video(EVIL), pictures=[None], facts=facts(EVIL))
    page = check_safe(text)
    assert page.text.count("alert(1)") >= 8


def test_a_timeline_that_passes(step_model, step_video, tmp_path):
    result = step_model.timeline(["take", "pour"], step_video("take", "pour"), settings=FINE)
    write_report(result, tmp_path / "out.html", model=step_model)
    page = check_safe((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert "PASS Follows the script Every step was found" in page.text


def test_a_page_stays_small_however_many_steps(step_model, step_video, tmp_path):
    result = step_model.timeline(["take"], step_video("take", "pour"), settings=FINE)
    (step,) = result.steps
    many = dataclasses.replace(result, steps=(step,) * 1000)
    write_report(many, tmp_path / "out.html", model=step_model)
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert len(Page(text).values("src")) == 120
    assert "880 of 1000 steps are left out here." in Page(text).text
    assert len(text) < 2_000_000


def test_a_step_whose_picture_cannot_be_decoded(step_model, step_video):
    result = step_model.timeline(["take", "stir"], step_video("take", "pour"), settings=FINE)
    pictures = [KeyFrame(seconds=0.5, picture=None), None]
    page = check_safe(timeline_page(result, video=video("v.mp4"), pictures=pictures, facts=facts()))
    assert "1, found cannot be decoded" in page.text
    assert "2, missing not seen in the video" in page.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none" / "out.html", "cannot be written: there is no folder"),
        (lambda folder: folder, "is not a file; choose another name"),
        (lambda folder: folder / "a.mp4", "is an input, which the report would overwrite"),
        (lambda folder: folder / "a.mp4" / "out.html", "cannot be written: there is no folder"),
        (lambda _: Path("/dev/null"), "is not a file"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path, make, message):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")
    with pytest.raises(OutputError, match=message):
        check_report_path(make(tmp_path), inputs=(str(video), "", "absent.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert video.read_bytes() == b"video"


def test_a_failed_write_leaves_the_old_page(step_model, step_video, tmp_path, monkeypatch):
    result = step_model.timeline(["take"], step_video("take", "pour"), settings=FINE)
    out = tmp_path / "out.html"
    out.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weaksvr.runtime.storage.os.fsync", full)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        write_report(result, out, model=step_model)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


def test_the_content_of_a_folder_is_that_of_its_files(tmp_path):
    for name, data in (("2.png", b"two"), ("1.png", b"one")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".hidden").write_bytes(b"no frame")
    lines = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in (("1.png", b"one"), ("2.png", b"two"))
    )
    assert content_sha256(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()
    with pytest.raises(VideoError, match="cannot be read any more"):
        content_sha256(tmp_path / "none.mp4")


def test_folders_and_parts(step_model, step_video, tmp_path):
    first = step_video("take", "pour", "stir", "take")
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 41):
        value = np.full((16, 24, 3), number * 6, np.uint8)
        Image.fromarray(value).save(folder / f"{number}.png")
    part = (1.0, 3.0)
    result = step_model.verify(first, folder, part_a=part, threshold=1.0, method="vector", explain=True)
    pair = VideoPart(path=str(first), start=1.0, end=3.0), folder
    write_report(result, tmp_path / "out.html", model=step_model, videos=pair)
    page = check_safe((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert f"{first} from 1 s to 3 s" in page.text
    assert content_sha256(folder) in page.text
    data = page.values("src")[0].removeprefix("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert min(picture.size) == 132
