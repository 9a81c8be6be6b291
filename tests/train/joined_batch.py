"""What each of the processes does whose joint loss and gradients `test_distributed.py` compares with one process's.

Arguments: dataset folder, settings as JSON, loss settings as JSON, file for the result; then those of `weaksvr-train`,
which is run in the end, so that one start of several processes serves both tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import torch
from weaksvr.runtime.manifest import read_manifest
from weaksvr.train.commands import train as train_command
from weaksvr.train.config import LossConfig, override
from weaksvr.train.distributed import average_gradients, gather_with_gradient, rank, start, world_size
from weaksvr.train.model import WeakSVR
from weaksvr.train.objective import Objective
from weaksvr.train.presets import preset
from weaksvr.train.texts import TextTable

INDICES = [5, 0, 7, 2, 9, 1]


def main(data: str, settings: str, losses: str, out: str) -> None:
    start(torch.device("cpu"))
    config = override(preset("workbench"), json.loads(settings))
    clips = read_manifest(Path(data) / "train.jsonl")
    table = TextTable(clips, open_clip.get_tokenizer(config.model.clip), seed=0)
    shape = (len(INDICES), config.data.num_frames, 3, config.data.size, config.data.size)
    frames = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    share = len(INDICES) // world_size()
    own = slice(rank() * share, (rank() + 1) * share)
    results = {}
    for number, loss_settings in enumerate(json.loads(losses)):
        train_text = loss_settings.pop("train_text")
        torch.manual_seed(0)
        model = WeakSVR(override(config, [f"model.train_text={train_text}"]))
        loss_config = LossConfig(**loss_settings)
        objective = Objective(model, table, loss_config, train_text=train_text, seed=0, device=torch.device("cpu"))
        loss, parts = objective(frames[own], INDICES[own], epoch=1, batch=2)
        loss.backward()
        average_gradients(model)
        results[f"{number}.coarse"] = parts["coarse"].numpy()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                results[f"{number}.gradient.{name}"] = parameter.grad.numpy()
    rows = torch.arange(6.0).reshape(6, 1)[own]
    results["gathered"] = gather_with_gradient(rows).numpy()
    np.savez(f"{out}.{rank()}.npz", **results)


if __name__ == "__main__":
    main(*sys.argv[1:5])
    sys.argv[1:] = sys.argv[5:]
    train_command.main()
