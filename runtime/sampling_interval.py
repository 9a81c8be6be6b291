"""Whether frames are looked at often enough to see every step."""

from __future__ import annotations

from typing import Final

import numpy as np

from .embedder import VideoEmbedding
from .script import Script

__all__ = ["LONGEST_SECONDS", "interval_notes", "sampling_interval"]

LONGEST_SECONDS: Final = 10.0
"""Where no script says how long steps are: frames further apart than this are worth a note."""


def sampling_interval(video: VideoEmbedding) -> float:
    """The longest time in seconds between two neighbouring frames that are looked at."""
    return float(np.diff(video.times_seconds).max(initial=0.0))


def interval_notes(video: VideoEmbedding, *, script: Script | None = None) -> list[str]:
    """What may be missed in a video, for people; empty if nothing of the kind is to be said.

    With a script, a step is too short if it may take less time than lies between two frames (`max` of the step), or if
    the script has more steps than frames are looked at, so that a step is shorter on average.
    """
    interval = sampling_interval(video)
    if script is None:
        if interval <= LONGEST_SECONDS:
            return []
        return [f"{video.path}: a frame is looked at every {interval:.1f} s; steps that are shorter may be missed"]
    notes = []
    num_steps, num_frames = len(script.steps), len(video.times_seconds)
    if num_steps > num_frames:
        notes.append(
            f"{video.path}: {num_frames} frames are looked at, one every {interval:.1f} s, but the script has "
            f"{num_steps} steps: some are shorter than that and may be missed"
        )
    notes += [
        f"{video.path}: a frame is looked at every {interval:.1f} s, but step {number} ({step.text}) takes at most "
        f"{step.max_seconds:g} s and may be missed"
        for number, step in enumerate(script.steps, 1)
        if step.max_seconds is not None and step.max_seconds < interval
    ]
    return notes
