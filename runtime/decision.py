"""From a distance to a verdict: the same, different, or undecided."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final, Literal

from .embedder import VideoEmbedding
from .familiarity import knows
from .spec import Method
from .thresholds import Threshold

__all__ = ["EXIT_CODES", "Decision", "Judge", "Verdict"]

Verdict = Literal["same", "different", "undecided"]
EXIT_CODES: Final[dict[Verdict, int]] = {"same": 0, "different": 1, "undecided": 3}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a distance means.

    Attributes:
        verdict: `same` or `different`, as `same` says, or `undecided`.
        same: whether the distance is at most the threshold, whatever the verdict.
        distance, threshold: what was compared.
        margin: threshold - distance.
        probability: chance that the procedures are the same; None where the bundle was not calibrated with it.
        reasons: why it is undecided, for people; empty if it is not.
    """

    verdict: Verdict
    same: bool
    distance: float
    threshold: float
    margin: float
    probability: float | None
    reasons: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """Decides on distances of one method, with one threshold.

    Attributes:
        method: how the videos are compared.
        threshold: largest distance of a same pair.
        calibrated: what the bundle knows of this method, precision and sampling; None if nothing.
        given: whether the threshold is the caller's own, which has no interval that would leave verdicts open.
    """

    method: Method
    threshold: float
    calibrated: Threshold | None
    given: bool

    def decide(self, found: float, videos: Iterable[VideoEmbedding]) -> Decision:
        """The verdict on `videos` that are `found` apart."""
        same = found <= self.threshold
        reasons = tuple(self._reasons(found, videos))
        probability = None if self.calibrated is None else self.calibrated.probability
        return Decision(
            verdict="undecided" if reasons else "same" if same else "different",
            same=same,
            distance=found,
            threshold=self.threshold,
            margin=self.threshold - found,
            probability=None if probability is None else probability.at(found),
            reasons=reasons,
        )

    def _reasons(self, found: float, videos: Iterable[VideoEmbedding]) -> list[str]:
        abstention = None if self.calibrated is None else self.calibrated.abstention
        if abstention is None:
            return []
        reasons = []
        if not self.given and abstention.low <= found <= abstention.high:
            reasons.append(
                f"undecided: the distance is within {abstention.low:.4f} to {abstention.high:.4f}, where the threshold "
                "may lie as far as its calibration can tell"
            )
        strange = [video.path for video in videos if not knows(abstention.familiarity, video.frame_features)]
        reasons += [
            f"undecided: {path} is unlike the videos that the calibration saw" for path in dict.fromkeys(strange)
        ]
        return reasons
