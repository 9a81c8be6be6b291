"""Published weights into a network, with every tensor accounted for and no code run from their file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..runtime.errors import OptionError

__all__ = ["load_weights", "read_weights"]

_OTHER: Final = "the weights are not those of this network"
_AROUND: Final = ("state_dict", "model_state_dict", "model")  # under which training programs keep the weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names, on the CPU.

    Args:
        path: safetensors, or a state dict by `torch.save`, alone or under `state_dict`, `model_state_dict` or `model`.

    Raises:
        OptionError: if there is no such file, it is damaged, or it holds anything but tensors.
    """
    if not path.is_file():
        raise OptionError(f"{path}: no such file; give a file of weights")
    content = _load(path)
    around = next((name for name in _AROUND if isinstance(content, dict) and name in content), None)
    state = content if around is None else content[around]
    if not isinstance(state, dict) or not state:
        raise OptionError(f"{path}: holds no weights by name; give safetensors or a state dict of PyTorch")
    odd = [str(name) for name, value in state.items() if not (isinstance(name, str) and _is_plain(value))]
    if odd:
        raise OptionError(f"{path}: what it holds as {_listed(odd)} is not a plain tensor; give a state dict alone")
    return dict(state)


def load_weights(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: object,
    leave_out: Iterable[str] = (),
    convert: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> int:
    """Fill a network: all of its tensors are among those given, and all of those given are its own.

    Args:
        module: the network; unchanged if there is an error.
        tensors: by name, see `read_weights`.
        source: what errors call them, their file for example.
        leave_out: names of layers among the tensors that the network does without: the classifier.
        convert: from the tensors to those of the network's names and sizes.

    Returns:
        How many tensors were taken.

    Raises:
        OptionError: if the tensors are not those of the network.
    """
    try:
        converted = convert(dict(tensors))
    except Exception as error:  # what a conversion makes of another network's tensors may be anything
        raise OptionError(f"{source}: {_OTHER} ({_first_line(error)})") from error
    dropped = tuple(f"{name}." for name in leave_out if name)
    found = {name: tensor for name, tensor in converted.items() if not name.startswith(dropped)}
    wanted = module.state_dict()
    counters = {name for name in wanted if name.endswith(".num_batches_tracked")}  # older files have none
    _refuse(source, "lacks", (name for name in wanted if name not in found and name not in counters))
    _refuse(source, "has besides", (name for name in found if name not in wanted))
    _refuse(
        source,
        "has in another size",
        (
            f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
            for name in found
            if found[name].shape != wanted[name].shape
        ),
    )
    broken = (name for name, tensor in found.items() if not bool(tensor.isfinite().all()))
    _refuse(source, "has numbers that are not finite in", broken)
    module.load_state_dict(found, strict=False)
    return len(found)


def _refuse(source: object, what: str, names: Iterable[str]) -> None:
    found = list(names)
    if found:
        raise OptionError(f"{source}: {_OTHER}: it {what} {_listed(found)}")


def _load(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused afterwards
            return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise OptionError(f"{path}: is damaged, or no safetensors ({_first_line(error)}); fetch it again") from error
    except Exception as error:  # what a damaged pickle raises may be anything
        raise OptionError(
            f"{path}: is damaged, or holds more than weights ({_first_line(error)}); nothing of it was run; "
            "give safetensors or a state dict of PyTorch"
        ) from error


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def _listed(names: list[str]) -> str:
    """Up to three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
