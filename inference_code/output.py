"""What is written about predictions: two tables that grow line by line, overlays and masks."""

import csv
import dataclasses
import json
import os
import queue
import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference_code.images import LARGE, Prepared, read_pixels, shown_pixels
from inference_code.postprocessing import Region, find_abnormal, run_lengths
from inference_code.predictor import Prediction
from inference_code.promises import Promised
from inference_code.sources.frames import Frame
from inference_code.visualization import overlay
from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path

TABLE, LINES = "predictions.csv", "predictions.jsonl"
# Spreadsheets compute what begins so. All text in the table is paths, and ./ before one leaves it the same path.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Names of pictures: the number of the image, and a part of its name.
_PICTURE = re.compile(r"\d{5,}_.*\.png")
OVERLAYS, MASKS = "overlays", "masks"
FIELDS = (
    "path", "frame", "time", "score", "normalised_score", "abnormal", "regions", "picture", "mask", "seconds",
    "threshold", "image_promise",
)  # fmt: skip
# Results that wait to be written; with as many, the detector waits.
_WAITING = 16
# Names of files have at most 255 bytes; these are 4 at most for each character.
_LONGEST_STEM = 50


@dataclass(frozen=True)
class Drawing:
    """How masks and pictures are made."""

    pictures: bool = True  # whether overlays and masks are written
    dilation: int = 0  # pixels of the image
    minimum_area: int = 0  # pixels of the image


@dataclass(frozen=True)
class Result:
    """A frame with what was found, or why nothing was."""

    frame: Frame
    came: float  # of time.monotonic
    found: Prediction | str
    pixels: NDArray[np.uint8] | None = None  # as in `Prepared`
    reference: Path | None = None  # the golden sample that the frame was compared with


