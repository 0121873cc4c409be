"""A detector that takes no time, for tests of the service."""

import io
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.records import make_dataset, make_identity, make_record
from inference_code.predictor import Prediction, Predictor
from training_code.data.geometry import Geometry
from training_code.evaluation.operating_point import OperatingPoint
from training_code.evaluation.thresholds import Thresholds
from training_code.records.record import AtRule, Calibrated


class BrightnessPredictor(Predictor):
    """Calls bright pixels abnormal: the score is the brightest grey value of the image, from 0 to 1.

    ``free`` is set; a test that clears it stops the detector before its next batch. ``batches`` are the numbers of
    images that it got at once. An ``error`` is raised in place of the next prediction.
    """

    runtime = "torch"

    def __init__(self, run_id: str = "brightness-0", folder: Path = Path("nowhere")) -> None:
        identity = make_identity(arguments={"backbone": "resnet18"})
        self.record = make_record(
            run_id,
            identity,
            dataset=make_dataset("made_up", folder="nowhere"),
            thresholds={"image": 0.5, "pixel": 0.5},
            at=AtRule(
                OperatingPoint(0.5, 199, 199, 0.05, 0.05, 0.005), OperatingPoint(0.5, 199, 199, 0.05, 0.05, 0.005, 0.05)
            ),
            calibration=Calibrated("hold out", 199, 199, 0.05),
        )
        self.folder = folder
        self.thresholds = Thresholds(0.5, 0.5)
        self.geometry = Geometry((16, 16))
        self.free = threading.Event()
        self.free.set()
        self.batches: list[int] = []
        self.error: Exception | None = None

    def infer(self, images):
        self.free.wait(20)
        self.batches.append(len(images))
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        maps = [image.tensor.amax(0).numpy().astype(np.float32) for image in images]
        return [
            Prediction(index, None, float(values.max()), values, image.size, 0.001, self.thresholds)
            for index, (image, values) in enumerate(zip(images, maps, strict=True))
        ]


def encode(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    """Return an image file's content."""
    content = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(content, kind, **options)
    return content.getvalue()


def spotted(height: int = 32, width: int = 48, value: int = 255) -> np.ndarray:
    """Return a dark image of shape (height, width) with a spot of 8 × 8 pixels at row 8, column 16."""
    pixels = np.full((height, width), 20, np.uint8)
    pixels[8:16, 16:24] = value
    return pixels
