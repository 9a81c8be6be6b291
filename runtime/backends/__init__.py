"""What runs the networks of a bundle. A backend is anything with the members of `Backend`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Backend", "DeployedBackend"]


class Backend(Protocol):
    """Runs networks by role, as laid down in `bundle.ROLES`.

    Attributes:
        device: where they run, `cpu` or `cuda`.
        provider: what runs them, e.g. `CPUExecutionProvider`.
        precision: of the weights, e.g. `fp32`.
    """

    @property
    def device(self) -> str: ...

    @property
    def provider(self) -> str: ...

    @property
    def precision(self) -> str: ...

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs of the role's network, by name.

        Args:
            role: `vision`, `temporal` or `text`.
            inputs: arrays by tensor name, with the dtypes and dimensions of `bundle.ROLES[role].inputs`.

        Returns:
            One array for each of `bundle.ROLES[role].outputs`.

        Raises:
            WeakSVRError: if there is no such network, or it cannot be run.
        """
        ...


class DeployedBackend(Backend, Protocol):
    """A backend that a bundle was loaded into.

    Attributes:
        num_threads: for one network on the CPU.
        notes: what a user should know, e.g. why `auto` did not take the GPU.
    """

    @property
    def num_threads(self) -> int: ...

    @property
    def notes(self) -> tuple[str, ...]: ...
