"""What several processes need: joining their batches so that the loss is that of one process with the joined batch."""

from __future__ import annotations

import datetime
import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["average_gradients", "gather_indices", "gather_with_gradient", "rank", "start", "stop", "world_size"]

_PATIENCE = datetime.timedelta(hours=12)  # the other processes wait while the first one validates


def start(device: torch.device) -> None:
    """Join the process group that `torchrun` describes in the environment; nothing to do without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """Concatenate over the processes; each gets the sum of all gradients of its own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather_with_gradient(x: Tensor) -> Tensor:
    """Join (B, ...) of all processes to (B x world, ...), in the order of the ranks.

    The gradient of a row is the sum over the processes' losses. Where every process computes the same joint loss and
    gradients are then averaged over the processes (see `average_gradients`), the result is the gradient of
    that one loss.
    """
    return x if world_size() == 1 else _Gather.apply(x)


def gather_indices(indices: list[int]) -> list[int]:
    """Join the clip indices of all processes, in the order of the ranks."""
    if world_size() == 1:
        return indices
    parts: list[list[int]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, indices)
    return [index for part in parts for index in part]


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the processes.

    DistributedDataParallel would do so during the backward pass, but only for parameters that are used inside the
    module's forward; the scales of the losses are not.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for work in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
        work.wait()
    for gradient in gradients:
        gradient.div_(world_size())
