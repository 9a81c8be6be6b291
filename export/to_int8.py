"""From fp32 networks to int8 ones: which of them, and by which kind of quantization, is for the gate to say.

Dynamic quantization finds the range of every activation anew at each run and leaves convolutions alone; static
quantization has them from real training videos, convolutions included. Of the two kinds every network takes the one
whose outputs are closer to PyTorch's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from numpy.typing import NDArray

from ..runtime.bundle import ROLES, NewNetwork
from ..runtime.embedder import Embedder
from ..runtime.errors import ExportError
from ..runtime.preprocess import normalize
from ..runtime.spec import paragraph
from .calibration import CalibrationData
from .difference import Difference
from .gate import Gate, Progress, Variant
from .isolated import Child
from .limits import Limits

__all__ = ["Int8Mode", "calibration_batches", "fewer_networks", "int8_variant"]

Int8Mode = Literal["auto", "dynamic", "static"]

_KINDS: Final = ("dynamic", "static")
_NO_VIDEOS: Final = "the videos that the model was trained on are not there"
_OF_VERDICTS: Final = ("temporal", "vision")  # in the order in which they are given up


def calibration_batches(pytorch: Embedder, data: CalibrationData) -> dict[str, list[NDArray[Any]]]:
    """Inputs of every role from training videos, one batch a video; empty where there are none.

    Raises:
        VideoError: if a video cannot be used.
    """
    batches: dict[str, list[NDArray[Any]]] = {}
    for clip in data.trained_on:
        view = pytorch.read(clip.video, start=clip.start, end=clip.end).frames[0]
        pixels = normalize(view, pytorch.preprocess)
        features = pytorch.backend.run("vision", {"frames": pixels})["features"]
        batches.setdefault("vision", []).append(pixels)
        batches.setdefault("temporal", []).append(features[None])
        if pytorch.tokenizer is not None:
            batches.setdefault("text", []).append(pytorch.tokenizer([*clip.steps, paragraph(clip.steps)]))
    return batches


def int8_variant(
    gate: Gate,
    fp32: Variant,
    batches: Mapping[str, Sequence[NDArray[Any]]],
    *,
    mode: Int8Mode,
    limits: Limits,
    progress: Progress,
) -> Variant:
    """Quantize every network that stays within the limits on its own.

    Args:
        gate: compares the networks.
        fp32: what is quantized.
        batches: from `calibration_batches`.
        mode: the kind of quantization; `auto` tries both where there are training videos.
        limits: of int8.
        progress: called with (what is being done or was decided, parts done, parts in all).

    Raises:
        ExportError: if static quantization is asked for and there are no training videos, or no network that verdicts
            depend on can be quantized.
    """
    notes = []
    kinds = [kind for kind in _KINDS if mode in ("auto", kind)]
    if "static" in kinds and not batches:
        if mode == "static":
            raise ExportError(f"static int8 cannot be calibrated: {_NO_VIDEOS}; use --int8-mode dynamic")
        notes.append(f"static int8 was not tried: {_NO_VIDEOS}")
        kinds.remove("static")
    tried: dict[str, dict[str, NewNetwork]] = {}
    found: dict[str, Mapping[str, Sequence[Difference]]] = {}
    for kind in kinds:
        progress(f"quantizing the networks ({kind})", 0, 1)
        tried[kind] = _quantized(fp32, batches, static=kind == "static")
        candidate = Variant(precision="int8", networks={**fp32.networks, **tried[kind]})
        with gate.running(candidate) as running:
            found[kind] = gate.check_networks(running)
    networks = dict(fp32.networks)
    for role in networks:
        there = [kind for kind in kinds if role in tried[kind]]
        refusals = {kind: [text for d in found[kind][role] for text in d.refusals(limits)] for kind in there}
        passed = [kind for kind in there if not refusals[kind]]
        if passed:
            best = max(passed, key=lambda kind: min(difference.cosine for difference in found[kind][role]))
            networks[role] = tried[best][role]
            notes.append(f"the {role} network is int8 ({best})")
        elif there:
            notes.append(f"the {role} network stays fp32: {refusals[there[0]][0]}")
        else:
            notes.append(f"the {role} network stays fp32: {' and '.join(kinds)} int8 leaves it as it is")
    for note in notes:
        progress(f"int8: {note}", 1, 1)
    if not _quantized_roles(fp32, networks):
        raise ExportError(f"int8: {'; '.join(notes)}: there is nothing to gain")
    return Variant(precision="int8", networks=networks, notes=tuple(notes))


def _quantized_roles(fp32: Variant, networks: Mapping[str, NewNetwork]) -> list[str]:
    """The roles that verdicts depend on and that are not as in fp32."""
    return [role for role in _OF_VERDICTS if networks[role] is not fp32.networks[role]]


def fewer_networks(fp32: Variant, refused: Variant, *, reason: str) -> Iterator[Variant]:
    """Variants with one quantized network less, for when the verdicts of all together are beyond the limits.

    Args:
        fp32: gives the networks in fp32.
        refused: what was too much.
        reason: why, for people.
    """
    roles = _quantized_roles(fp32, refused.networks)
    for role in roles if len(roles) > 1 else ():
        kept = [note for note in refused.notes if not note.startswith(f"the {role} network")]
        note = f"the {role} network stays fp32, as with it {reason}"
        yield dataclasses.replace(
            refused, networks={**refused.networks, role: fp32.networks[role]}, notes=(*kept, note)
        )


def _quantized(fp32: Variant, batches: Mapping[str, Sequence[NDArray[Any]]], *, static: bool) -> dict[str, NewNetwork]:
    """The networks that can be quantized so, by role."""
    found = {}
    for role, network in fp32.networks.items():
        (tensor,) = ROLES[role].inputs
        with Child("int8") as child:
            doing = f"quantizing the {role} network"
            data = child.call(doing, "quantize", network.data, static, tensor.name, list(batches.get(role, ())))
        if data is not None:
            found[role] = dataclasses.replace(network, precision="int8", data=data)
    return found
