"""A result as one page for people: what was found, what it looks like, and everything needed to repeat it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import OptionError, OutputError
from .key_frames import PICTURE_SIZE, FilmedVideo, KeyFrame, film
from .report_facts import gather, video_facts
from .report_moments import choose_moments
from .report_timeline import timeline_page
from .report_verify import Column, verify_page
from .storage import check_writable, output_exists, write_text
from .timeline import Timeline
from .verify import VerifyResult
from .video_part import VideoPart

if TYPE_CHECKING:
    from .verify import Model

__all__ = ["check_report_path", "write_report"]

MANY_STEPS: Final = 24  # from there on their pictures are smaller
MOST_PICTURES: Final = 120
_SMALL: Final = 84


def write_report(
    result: VerifyResult | Timeline,
    path: str | os.PathLike[str],
    *,
    model: Model,
    videos: Sequence[str | os.PathLike[str] | VideoPart] = (),
    command: str = "",
) -> None:
    """Write a result as one self-contained HTML page, which needs no network and runs no script.

    The videos are opened once more, for the pictures.

    Args:
        result: of `Model.verify(..., explain=True)`, or of `Model.timeline`.
        path: of the page; replaced in one step.
        model: that the result is from.
        videos: A and B, as they were compared; not needed for a timeline, which knows its own.
        command: what was typed, to stand on the page.

    Raises:
        OptionError: if the result has no explanation, or its two videos are not given.
        VideoError: if a video cannot be read any more.
        OutputError: if the page cannot be written.
    """
    if isinstance(result, Timeline):
        check_report_path(path, inputs=(result.video, result.script))
        text = _timeline(result, model, command)
    else:
        parts = [VideoPart.of(video) for video in videos]
        check_report_path(path, inputs=[part.path for part in parts])
        text = _verify(result, model, parts, command)
    write_text(Path(path), text)


def check_report_path(path: str | os.PathLike[str], *, inputs: Sequence[str] = ()) -> None:
    """Refuse a path that no report can be written to, before any work is done.

    Args:
        path: of the page.
        inputs: paths that it must not overwrite; empty ones and those that do not exist count for nothing.

    Raises:
        OutputError: if it is an input, a folder or a device, or its folder cannot be written to.
    """
    target = Path(path)
    there = output_exists(target)
    if there and any(given and Path(given).exists() and target.samefile(given) for given in inputs):
        raise OutputError(f"{target}: is an input, which the report would overwrite; name another file")
    check_writable(target)


def _verify(result: VerifyResult, model: Model, parts: Sequence[VideoPart], command: str) -> str:
    if result.explanation is None:
        raise OptionError("a report needs an explanation: verify with explain=True")
    if len(parts) != 2:
        raise OptionError(f"a report on two videos needs the two of them, but {len(parts)} were given")
    a, b = parts
    moments = choose_moments(result.explanation, different=result.verdict == "different")
    first = film(a.path, [moment.a for moment in moments if moment.a is not None])
    second = film(b.path, [moment.b for moment in moments if moment.b is not None])
    pictures = iter(first.key_frames), iter(second.key_frames)
    columns = [
        Column(
            moment=moment,
            picture_a=None if moment.a is None else next(pictures[0]).picture,
            picture_b=None if moment.b is None else next(pictures[1]).picture,
        )
        for moment in moments
    ]
    calibrated = model.bundle.manifest.threshold(result.method, result.precision, result.sampling)
    return verify_page(
        result,
        videos=(video_facts(a, first), video_facts(b, second)),
        columns=columns,
        facts=gather(model, command=command, calibrated=calibrated),
    )


def _timeline(result: Timeline, model: Model, command: str) -> str:
    seen = [
        (number, (step.start + step.end) / 2)
        for number, step in enumerate(result.steps)
        if step.start is not None and step.end is not None
    ]
    if len(seen) > MOST_PICTURES:
        seen = [seen[pick * len(seen) // MOST_PICTURES] for pick in range(MOST_PICTURES)]
    size = PICTURE_SIZE if len(seen) <= MANY_STEPS else _SMALL
    filmed: FilmedVideo = film(result.video, [middle for _, middle in seen], size=size)
    pictures: list[KeyFrame | None] = [None] * len(result.steps)
    for (number, _), picture in zip(seen, filmed.key_frames, strict=True):
        pictures[number] = picture
    whole = abs(result.start) < 1e-6 and abs(result.end - result.duration_seconds) < 1e-6
    part = VideoPart(path=result.video) if whole else VideoPart(path=result.video, start=result.start, end=result.end)
    return timeline_page(
        result, video=video_facts(part, filmed), pictures=pictures, facts=gather(model, command=command)
    )
