"""The training loop of the weak setting, from a data folder to a RUN folder.

A RUN holds `checkpoint/` (the best weights, see `selection`), `last/` (from which an interrupted run goes on),
`metrics.jsonl` (one line an epoch) and `tensorboard/`. Everything random is drawn from the seed and the place in the
run, never from what was drawn before, so that a run that was killed and resumed ends with the same weights.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import __version__
from ..runtime.errors import CheckpointError, OptionError, OutputError, WeakSVRError
from .augment import augment
from .checkpoint import load_checkpoint, load_state, optimizer_tensors, restore_optimizer, save_checkpoint, save_state
from .config import TrainConfig
from .datasets.clips import ClipDataset, EpochSampler, FrameCache, PairSampler, batches_of, collate_clips
from .datasets.splits import TrainingData, load_training_data
from .device import pick_device, pick_precision
from .distributed import average_gradients, rank, start, world_size
from .evaluate import Validator
from .model import WeakSVR
from .objective import Objective
from .optimizer import create_optimizer, learning_rate_factor
from .progress import Reporter
from .run_folder import RunFolder
from .selection import OPTIMISTIC, Selection
from .texts import TextTable
from .tower_tokenizer import model_tokenizer, tokenizer_of

__all__ = ["RunSummary", "Trainer", "train"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a finished run reached.

    Attributes:
        out: the RUN folder.
        best: metrics line of the epoch whose weights are in `checkpoint/`; the first process alone knows it.
        epochs: epochs done, those before a resume included.
        seconds: wall-clock time of the run, interruptions left out.
        precision: arithmetic of the forward pass.
        device: where it ran.
    """

    out: Path
    best: Mapping[str, Any]
    epochs: int
    seconds: float
    precision: str
    device: str


def _count_classes(config: TrainConfig, data: TrainingData) -> TrainConfig:
    """The settings with the number of training procedures, where classes are trained.

    Raises:
        OptionError: if `model.num_classes` is another number.
    """
    if not config.loss.class_weight:
        return config
    found = TextTable(data.train, None, seed=0).num_labels
    if config.model.num_classes not in (0, found):
        raise OptionError(
            f"model.num_classes = {config.model.num_classes}, but the training videos show {found} procedures; leave "
            "it at 0 to have them counted"
        )
    return dataclasses.replace(config, model=dataclasses.replace(config.model, num_classes=found))