class Output:
    """Writes results in their order, in threads of its own; to be used as a context.

    Every line is there as soon as its image is done, whatever happens next. Pictures are named by the number of the
    image, so that none is written over another one or outside of the folder.

    Parameters
    ----------
    folder
        Made where it is not there; tables and pictures of earlier predictions in it are replaced. Links in it are
        replaced, too, and never written through.
    drawing
        How masks and pictures are made.
    bits
        As in `inference_code.images.read_pixels`.
    promised
        What the thresholds promise, which every line says; None where that is not known.
    """

    def __init__(self, folder: Path, drawing: Drawing, bits: int, promised: Promised | None = None) -> None:
        self.folder = folder
        self.drawing = drawing
        self.bits = bits
        self.promised = promised
        self.predicted = self.failed = self.abnormal = 0
        self._latencies: list[float] = []  # seconds from the arrival of each frame to its line
        self._number = 0
        self._error: BaseException | None = None
        self._queue: queue.Queue[tuple[Result, Future[dict[str, Any]]] | None] = queue.Queue(_WAITING)

    def __enter__(self) -> "Output":
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (OVERLAYS, MASKS):
            if (self.folder / name).is_symlink():
                (self.folder / name).unlink()
        _remove_pictures(self.folder)
        if self.drawing.pictures:
            for name in (OVERLAYS, MASKS):
                (self.folder / name).mkdir(exist_ok=True)
        # Names of files may hold bytes that are no characters.
        self._table = _begin(self.folder / TABLE, newline="", errors="backslashreplace")
        self._lines = _begin(self.folder / LINES)
        self._writer = csv.DictWriter(self._table, FIELDS, extrasaction="ignore")
        self._writer.writeheader()
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "draw")
        self._thread = threading.Thread(target=self._write_all, name="write", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        self._pool.shutdown()
        self._table.close()
        self._lines.close()
        if self._error is not None:
            raise self._error

    def put(self, result: Result) -> None:
        """Take a result; waits where too many are not yet written, and with a large map until its pictures are.

        Raises
        ------
        OSError
            If an earlier one could not be written.
        """
        if self._error is not None:
            raise self._error
        self._number += 1
        described = self._pool.submit(self._describe, result, self._number)
        self._queue.put((result, described))
        if isinstance(result.found, Prediction) and result.found.anomaly_map.size > LARGE:
            wait([described])

    def latencies_at(self, *percents: float) -> list[float]:
        """Return the percentiles of the seconds from the arrival of a frame to its line; 0 where none was written."""
        return np.percentile(self._latencies or [0], percents).tolist()

    def _write_all(self) -> None:
        while self._write_next():
            pass

    def _write_next(self) -> bool:
        """Write the next line; in a function of its own, so that nothing of it is held on to while the next is made."""
        entry = self._queue.get()
        if entry is not None and self._error is None:  # after an error nobody must wait for room in the queue
            try:
                self._write(entry[0].came, entry[1].result())
            except BaseException as error:  # raised again by `put` or at the end
                self._error = error
        return entry is not None

    def _write(self, came: float, row: dict[str, Any]) -> None:
        self._lines.write(json.dumps(row, allow_nan=False) + "\n")
        self._lines.flush()
        self._latencies.append(time.monotonic() - came)
        if "error" in row:
            self.failed += 1
            return
        self.predicted += 1
        self.abnormal += bool(row["abnormal"])
        abnormal = None if row["abnormal"] is None else int(row["abnormal"])
        cells = row | {"abnormal": abnormal, "regions": len(row["regions"])}
        self._writer.writerow({name: harmless(value) for name, value in cells.items()})
        self._table.flush()

    def _describe(self, result: Result, number: int) -> dict[str, Any]:
        """Return the line of a result; its pictures are written."""
        frame = result.frame
        row: dict[str, Any] = {"path": frame.name, "frame": frame.number, "time": frame.time}
        try:
            if isinstance(result.found, str):
                raise InputError(result.found)
            return row | self._describe_prediction(result, result.found, number)
        except InputError as error:  # also of a large file that was changed since it was predicted
            return row | {"error": str(error)}

    def _describe_prediction(self, result: Result, prediction: Prediction, number: int) -> dict[str, Any]:
        threshold = prediction.thresholds.pixel
        values = prediction.on_image
        mask, regions = find_abnormal(values, threshold, self.drawing.dilation, self.drawing.minimum_area)
        row: dict[str, Any] = {
            "height": prediction.size[0],
            "width": prediction.size[1],
            "score": prediction.score,
            "normalised_score": prediction.normalised_score,
            "abnormal": prediction.abnormal,
            "regions": [_plain(region, prediction.size) for region in regions],
            "seconds": prediction.seconds,
            "threshold": prediction.thresholds.image,
            "pixel_threshold": threshold,
            "image_promise": self.promised and self.promised.image,
            "pixel_promise": self.promised and self.promised.pixel,
            "promise": self.promised and self.promised.sentence,
        }
        del regions  # they share an array that is larger than the image
        if result.reference is not None:
            row["reference"] = str(result.reference)
        if not self.drawing.pictures:
            return row
        name = f"{number:05d}_{_safe_stem(result.frame)}.png"
        picture = overlay(self._pixels(result), values, threshold, None if threshold is None else mask)
        _save(picture, self.folder / OVERLAYS / name)
        _save(Image.fromarray(mask), self.folder / MASKS / name)
        return row | {"picture": f"{OVERLAYS}/{name}", "mask": f"{MASKS}/{name}"}

    def _pixels(self, result: Result) -> NDArray[np.uint8]:
        """Return the pixels of a frame; those of large images are read again, and nobody else holds on to them."""
        return shown_pixels(read_pixels(result.frame.image, self.bits)) if result.pixels is None else result.pixels


def make_result(
    frame: Frame, came: float, made: Prepared | InputError, found: Prediction | None, reference: Path | None = None
) -> Result:
    """Return what `Output` takes; ``found`` is the prediction of what was made of the frame and its reference."""
    if isinstance(made, InputError) or found is None:
        return Result(frame, came, str(made))
    path = frame.image if isinstance(frame.image, Path) else None
    return Result(frame, came, dataclasses.replace(found, path=path), made.pixels, reference)


def _begin(path: Path, **options: Any) -> TextIO:
    """Return an empty file that grows line by line; it takes the place of what is there, whose other names keep it."""
    with atomic_path(path, sync=False) as temporary:
        return open(temporary, "x", encoding="utf-8", **options)


def _remove_pictures(folder: Path) -> None:
    """Remove the pictures that the lines of earlier predictions name, and nothing else."""
    earlier = folder / LINES
    if earlier.is_symlink() or not earlier.is_file():
        return
    with open(earlier, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # a line that was not finished, or is somebody else's
                continue
            for key, place in (("picture", OVERLAYS), ("mask", MASKS)):
                name = Path(str(row.get(key))).name if isinstance(row, dict) else ""
                if _PICTURE.fullmatch(name):
                    (folder / place / name).unlink(missing_ok=True)


def harmless(value: Any) -> Any:
    """Return a cell of the table that no spreadsheet takes for a formula."""
    return f"./{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _plain(region: Region, size: tuple[int, int]) -> dict[str, Any]:
    """Return a region as an annotation of COCO has it, with its score."""
    return {
        "bbox": list(region.box),
        "area": region.area,
        "score": region.score,
        "segmentation": run_lengths(region, size),
    }


def _safe_stem(frame: Frame) -> str:
    """Return a part of a file's name that tells where a picture comes from."""
    stem = Path(frame.name).stem if frame.number is None else f"frame_{frame.number:06d}"
    return re.sub(r"[^\w. -]", "_", stem)[:_LONGEST_STEM]


def _save(picture: Image.Image, path: Path) -> None:
    with atomic_path(path, sync=False) as temporary:
        picture.save(temporary, compress_level=1)  # twice as fast as the usual 6, for a fifth more bytes
