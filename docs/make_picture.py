"""Draw `verdict.png`: the example videos step by step, and what the library says about them.

    python docs/make_picture.py [--bundle DIR]

The frames come from the middle of each step (`examples/boundaries.jsonl`); the verdicts, distances and thresholds are
what `verify` returns for the very files. A frame is outlined where its step differs from the first video's.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
from PIL import Image, ImageDraw, ImageFont
from weaksvr.runtime import VerifyResult, load, open_video
from weaksvr.runtime.storage import write_bytes

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
MAX_BYTES = 200_000
COLORS = (128, 64, 32)  # of the palette; the first that makes the file small enough is taken

FRAME, GAP, MARGIN = 150, 10, 14  # pixels
HEAD, CAPTION, VERDICT = 24, 38, 210
INK, PALE, GREEN, RED, PAPER = (32, 32, 36), (110, 110, 116), (24, 122, 62), (186, 40, 40), (255, 255, 255)


def step_frames(path: Path, steps: list[dict[str, Any]]) -> list[Image.Image]:
    """The frame in the middle of each step."""
    with open_video(path) as video:
        rate = video.num_frames / video.duration_seconds
        middles = [round((step["start"] + step["end"]) / 2 * rate) for step in steps]
        frames = video.frames([min(index, video.num_frames - 1) for index in middles])
    return [Image.fromarray(frame).resize((FRAME, FRAME), Image.Resampling.BOX) for frame in frames]


def wrapped(text: str, font: ImageFont.FreeTypeFont) -> str:
    """`text` in lines no wider than a frame."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > FRAME and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def draw_row(
    page: Image.Image, top: int, row: dict[str, Any], first: list[dict[str, Any]], *, result: VerifyResult | None
) -> None:
    """One video: its name, a frame and a caption a step, and to the right how it compares with the first."""
    pen = ImageDraw.Draw(page)
    font, bold = ImageFont.load_default(13), ImageFont.load_default(15)
    pen.text((MARGIN, top), row["video"], fill=INK, font=bold)
    for place, (step, frame) in enumerate(
        zip(row["steps"], step_frames(EXAMPLES / row["video"], row["steps"]), strict=True)
    ):
        left, upper = MARGIN + place * (FRAME + GAP), top + HEAD
        page.paste(frame, (left, upper))
        moved = place >= len(first) or step["step"] != first[place]["step"]
        if moved:
            pen.rectangle((left - 3, upper - 3, left + FRAME + 2, upper + FRAME + 2), outline=RED, width=3)
        pen.text((left, upper + FRAME + 4), wrapped(step["text"], font), fill=RED if moved else PALE, font=font)
    if result is None:
        return
    left, upper = page.width - VERDICT, top + HEAD + 18
    color = GREEN if result.same else RED
    pen.text((left, upper), "SAME" if result.same else "DIFFERENT", fill=color, font=ImageFont.load_default(30))
    lines = (f"distance to the first {result.distance:.4f}", f"threshold {result.threshold:.4f}", f"by {result.method}")
    for number, line in enumerate(lines):
        pen.text((left, upper + 44 + 19 * number), line, fill=PALE, font=font)


def draw_page(rows: list[dict[str, Any]], results: list[VerifyResult]) -> Image.Image:
    """All rows, the first without a verdict."""
    columns = max(len(row["steps"]) for row in rows)
    height = HEAD + FRAME + CAPTION + GAP
    size = (2 * MARGIN + columns * (FRAME + GAP) + VERDICT, 2 * MARGIN + len(rows) * height)
    page = Image.new("RGB", size, PAPER)
    for number, (row, result) in enumerate(zip(rows, [None, *results], strict=True)):
        draw_row(page, MARGIN + number * height, row, rows[0]["steps"], result=result)
    return page


def encoded(page: Image.Image) -> bytes:
    """The page as PNG with as many colours as the size allows."""
    for colors in COLORS:
        buffer = io.BytesIO()
        page.quantize(colors, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
    raise click.ClickException(f"the picture takes {buffer.tell()} bytes, more than {MAX_BYTES}; make FRAME smaller")


@click.command()
@click.option("--bundle", metavar="DIR", help="Model bundle to use.  [default: the one that comes along]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(__file__).with_name("verdict.png"),
    help="PNG.",
)
def main(bundle: str | None, out: Path) -> None:
    """Draw the example videos and their verdicts."""
    rows = [json.loads(line) for line in (EXAMPLES / "boundaries.jsonl").read_text().splitlines()]
    model = load(bundle, device="cpu")
    first, *others = (EXAMPLES / row["video"] for row in rows)
    results = [model.verify(first, other) for other in others]
    data = encoded(draw_page(rows, results))
    write_bytes(out, data)
    for other, result in zip(others, results, strict=True):
        click.echo(f"{first.name} {other.name}: {'SAME' if result.same else 'DIFFERENT'} {result.distance:.4f}")
    click.echo(f"{out}: {len(data)} bytes")


if __name__ == "__main__":
    main()
