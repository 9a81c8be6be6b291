"""The `.tar` files of the published codes, read without running anything that stands in them.

Such a file is a pickle by `torch.save`, with numpy scalars beside the weights. PyTorch's own restricted unpickler makes
tensors and plain containers alone; the scalars are read by the two small functions below instead of numpy's, so that
not even numpy acts on what a file says.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from ..runtime.errors import CheckpointError
from ..runtime.storage import sha256_of

__all__ = ["OfficialFile", "read_official_file"]

_WEIGHTS: Final = "model_state_dict"
_WRAPPED: Final = "module."  # before every name where the network was saved inside its parallel wrapper
_FACTS: Final = ("epoch", "auc_value", "wdr_value", "auc_value_val", "wdr_value_val", "loss")
_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"f2": "e", "f4": "f", "f8": "d", "b1": "?"},
        **{"i1": "b", "i2": "h", "i4": "i", "i8": "q"},
        **{"u1": "B", "u2": "H", "u4": "I", "u8": "Q"},
    }
)
_LARGEST: Final = 1e300  # integers of a pickle have no largest
_WIDENED: Final = (torch.float16, torch.bfloat16)  # every one of their values is one of float32's
_COUNTER: Final = ".num_batches_tracked"  # of batch normalisation, an integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """What a `.tar` holds.

    Attributes:
        path: the file.
        sha256: of its content.
        tensors: the network's, float32 on the CPU, finite, by the names of the published code; int64 those that count
            the batches of a batch normalisation.
        facts: those numbers beside them that are there: `epoch` (counted from 0), `auc_value`, `wdr_value`, `loss`, ...
        left_out: what else is in the file, by name; the states of its optimisers.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, float]
    left_out: tuple[str, ...]


class _NumberType:
    """Stands for numpy's dtype of one number."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _FORMATS:
            raise pickle.UnpicklingError(f"a numpy value of the kind {code!r}")
        self.format = _FORMATS[code]
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _number(kind: _NumberType, data: bytes) -> float:
    """Stands for numpy's maker of scalars."""
    value: float = struct.unpack(kind.order + kind.format, data)[0]
    return value


_ALLOWED: Final = (
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
)


def read_official_file(path: Path) -> OfficialFile:
    """Read a `best_model.tar`.

    Args:
        path: the file, by the published training script of WeakSVR or SVIP.

    Raises:
        CheckpointError: if there is no such file, it is damaged, its pickle wants anything but weights and numbers, or
            it holds no network, or one whose numbers are not finite.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the best_model.tar of the published code")
    content = _plain(_load(path))
    state = _plain(content.get(_WEIGHTS))
    if not state:
        found = f"has {_listed(map(str, content))}" if content else "is no dictionary"
        raise CheckpointError(
            f"{path}: holds no {_WEIGHTS!r} (it {found}); give the best_model.tar of the published code"
        )
    tensors = _tensors(path, state)
    facts = {name: content[name] for name in _FACTS if name in content}
    numbers = {name: number for name, value in facts.items() if (number := _finite(value)) is not None}
    left_out = sorted(str(name) for name in content if name != _WEIGHTS and name not in numbers)
    return OfficialFile(path=path, sha256=sha256_of(path), tensors=tensors, facts=numbers, left_out=tuple(left_out))


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(_ALLOWED)):
            warnings.simplefilter("ignore")
            # Mapped, the states of the optimisers, twice as large as the weights, are never read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # what a damaged pickle raises may be anything
        text = " ".join(str(error).split())
        wanted = re.search(r"GLOBAL ([\w.]+)", text)
        if wanted:
            raise CheckpointError(
                f"{path}: its pickle asks for {wanted[1]}, which no weights need; nothing of it was run, "
                "and the file is not to be trusted"
            ) from error
        reason = text[:160] or type(error).__name__
        raise CheckpointError(f"{path}: is damaged, or no weights of PyTorch ({reason}); fetch it again") from error


def _plain(content: Any) -> dict[Any, Any]:
    """A dictionary's entries without the attributes that a pickle may give it; empty for anything else."""
    return dict(dict.items(content)) if isinstance(content, dict) else {}


def _tensors(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The network's tensors as float32, but for counters."""
    odd = [str(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if odd:
        raise CheckpointError(f"{path}: what it holds under {_listed(odd)} is not a tensor; this is no network")
    wrapped = all(name.startswith(_WRAPPED) for name in state)
    found = {name.removeprefix(_WRAPPED) if wrapped else name: Tensor.detach(value) for name, value in state.items()}
    for name, tensor in found.items():
        if not _is_whole(tensor, counter=name.endswith(_COUNTER)):
            raise CheckpointError(
                f"{path}: {name} ({tensor.dtype}, {tuple(tensor.shape)}) is not a plain tensor of numbers that float32 "
                "holds, or not all of them are there; the file is damaged"
            )
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite; the file is damaged")
    return {name: tensor if tensor.dtype == torch.int64 else tensor.to(torch.float32) for name, tensor in found.items()}


def _is_whole(tensor: Tensor, *, counter: bool = False) -> bool:
    """Dense, of a kind that float32 holds exactly or a counter, and all there: a file may claim any shape."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return False
    if tensor.dtype not in ((torch.int64,) if counter else (torch.float32, *_WIDENED)):
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def _finite(value: Any) -> float | None:
    """A number that JSON can hold, else None."""
    if isinstance(value, Tensor):
        tensor = Tensor.detach(value)
        value = tensor.item() if tensor.numel() == 1 and _is_whole(tensor) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < _LARGEST and math.isfinite(value) else None


def _listed(names: Iterable[str]) -> str:
    """Up to eight names, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(found[:8]) + more
