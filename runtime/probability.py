"""From a distance to the chance that two videos are the same, learned from labelled pairs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .thresholds import SameProbability

__all__ = ["fit_probability"]

_MAX_STEPS: Final = 100


def fit_probability(same: NDArray[np.bool_], distances: NDArray[np.float64]) -> SameProbability:
    """Fit a logistic curve by maximum likelihood, to targets a little inside of 0 and 1 (Platt 1999).

    The targets are (S + 1) / (S + 2) for the S same pairs and 1 / (N + 2) for the N different ones, so that pairs which
    are told apart without error do not make it certain. Where distances say nothing, or the contrary, the slope is 0
    and the chance that of the targets' mean.

    Args:
        same: bool (P,), both kinds.
        distances: float64 (P,), finite.
    """
    num_same = int(same.sum())
    targets = np.where(same, (num_same + 1) / (num_same + 2), 1 / (len(same) - num_same + 2))
    prior = targets.mean()
    flat = SameProbability(intercept=float(np.log(prior / (1 - prior))), slope=0.0)
    center, scale = float(distances.mean()), float(distances.std())
    if not scale > 1e-12 * abs(center):
        return flat
    inputs = np.stack([np.ones(len(distances)), -(distances - center) / scale], axis=1)  # (P, 2)
    weights = np.array([flat.intercept, 0.0])
    loss = _loss(inputs @ weights, targets)
    for _ in range(_MAX_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (chance - targets)
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10 and _loss(inputs @ (weights - size * step), targets) > loss:
            size /= 2
        candidate = weights - size * step
        found = _loss(inputs @ candidate, targets)
        if found >= loss:
            break
        weights, loss = candidate, found
    slope = float(weights[1]) / scale
    if not slope > 0:
        return flat
    return SameProbability(intercept=float(weights[0]) + slope * center, slope=slope)


def _loss(scores: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """The negative log likelihood."""
    return float((np.logaddexp(0, scores) - targets * scores).sum())
