"""What a station finds in photographs: scores, labels and pictures."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from PIL import Image

from inference_code.images import Prepared, read_pixels, shown_pixels
from inference_code.output import Drawing
from inference_code.postprocessing import find_abnormal
from inference_code.predictor import Prediction, Predictor
from inference_code.station.filing import PICTURES, safe
from inference_code.station.schema import FOUND, UNREADABLE
from inference_code.station.views import ToSee
from inference_code.verdicts import p_value
from inference_code.visualization import overlay
from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path
from training_code.records.appearance import Appearance
from training_code.records.scores import CalibrationScores


class DetectorViewer:
    """Looks at photographs of a view with the detector of a run.

    Parameters
    ----------
    predictor
        The detector.
    drawing
        How pictures are made.
    by_p_values
        Whether verdicts go by p-values, which need the scores of good images in the folder of the run.

    Raises
    ------
    InputError
        If the run has no threshold, compares with golden samples, or lacks what p-values need.
    """

    def __init__(self, predictor: Predictor, drawing: Drawing, by_p_values: bool = False) -> None:
        self.predictor, self._drawing = predictor, drawing
        self.run = predictor.record.run_id
        if predictor.thresholds.image is None:
            raise InputError(f"{self.run} has no threshold for images: anomaly rethreshold {self.run} gives it one")
        if predictor.needs_references:
            raise InputError(f"{self.run} compares with golden samples, which a station does not have")
        self._calibration: CalibrationScores | None = None
        try:
            self._calibration = predictor.calibration()
        except (OSError, ValueError) as error:
            if by_p_values:
                raise InputError(f"p-values of {self.run} need its calibration.csv: {error}") from error
        self._pool = ThreadPoolExecutor(2, "view")

    def look(self, photographs: Sequence[ToSee]) -> list[tuple[str, dict[str, Any]]]:
        """Return of each photograph its state and what is noted of it; its pictures are written.

        Raises
        ------
        OSError
            If pictures cannot be written.
        """
        made = list(self._pool.map(self._prepare, photographs))
        readable = [place for place, image in enumerate(made) if isinstance(image, Prepared)]
        images = [image for image in made if isinstance(image, Prepared)]
        predictions = self.predictor.judge(images) if images else []
        given = [(photographs[place], *pair) for place, *pair in zip(readable, images, predictions, strict=True)]
        described = dict(zip(readable, self._pool.map(lambda one: self._describe(*one), given), strict=True))
        return [
            (UNREADABLE, {"error": str(image)}) if isinstance(image, InputError) else (FOUND, described[place])
            for place, image in enumerate(made)
        ]

    def _prepare(self, photograph: ToSee) -> Prepared | InputError:
        try:
            return self.predictor.prepare(photograph.path)
        except InputError as error:
            return error

    def _describe(self, photograph: ToSee, image: Prepared, prediction: Prediction) -> dict[str, Any]:
        threshold, values = prediction.thresholds.pixel, prediction.on_image
        mask, regions = find_abnormal(values, threshold, self._drawing.dilation, self._drawing.minimum_area)
        if self._drawing.pictures:
            pixels = image.pixels
            if pixels is None:  # a large photograph is read again
                pixels = shown_pixels(read_pixels(photograph.path, self.predictor.record.dataset.bits))
            drawn = overlay(pixels, values, threshold, None if threshold is None else mask), Image.fromarray(mask)
            photograph.folder.mkdir(parents=True, exist_ok=True)
            for picture, name in zip(drawn, PICTURES, strict=True):
                with atomic_path(photograph.folder / name.format(view=safe(photograph.view)), sync=False) as temporary:
                    picture.save(temporary, compress_level=1)
        taught = self.predictor.record.taught
        seen = self.predictor.geometry.place(image.size).seen
        appearance = Appearance.of(image.tensor.numpy(), prediction.anomaly_map, seen)
        return {
            "run": self.run,
            "score": prediction.score,
            "threshold": prediction.thresholds.image,
            "scaled": prediction.normalised_score,
            "abnormal": prediction.abnormal,
            "regions": len(regions),
            "p_value": None if self._calibration is None else p_value(prediction.score, self._calibration),
            # How many photographs the detector was taught is kept there, too: the run has one name before and after.
            "appearance": json.dumps(asdict(appearance) | ({"taught": len(taught.images)} if taught else {})),
        }
