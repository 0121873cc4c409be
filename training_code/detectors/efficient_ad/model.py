"""EfficientAd without a download, whose schedule is stepped and whose maps are always weighed."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import EfficientAd as AnomalibEfficientAd
from anomalib.models.image.efficient_ad.torch_model import EfficientAdModelSize
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from skimage.data import data_dir
from torchvision.transforms.v2 import CenterCrop, Compose, RandomCrop, RandomGrayscale, Resize

from training_code.backbones.published import find_published
from training_code.backbones.reading import read_state_dict
from training_code.data.images import read_image
from training_code.detectors.anomalib_seams import rebound
from training_code.detectors.efficient_ad.networks import EfficientAdModel
from training_code.detectors.efficient_ad.spec import PHOTOGRAPHS, TEACHERS, penalty_sources
from training_code.detectors.plain_images import refuse_normalization

#: The part of the values of both maps that lies below what becomes 0, and below what becomes 0.1.
_QUANTILES = (0.9, 0.995)
# torch takes no quantiles of more values.
_MOST = 2**24
# Of a feature of the teacher that does not vary.
_LEAST_DEVIATION = 1e-6


class EfficientAd(AnomalibEfficientAd):
    """anomalib's `EfficientAd` with a teacher from ``weights/``, in any width, and penalties from local images.

    Batzner, Heckler, König, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies", WACV 2024.

    Parameters
    ----------
    penalty_images
        Folder with photographs of many things, at any depth, relative to `training_code.foundation.paths.HOME`: the
        student learns not to imitate the teacher on them. The paper takes ImageNet, and anomalib downloads ImageNette.
        None for the photographs that scikit-image carries.
    pre_trained
        Whether the teacher has the weights that anomalib publishes; otherwise they are random.
    width
        Factor of the number of channels of every layer; 1 for the paper's.
    teacher_out_channels, model_size, lr, weight_decay, padding, pad_maps
        As in anomalib.
    """

    model: EfficientAdModel
    imagenet_iterator: Iterator[tuple[torch.Tensor, ...]]  # type: ignore[assignment]  # anomalib has that of a loader

    def __init__(
        self,
        penalty_images: str | None = None,
        teacher_out_channels: int = 384,
        model_size: EfficientAdModelSize | str = EfficientAdModelSize.S,
        lr: float = 0.0001,
        weight_decay: float = 0.00001,
        padding: bool = False,
        pad_maps: bool = True,
        pre_trained: bool = True,
        width: float = 1.0,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        rebound(super().__init__, EfficientAdModel=partial(EfficientAdModel, width=width))(
            data_dir,  # not read: the images come from `penalty_images`
            teacher_out_channels,
            model_size,
            lr,
            weight_decay,
            padding,
            pad_maps,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        refuse_normalization("EfficientAd", self.pre_processor)
        self.pre_trained, self.penalty_images = pre_trained, penalty_images
        self._maps: list[tuple[torch.Tensor, torch.Tensor]] = []

    def prepare_pretrained_model(self) -> None:
        """Read the weights of the teacher from ``weights/``, where it is not a random one."""
        if self.pre_trained:
            self.model.teacher.load_state_dict(read_state_dict(find_published(TEACHERS[self.model_size.value])))

    def prepare_imagenette_data(self, image_size: tuple[int, int] | torch.Size) -> None:
        """Have `training_step` draw its penalties for images of ``image_size`` from the local images."""
        sources = penalty_sources(self.penalty_images)
        self.imagenet_iterator = draw_penalties(sources, (image_size[0], image_size[1]), self.penalty_images is None)

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]  # as in anomalib, which declares less
        """Return anomalib's optimizer, and its schedule with the unit that it counts in.

        anomalib counts steps and has the schedule stepped once an epoch, so that the rate never falls.
        """
        trained = [*self.model.student.parameters(), *self.model.ae.parameters()]
        optimizer = torch.optim.Adam(trained, lr=self.lr, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, int(0.95 * steps)), gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Prepare the teacher, the penalties, and the scale of the teacher's features."""
        loader = self.trainer.train_dataloader
        assert loader is not None
        self.prepare_pretrained_model()
        self.prepare_imagenette_data(next(self._images(loader)).shape[-2:])
        if not self.model.is_set(self.model.mean_std):  # a training that resumes has it
            self.model.mean_std.update(self.teacher_channel_mean_std(loader))

    @torch.no_grad()
    def teacher_channel_mean_std(self, dataloader: Iterable[Batch]) -> dict[str, torch.Tensor]:
        """Return mean and deviation of each feature of the teacher, of shape (1, channels, 1, 1).

        In double precision: anomalib takes the difference of two large sums of single precision, which may be negative.
        """
        count, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for images in self._images(dataloader):
            found = self.model.teacher(images).double().cpu()
            count += found[:, 0].numel()
            total = total + found.sum(dim=(0, 2, 3))
            squares = squares + found.square().sum(dim=(0, 2, 3))
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_DEVIATION)
        return {
            name: value.float()[None, :, None, None].to(self.device) for name, value in (("mean", mean), ("std", std))
        }

    def on_validation_start(self) -> None:
        """Forget the maps of the epoch before; those of this one are noted batch by batch."""
        self._maps = []

    def validation_step(self, batch: Batch, batch_idx: int, *_: Any) -> None:
        """Note the maps of the defect-free images of a batch, and log their loss as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if not len(normal):
            return
        self._note(normal)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(batch_idx)
            penalty = next(self.imagenet_iterator)[0].to(self.device)
            distance = self.model.compute_student_teacher_distance(normal)[1]
            loss = torch.stack(self.model.compute_losses(normal, penalty, distance)).sum()
        self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    def on_validation_epoch_end(self) -> None:
        """Weigh the two maps by what they are on the defect-free images."""
        self._weigh()

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Weigh the two maps by the training images, where there are no others: anomalib would not weigh them."""
        epochs, trained = self.trainer.max_epochs, self.trainer.current_epoch + 1
        if self.trainer.val_dataloaders or trained != epochs:
            return
        assert self.trainer.train_dataloader is not None
        self._maps = []
        self.eval()
        for images in self._images(self.trainer.train_dataloader):
            self._note(images)
        self.train()
        self._weigh()

    def _images(self, loader: Iterable[Batch]) -> Iterator[torch.Tensor]:
        """Yield the images of a loader as the model gets them in training."""
        assert isinstance(self.pre_processor, PreProcessor)
        transform = self.pre_processor.transform
        for batch in loader:
            assert batch.image is not None
            images = batch.image.to(self.device)
            yield images if transform is None else transform(images)

    def _note(self, images: torch.Tensor) -> None:
        student, autoencoder = self.model.get_maps(images, normalize=False)
        self._maps.append((student.flatten().cpu(), autoencoder.flatten().cpu()))

    def _weigh(self) -> None:
        for name, parts in zip(("st", "ae"), zip(*self._maps, strict=True), strict=False):
            values = torch.cat(parts)
            found = torch.quantile(values[:: -(-len(values) // _MOST)], torch.tensor(_QUANTILES)).tolist()
            with torch.inference_mode(False):  # no other state could be loaded into a tensor that is made in that mode
                tensors = [torch.tensor(value, device=self.device) for value in found]
                self.model.quantiles.update(dict(zip((f"qa_{name}", f"qb_{name}"), tensors, strict=True)))
        self._maps = []


def draw_penalties(
    sources: Sequence[Path], image_size: tuple[int, int], varied: bool
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield batches of one image each as anomalib makes them of ImageNette, with labels as a data loader would.

    ``varied`` draws the part of an image that is taken, where there are few; otherwise it is the one in the middle.
    """
    height, width = image_size
    crop = (RandomCrop if varied else CenterCrop)(image_size)
    transform = Compose([Resize((2 * height, 2 * width), antialias=True), RandomGrayscale(p=0.3), crop])
    while True:
        path = sources[int(torch.randint(len(sources), ()))]
        yield (transform(_read(path))[None],)


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _read(path: Path) -> torch.Tensor:
    """Return an image with values from 0 to 1, of shape (3, height, width)."""
    pixels = torch.from_numpy(read_image(path))
    return (pixels if pixels.is_floating_point() else pixels / 255).permute(2, 0, 1).expand(3, -1, -1).contiguous()
