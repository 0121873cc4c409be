"""Training and predicting through anomalib's engine, without its chatter."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from training_code.data.datamodule import SampleDataModule
from training_code.detectors.configuration import Configuration
from training_code.evaluation.measurement import median_seconds
from training_code.evaluation.predictions import PredictionCollector, Predictions

#: What early stopping goes by: the loss on held-out images without defects.
MONITORED = "val_loss"
CHECKPOINT = "model"


class QuietEngine:
    """anomalib's `Engine` for one configuration.

    Parameters
    ----------
    configuration
        Says for how many epochs to train, ``max_epochs``, and after how many without a smaller loss on the validation
        images to stop, ``patience``.
    folder
        Receives the checkpoint, called ``model.ckpt``.
    """

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        epochs = configuration.arguments.get("max_epochs")
        self._patience = configuration.arguments.get("patience")
        self._collector = PredictionCollector()
        callbacks: list[Callback] = [self._collector, *([] if epochs is None else [EpochProgress()])]
        monitored = {} if self._patience is None else {"monitor": MONITORED, "mode": "min"}
        if self._patience is not None:
            callbacks.append(EarlyStopping(patience=self._patience, **monitored))
        self._checkpoint = ModelCheckpoint(folder, CHECKPOINT, save_weights_only=True, **monitored)
        self._engine = Engine(
            callbacks=[self._checkpoint, *callbacks],
            default_root_dir=folder / "engine",
            accelerator="gpu" if torch.cuda.is_available() else "cpu",  # others compute no float64
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            **({} if epochs is None else {"max_epochs": epochs}),
        )

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return self._engine.trainer.fit_loop.epoch_progress.current.completed

    def fit(self, detector: AnomalibModule, datamodule: SampleDataModule) -> None:
        """Train on the training images; with ``patience`` the detector is then that of the best epoch."""
        validation = None if self._patience is None else datamodule.val_dataloader()
        with quiet():
            self._engine.fit(detector, datamodule.train_dataloader(), validation)
        if self._patience is not None:
            best = torch.load(self._checkpoint.best_model_path, "cpu", weights_only=True)
            detector.load_state_dict(best["state_dict"])

    def predict(self, detector: AnomalibModule, loader: DataLoader) -> Predictions:
        """Return raw scores and maps for the images of ``loader``, whose dataset knows their defect types."""
        with quiet():
            self._engine.predict(detector, dataloaders=loader, return_predictions=False)
        return self._collector.take(loader.dataset.defect_types)

    @property
    def device(self) -> torch.device:
        """The device that the engine trains on."""
        return self._engine.trainer.strategy.root_device

    def latency(self, detector: AnomalibModule, image_size: tuple[int, int]) -> float:
        """Return the median seconds for one image, from pixels to score, on the device that the engine trains on."""
        detector.to(self.device).eval()
        image = torch.rand(1, 3, *image_size, device=self.device)

        def predict() -> None:
            with torch.inference_mode():
                detector(image)

        return median_seconds(predict)


class EpochProgress(Callback):
    """One line that says which epoch is running, the loss, and the time left."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Renew the line."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 1
        left = (time.perf_counter() - self.start) / done * (total - done)
        loss = trainer.callback_metrics.get("train_loss")
        text = f"epoch {done}/{total}" + ("" if loss is None else f", loss {float(loss):.4g}")
        print(f"\r{text}, about {left:.0f} s left ", end="\n" if done == total else "", flush=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning and anomalib from telling about devices, tips and things that are meant to be as they are."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
