"""Training and predicting through anomalib's engine, without its messages; training in epochs resumes after a kill."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.engine import Engine
from anomalib.engine.plugins import AnomalibCheckpointIO
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from training_code.data.datamodule import SampleDataModule
from training_code.data.sample_data import SampleDataset
from training_code.data.tiles import TileDataset
from training_code.detectors.configuration import Configuration
from training_code.detectors.leaving_out import LeavesOut
from training_code.detectors.registry import get_detector
from training_code.detectors.tiling import tiles_of
from training_code.evaluation.collector import PredictionCollector
from training_code.evaluation.measurement import median_seconds
from training_code.evaluation.predictions import Predictions
from training_code.foundation.files import atomic_path
from training_code.foundation.precision import full_precision
from training_code.training.callbacks import (
    BalancedSampler,
    Curves,
    EpochProgress,
    EpochSampler,
    EpochSeed,
    State,
    TensorBoardExtras,
    read_state,
)

#: The metric of early stopping: the loss on held-out images without defects.
MONITORED = "val_loss"
# In the folder of an unfinished run: the state after the last epoch, the weights of the best one, a mark that training
# has finished, and the logs.
_STATE, _BEST, _FITTED, _LOGS = "state.ckpt", "best.ckpt", "fitted", "tensorboard"
# What a state holds beyond the checkpoint of a detector.
_OF_TRAINING = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "versions")


class QuietEngine:
    """anomalib's `Engine` for one configuration.

    Parameters
    ----------
    configuration
        Says for how many epochs to train, ``max_epochs``, and after how many without a smaller loss on the validation
        images to stop, ``patience``.
    checkpoint
        The file that the weights are written to, as Lightning writes them.
    logs
        Folder that receives the logs of training for TensorBoard; None for none.
    unfinished
        Folder that survives a kill and keeps the state after each epoch; training resumes from the state found there.
        By default training does not resume.
    seed
        Seed of the order of the images and of what is drawn at random, which differ in each epoch.
    """

    def __init__(
        self,
        configuration: Configuration,
        checkpoint: Path,
        logs: Path | None = None,
        unfinished: Path | None = None,
        seed: int = 0,
    ) -> None:
        epochs = get_detector(configuration.detector).epochs
        self._arguments = configuration.arguments
        self._epochs: int | None = self._arguments.get("max_epochs")
        self._patience: int | None = self._arguments.get("patience")
        self._validates = epochs is not None and epochs.stops_early
        self._checkpoint, self._logs, self._seed = checkpoint, logs, seed
        self._unfinished = unfinished or checkpoint.parent / "unfinished"
        self._collector = PredictionCollector()
        self._curves = Curves()
        callbacks: list[Callback] = [self._collector]
        logger: TensorBoardLogger | bool = False
        if self._epochs is None:
            callbacks.append(ModelCheckpoint(checkpoint.parent, checkpoint.stem, save_weights_only=True))
        else:
            self._unfinished.mkdir(parents=True, exist_ok=True)
            best = ModelCheckpoint(
                self._unfinished,
                Path(_BEST).stem,
                save_weights_only=True,
                enable_version_counter=False,
                **({"save_top_k": 0} if self._patience is None else {"monitor": MONITORED, "mode": "min"}),
            )
            # The curves check the loss first: training must not resume from a state that is not finite.
            callbacks += [EpochSeed(seed), self._curves, EpochProgress()]
            if self._patience is not None:
                callbacks.append(EarlyStopping(MONITORED, patience=self._patience, mode="min"))
            if logs is not None:
                logger = TensorBoardLogger(self._unfinished, name=_LOGS, version="")
                callbacks.append(TensorBoardExtras())
            callbacks += [best, State(self._unfinished / _STATE)]
        self._engine = Engine(
            callbacks=callbacks,
            default_root_dir=checkpoint.parent / "engine",
            accelerator="gpu" if torch.cuda.is_available() else "cpu",  # other accelerators compute no float64
            devices=1,
            logger=logger,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            plugins=[AtomicCheckpointIO()],
            **({} if self._epochs is None else {"max_epochs": self._epochs}),
        )
        self.resumed_seconds = 0.0

    @property
    def training(self) -> dict[str, Any]:
        """What the record keeps of training: epochs, their curves, warnings, and from which epoch it was resumed."""
        return {"epochs": 1} if self._epochs is None else self._curves.describe()

    def fit(self, detector: AnomalibModule, datamodule: SampleDataModule) -> None:
        """Train on the training images; with ``patience`` the detector is then that of the best epoch."""
        if self._epochs is None:
            # Who leaves images out is told which tiles belong to one image; to others a tile is an image.
            leaves_out = isinstance(detector, LeavesOut)
            loader = datamodule.train_dataloader() if leaves_out else self._train_dataloader(detector, datamodule)
            with quiet():
                self._engine.fit(detector, loader)
            return
        state = self._unfinished / _STATE
        saved = read_state(state)
        if saved is None:
            for name in (_STATE, _BEST, _FITTED):
                (self._unfinished / name).unlink(missing_ok=True)
        else:
            self._curves.load_state_dict(saved["callbacks"][Curves.__qualname__])
            self._curves.resumed = len(self._curves.train_loss)
            self.resumed_seconds = self._curves.seconds
            print(f"resuming after epoch {self._curves.resumed} of {self._epochs}, where training was interrupted")
        if saved is not None and (self._unfinished / _FITTED).exists():
            detector.load_state_dict(saved["state_dict"])
        else:
            validation = self._val_dataloader(detector, datamodule) if self._validates else None
            with quiet():
                loader = self._train_dataloader(detector, datamodule)
                self._engine.fit(detector, loader, validation, ckpt_path=None if saved is None else state)
            (self._unfinished / _FITTED).touch()
        if self._patience is not None:
            best = torch.load(self._unfinished / _BEST, "cpu", weights_only=True)
            detector.load_state_dict(best["state_dict"])
        self.write_checkpoint(detector)

    def predict(self, detector: AnomalibModule, loader: DataLoader) -> Predictions:
        """Return raw scores and maps for the images of ``loader``, whose dataset knows their defect types."""
        assert isinstance(loader.dataset, SampleDataset)
        self._collector.expect(len(loader.dataset), loader.dataset.leave_out)
        with quiet(), full_precision():
            self._engine.predict(detector, dataloaders=loader, return_predictions=False)
        return self._collector.take(loader.dataset.defect_types)

    @property
    def device(self) -> torch.device:
        """The device that the engine trains on: the first GPU, of which it takes one, or the processor."""
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")

    def latency(self, detector: AnomalibModule, image_size: tuple[int, int]) -> float:
        """Return the median seconds for one image, from pixels to score, on the device that the engine trains on."""
        detector.to(self.device).eval()
        image = torch.rand(1, 3, *image_size, device=self.device)

        def predict() -> None:
            with torch.inference_mode(), full_precision():
                detector(image)

        return median_seconds(predict)

    def _train_dataloader(self, detector: AnomalibModule, datamodule: SampleDataModule) -> DataLoader:
        """Return a loader whose order depends on seed and epoch alone: a resumed epoch is the one that was lost."""
        data = _in_tiles(datamodule.train_data, detector)
        if datamodule.learns_from_labels:
            sampler: EpochSampler = BalancedSampler(data.abnormal, self._seed)
        else:
            items_per_epoch = getattr(detector, "items_per_epoch", None)
            items = len(data) if items_per_epoch is None else items_per_epoch(len(data))
            sampler = EpochSampler(len(data), items, self._seed)
        return DataLoader(
            data,
            batch_size=datamodule.train_batch_size,
            sampler=sampler,
            num_workers=datamodule.num_workers,
            collate_fn=data.collate_fn,
            generator=torch.Generator(),  # torch's own generator is not used
        )

    @staticmethod
    def _val_dataloader(detector: AnomalibModule, datamodule: SampleDataModule) -> DataLoader | None:
        """Return a loader of the held-out images, None where there are none."""
        if not datamodule.val_data:
            return None
        data = _in_tiles(datamodule.val_data, detector)
        workers, size = datamodule.num_workers, datamodule.eval_batch_size
        return DataLoader(data, size, num_workers=workers, collate_fn=data.collate_fn)

    def write_checkpoint(self, detector: AnomalibModule) -> None:
        """Write the weights of the detector as Lightning does, and the logs beside them."""
        saved = read_state(self._unfinished / _STATE) or {}
        content = {name: value for name, value in saved.items() if name not in _OF_TRAINING}
        with atomic_path(self._checkpoint, sync=False) as temporary:
            torch.save(content | {"state_dict": detector.state_dict()}, temporary)
        if self._logs is not None and (self._unfinished / _LOGS).is_dir():
            shutil.copytree(self._unfinished / _LOGS, self._logs, dirs_exist_ok=True)


def _in_tiles(data: SampleDataset, detector: AnomalibModule) -> SampleDataset | TileDataset:
    """Return what a detector is trained on in epochs: images, or their tiles."""
    tiles = tiles_of(detector)
    return data if tiles is None else TileDataset(data, tiles.cut, len(tiles))


class AtomicCheckpointIO(AnomalibCheckpointIO):
    """anomalib's reading of checkpoints, and writing that is atomic and needs no copy in memory."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        with atomic_path(Path(path), sync=False) as temporary:
            torch.save(checkpoint, temporary)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence messages of Lightning and anomalib about devices, tips and deliberate settings."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