class Trainer:
    """One run. `fit` is the loop; the other methods are its stages, in order."""

    def __init__(
        self, data: TrainingData, folder: RunFolder, config: TrainConfig, *, device: torch.device, reporter: Reporter
    ) -> None:
        self.data = data
        self.folder = folder
        self.config = config
        self.device = device
        self.reporter = reporter
        self.precision = pick_precision(config.optim.precision, device, network=config.model.network)
        self.selection = Selection.of(config.optim)
        self.epoch = 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        self._build()

    def _build(self) -> None:
        config, optim = self.config, self.config.optim
        torch.manual_seed(optim.seed)
        self.model = WeakSVR(config).to(self.device)
        self.table = TextTable(self.data.train, tokenizer_of(model_tokenizer(config.model)), seed=optim.seed)
        spec = self.model.preprocess
        cache = FrameCache(Path(config.data.cache), spec) if config.data.cache else None
        dataset = ClipDataset(
            self.data.train,
            num_frames=config.data.num_frames,
            preprocess=spec,
            augment=config.augment,
            seed=optim.seed,
            cache=cache,
            epochs=optim.epochs,
        )
        sampler = PairSampler if config.data.pairs else EpochSampler
        self.sampler = sampler(
            self.table.labels if config.data.pairs else len(dataset),
            batch_size=config.data.batch_size,
            samples_per_epoch=config.data.samples_per_epoch,
            seed=optim.seed,
            rank=rank(),
            world=world_size(),
        )
        self.loader = DataLoader(
            dataset,
            batch_sampler=self.sampler,
            num_workers=config.data.workers,
            collate_fn=collate_clips,
            persistent_workers=config.data.workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        self.optimizer = create_optimizer(self.model, optim)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.steps_per_epoch = math.ceil(len(self.sampler) / optim.accumulate)
        splits = {"val": (self.data.val, self.data.val_pairs), "test": (self.data.test, self.data.test_pairs)}
        self.validator = Validator(self.model, splits, device=self.device)
        self._mean = torch.tensor(spec.mean, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(spec.std, device=self.device).view(3, 1, 1)

    def fit(self) -> RunSummary:
        """Train until the last epoch."""
        total = self.config.optim.epochs
        self.objective = Objective(  # now, because a frozen text tower's features are made of the weights as they are
            self.model,
            self.table,
            self.config.loss,
            pairs=self.config.data.pairs,
            train_text=self.config.model.train_text,
            seed=self.config.optim.seed,
            device=self.device,
        )
        self.reporter.begin(total=total, done=self.epoch, batches=len(self.sampler))
        while self.epoch < total:
            began = time.monotonic()
            line = self._train_epoch()
            self.epoch += 1
            line |= self._validate()
            self.seconds += time.monotonic() - began
            line["seconds"] = round(self.seconds, 1)
            if rank() == 0:
                self._record(line)
        return RunSummary(
            out=self.folder.path,
            best=self.best or {},
            epochs=self.epoch,
            seconds=self.seconds,
            precision=self.precision,
            device=str(self.device),
        )

    def _train_epoch(self) -> dict[str, Any]:
        self.model.train()
        self.sampler.epoch = self.epoch
        sums: dict[str, float] = {}
        for batch, (frames, parameters, indices) in enumerate(batches_of(self.loader)):
            for name, value in self._train_batch(frames, parameters, indices.tolist(), batch).items():
                sums[name] = sums.get(name, 0.0) + value
            self.reporter.batch(sums, batch + 1)
        means = {name: round(value / len(self.sampler), 6) for name, value in sums.items()}
        scale = round(float(self.model.logit_scale.detach().exp()), 4)
        return {"epoch": self.epoch + 1, **means, "lr": self.optimizer.param_groups[0]["lr"], "scale": scale}

    def _train_batch(self, frames: Tensor, parameters: Tensor, indices: list[int], batch: int) -> dict[str, float]:
        optim = self.config.optim
        seed = np.random.SeedSequence([optim.seed, self.epoch, batch, rank(), 2]).generate_state(1)[0]
        torch.manual_seed(int(seed))  # what a tower draws itself (dropout) depends on the place in the run alone
        last = (batch + 1) % optim.accumulate == 0 or batch + 1 == len(self.sampler)
        pixels = self._to_input(frames, parameters)
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32"):
            loss, parts = self.objective(pixels, indices, epoch=self.epoch, batch=batch)
        size = min(optim.accumulate, len(self.sampler) - batch // optim.accumulate * optim.accumulate)
        self.scaler.scale(loss / size).backward()
        if last:
            self._step(self.epoch * self.steps_per_epoch + batch // optim.accumulate)
        return {"loss": float(loss.detach()), **{name: float(value) for name, value in parts.items()}}

    def _to_input(self, frames: Tensor, parameters: Tensor) -> Tensor:
        """uint8 (B, T, H, W, 3) to augmented, normalised (B, T, 3, H, W)."""
        pixels = frames.to(self.device).permute(0, 1, 4, 2, 3).float() / 255
        pixels = augment(pixels, parameters, self.config.augment)
        return ((pixels - self._mean) / self._std).contiguous()

    def _step(self, step: int) -> None:
        optim = self.config.optim
        total = optim.epochs * self.steps_per_epoch
        warmup = round(optim.warmup_epochs * self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_factor(step, total, warmup, group["final"])
        average_gradients(self.model)
        if optim.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.clamp_scales()

    def _validate(self) -> dict[str, dict[str, float] | None]:
        """`val`, and `test` where it selects; None for what is not evaluated after this epoch, or not there."""
        optim = self.config.optim
        found: dict[str, dict[str, float] | None] = dict.fromkeys(("val", self.selection.split))
        if rank() == 0 and (self.epoch % optim.eval_every == 0 or self.epoch == optim.epochs):
            self.model.eval()
            for split in found:
                if split == "test" or self.data.val_pairs:
                    found[split] = self.validator(split)
        return found

    def _record(self, line: dict[str, Any]) -> None:
        """Keep the epoch: metrics, the best weights, then the state; a kill between them repeats the epoch."""
        is_best = self.selection.improves(line, self.best)
        line |= {"best": is_best, **self.selection.record}
        with self.folder.metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if is_best:
            self.best = line
            save_checkpoint(self.folder.checkpoint, self.model, self._checkpoint_record())
        self.keep_state()
        self.reporter.epoch(line)

    def keep_state(self) -> None:
        """Write `last/`, from which `resume` goes on."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        record = {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best": self.best,
            "config": self.config.to_json(),
            "scaler": self.scaler.state_dict(),
            "data": self.data.record,
            "arithmetic": self._arithmetic(),
        }
        save_state(self.folder.state, {**tensors, **optimizer_tensors(self.optimizer)}, record)

    def _arithmetic(self) -> dict[str, Any]:
        """What changes the result of a run and is not among its settings."""
        return {"precision": self.precision, "device": self.device.type, "processes": world_size()}

    def _checkpoint_record(self) -> dict[str, Any]:
        return {
            "config": self.config.to_json(),
            "sampling": self.model.sampling.to_json(),
            "preprocess": self.model.preprocess.to_json(),
            "data": self.data.record,
            "metrics": self.best,
            **self.selection.record,
            "training": self._arithmetic(),
            "versions": {"weaksvr": __version__, "torch": torch.__version__, "open_clip": open_clip.__version__},
        }

    def resume(self) -> None:
        """Go on from `last/`: weights, optimiser, place in the run, and the metrics up to there.

        Raises:
            CheckpointError: if there is nothing to resume, or it is of other settings or other data.
        """
        path = self.folder.state
        tensors, record = load_state(path)
        if TrainConfig.from_json(record["config"]) != self.config:
            raise CheckpointError(f"{path}: was written with other settings; resume with those it was started with")
        if record["arithmetic"] != self._arithmetic():
            facts = ", ".join(f"{name} {value}" for name, value in record["arithmetic"].items())
            raise CheckpointError(f"{path}: was written with {facts}; resume with the same")
        if record["data"]["files"] != self.data.record["files"]:
            raise CheckpointError(f"{path}: the data files have changed since; start anew with another --out")
        self.model.load_state_dict(
            {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        )
        restore_optimizer(self.optimizer, tensors)
        self.scaler.load_state_dict(record["scaler"])
        self.epoch, self.seconds, self.best = record["epoch"], record["seconds"], record["best"]
        if rank() == 0:
            self.folder.sweep()
            self.folder.cut_metrics(self.epoch)


def _start_from(model: WeakSVR, init: Path) -> None:
    """Copy the weights of another run."""
    source = load_checkpoint(init)
    try:
        model.load_state_dict(source.model.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{init}: its network is not the one asked for: {reason}") from error


def train(
    data: Path,
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> RunSummary:
    """Train on a dataset folder and write a RUN.

    Args:
        data: folder with `train.jsonl` (see `runtime.manifest`).
        out: RUN folder; must be new or empty unless `resume`.
        config: all settings.
        resume: go on from `out/last`.
        init: another RUN whose weights to start from.
        device: `auto`, `cpu` or `cuda`.
        reporter: progress; None is silent.

    Returns:
        What was reached.

    Raises:
        DataError: if a data file is wrong.
        VideoError: if a video cannot be used.
        OptionError: if a setting cannot be meant on this machine.
        CheckpointError: if `init` or the state to resume cannot be used.
        OutputError: if `out` is taken or cannot be written.
    """
    where = pick_device(device)
    start(where)
    folder = RunFolder(out)
    if not resume and rank() == 0 and not folder.is_free():
        raise OutputError(f"{out}: exists and is not empty; resume it with --resume, or give another --out")
    optim = config.optim
    training_data = load_training_data(
        data, val_fraction=config.data.val_fraction, seed=optim.seed, select=optim.select
    )
    if resume and not folder.state.is_file():
        raise CheckpointError(f"{out}: there is nothing to resume; start without --resume")
    config = _count_classes(config, training_data)
    reporter = reporter or Reporter.silent()
    trainer = Trainer(training_data, folder, config, device=where, reporter=reporter)
    if init is not None:
        _start_from(trainer.model, init)
    if resume:
        trainer.resume()
    folder.create()
    if not resume and rank() == 0:
        folder.sweep()
        trainer.keep_state()
    if rank() == 0:
        reporter.note(training_data.note)
        reporter.note(OPTIMISTIC if optim.select == "test" else "")
    try:
        return trainer.fit()
    except WeakSVRError:
        if not resume and rank() == 0:
            folder.give_up()
        raise
