"""Inputs that are larger or smaller than an engine takes at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..engine_file import Profile, ShapeRange
from ..errors import BundleError

__all__ = ["choose_profile", "parts_of"]

Arrays = Mapping[str, NDArray[Any]]


def choose_profile(profiles: Sequence[Profile], inputs: Arrays) -> int:
    """The number of the profile that takes `inputs`; the one for the smallest batches, if several do.

    Raises:
        BundleError: if none does; it names a shape and what would do.
    """
    fitting = [number for number, profile in enumerate(profiles) if _refusal(profile, inputs) is None]
    if fitting:
        return min(fitting, key=lambda number: profiles[number].max_batch)
    raise _misfit(profiles, inputs)


def parts_of(profiles: Sequence[Profile], inputs: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
    """Cut `inputs` along the batch into as few parts as possible, of nearly equal size.

    Raises:
        BundleError: if a part fits no profile, for example because the batch is empty or too small.
    """
    if not all(array.ndim for array in inputs.values()):
        raise _misfit(profiles, inputs)
    batch = len(next(iter(inputs.values())))
    largest = max(profile.max_batch for profile in profiles)
    number = max(1, -(-batch // largest))
    bounds = [batch * part // number for part in range(number + 1)]
    for start, stop in itertools.pairwise(bounds):
        part = {name: array[start:stop] for name, array in inputs.items()}
        choose_profile(profiles, part)
        yield part


def _refusal(profile: Profile, inputs: Arrays) -> ShapeRange | None:
    """The range that an input is out of; None if all are within theirs."""
    for item in profile.inputs:
        shape = inputs[item.name].shape
        fits = len(shape) == len(item.min) and all(
            low <= side <= high for low, side, high in zip(item.min, shape, item.max, strict=True)
        )
        if not fits:
            return item
    return None


def _misfit(profiles: Sequence[Profile], inputs: Arrays) -> BundleError:
    refusals = [refused for profile in profiles if (refused := _refusal(profile, inputs)) is not None]
    ranges = ", or ".join(f"{item.min} to {item.max}" for item in refusals)
    name = refusals[0].name
    return BundleError(f"{name} of shape {inputs[name].shape} fits no profile of the engine, which takes {ranges}")
