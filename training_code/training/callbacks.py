"""Callbacks of training in epochs: seeds, curves, a state to resume from, logs for TensorBoard."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import Sampler

from training_code.foundation.files import derived_seed

#: Training has diverged when the loss of an epoch is this many times that of the first one.
DIVERGED = 10.0
#: The loss on held-out images has risen if it is this share above its lowest value, which is so many epochs old.
RISEN, RISEN_EPOCHS = 0.05, 3
#: An epoch of training on labelled defects goes through at least so many of them, repeated where there are fewer.
LEAST_DEFECTS = 32
# Training does not resume from a state of other versions: its numbers would belong to neither.
_LIBRARIES = ("anomalib", "lightning", "torch")
# Images whose reconstruction is logged.
_SHOWN = 4


class EpochSampler(Sampler[int]):
    """Goes through ``count`` images in an order that depends on seed and epoch alone.

    Where an epoch has more items than there are images, each comes equally often, as far as that goes.
    """

    def __init__(self, count: int, items: int, seed: int) -> None:
        self.count, self.items, self.seed = count, items, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of items in an epoch."""
        return self.items

    def __iter__(self) -> Iterator[int]:
        """Return the indices of the images."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
        return iter(drawn(torch.arange(self.count), self.items, generator).tolist())


class BalancedSampler(EpochSampler):
    """Goes through as many good images as labelled defects, by turns, in an order that depends on seed and epoch alone.

    As Rolih et al. train on labelled defects, "SuperSimpleNet", ICPR 2024: an epoch goes through each defect once, and
    through so many of the good images, drawn anew for each epoch. Of few defects, one comes again in the same epoch,
    as often as the others: training on a handful would otherwise be over after a handful of steps.
    """

    def __init__(self, abnormal: Sequence[bool], seed: int) -> None:
        kinds = torch.tensor(abnormal)
        self.good, self.defects = (~kinds).nonzero().flatten(), kinds.nonzero().flatten()
        super().__init__(len(kinds), 2 * max(len(self.defects), LEAST_DEFECTS), seed)

    def __iter__(self) -> Iterator[int]:
        """Return the indices of the images: good, defective, good."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
        chosen = [drawn(kind, self.items // 2, generator) for kind in (self.good, self.defects)]
        return iter(torch.stack(chosen, dim=1).flatten().tolist())


def drawn(indices: torch.Tensor, items: int, generator: torch.Generator) -> torch.Tensor:
    """Return so many of ``indices`` in random order; where there are fewer, each comes equally often, if possible."""
    rounds = math.ceil(items / len(indices))
    return torch.cat([indices[torch.randperm(len(indices), generator=generator)] for _ in range(rounds)])[:items]


class EpochSeed(Callback):
    """Seeds all random numbers at the beginning of each epoch, so that they do not depend on what happened before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed before the first batch."""
        if batch_idx == 0:
            seed = derived_seed(self.seed, "epoch", trainer.current_epoch)
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)


class Curves(Callback):
    """Losses and learning rate of each epoch; stops training that diverges.

    Attributes
    ----------
    train_loss, val_loss, learning_rate
        One number for each epoch; ``val_loss`` is empty where there is none.
    seconds
        Duration of training so far, including the time before an interruption.
    resumed
        The epoch after which training resumed, None if it was not interrupted.
    """

    def __init__(self) -> None:
        self.train_loss: list[float] = []
        self.val_loss: list[float] = []
        self.learning_rate: list[float] = []
        self.seconds = 0.0
        self.resumed: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter() - self.seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop at a loss that is not finite."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None and not torch.isfinite(torch.as_tensor(loss)).all():
            raise FloatingPointError(
                f"training diverged: the loss of batch {batch_idx + 1} in epoch {trainer.current_epoch + 1} is "
                f"{float(torch.as_tensor(loss).sum())}; a smaller lr may help"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the losses and the learning rate of the epoch."""
        found = trainer.callback_metrics
        if "train_loss" in found:
            self.train_loss.append(float(found["train_loss"]))
        if "val_loss" in found:
            self.val_loss.append(float(found["val_loss"]))
        self.learning_rate.append(float(trainer.optimizers[0].param_groups[0]["lr"]))
        self.seconds = time.perf_counter() - self._start
        if self.train_loss and self.train_loss[-1] > DIVERGED * abs(self.train_loss[0]):
            raise FloatingPointError(
                f"training diverged: the loss was {self.train_loss[0]:.4g} in the first epoch and is "
                f"{self.train_loss[-1]:.4g} in epoch {len(self.train_loss)}; a smaller lr may help"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the curves for a state."""
        return {name: getattr(self, name) for name in ("train_loss", "val_loss", "learning_rate", "seconds")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the curves from a state."""
        for name, value in state_dict.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)

    def describe(self) -> dict[str, Any]:
        """Return the curves as the record holds them."""
        names = ("train_loss", "val_loss", "learning_rate")
        described: dict[str, Any] = {
            "epochs": len(self.learning_rate),
            "curves": {name: getattr(self, name) for name in names if getattr(self, name)},
            "warnings": [warning] if (warning := self._overfitting()) else [],
        }
        return described if self.resumed is None else described | {"resumed_after_epoch": self.resumed}

    def _overfitting(self) -> str | None:
        """Return a sentence where the loss on held-out images rises while that on the training images falls."""
        if len(self.val_loss) != len(self.train_loss) or not self.val_loss:
            return None
        best = int(np.argmin(self.val_loss))
        rises = self.val_loss[-1] > self.val_loss[best] + RISEN * abs(self.val_loss[best])
        if len(self.val_loss) - 1 - best < RISEN_EPOCHS or not rises or self.train_loss[-1] >= self.train_loss[best]:
            return None
        return (
            f"overfitting: the loss on held-out images rose from {self.val_loss[best]:.4g} in epoch {best + 1} to "
            f"{self.val_loss[-1]:.4g}, while that on the training images fell"
        )


class State(Checkpoint):
    """Keeps the whole state of training after each epoch.

    A `Checkpoint`, since Lightning calls those last at the end of an epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state."""
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the versions of the libraries."""
        checkpoint["versions"] = _versions()


def read_state(path: Path) -> dict[str, Any] | None:
    """Return a state from which training can resume, read as tensors only; None if there is none."""
    try:
        state = torch.load(path, "cpu", weights_only=True)
    except Exception:  # an unreadable state, for whatever reason: training starts from the beginning
        return None
    return state if isinstance(state, dict) and state.get("versions") == _versions() else None


class EpochProgress(Callback):
    """One line that says which epoch is running, the loss, and the time left."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.start, self.first = time.perf_counter(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Renew the line."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 1
        left = (time.perf_counter() - self.start) / (done - self.first) * (total - done)
        loss = trainer.callback_metrics.get("train_loss")
        text = f"epoch {done}/{total}" + ("" if loss is None else f", loss {float(loss):.4g}")
        print(f"\r{text}, about {left:.0f} s left ", end="\n" if done == total else "", flush=True)


class TensorBoardExtras(Callback):
    """Logs what Lightning does not by itself: learning rate, histograms of the weights, reconstructions."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the logs lie."""
        assert isinstance(trainer.logger, TensorBoardLogger)
        print(f"TensorBoard: {trainer.logger.log_dir} (make tensorboard)")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch."""
        assert isinstance(trainer.logger, TensorBoardLogger)
        board, epoch = trainer.logger.experiment, trainer.current_epoch
        for number, optimizer in enumerate(trainer.optimizers, 1):
            name = "learning_rate" if len(trainer.optimizers) == 1 else f"learning_rate/{number}"
            board.add_scalar(name, optimizer.param_groups[0]["lr"], epoch)
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                board.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), epoch)
        if (reconstruct := getattr(pl_module, "reconstruct", None)) is not None:
            images = self._images(trainer).to(pl_module.device)
            if len(images):
                training = pl_module.training
                pl_module.eval()
                with torch.no_grad():
                    made = reconstruct(images)
                pl_module.train(training)
                board.add_images(
                    "reconstructions", torch.cat([images, made.expand_as(images)]).clamp(0, 1).cpu(), epoch
                )

    @staticmethod
    def _images(trainer: Trainer) -> torch.Tensor:
        assert trainer.train_dataloader is not None
        data = trainer.train_dataloader.dataset
        items = [data[index] for index in range(min(_SHOWN, len(data)))]
        return torch.stack([item.image for item in items])


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}
