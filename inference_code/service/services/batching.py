"""`Batcher`: one thread that predicts in batches what many clients bring."""

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from inference_code.batches import Batches
from inference_code.images import Prepared
from inference_code.predictor import Prediction, Predictor
from inference_code.service.limits import LARGE
from inference_code.service.services.lanes import Lanes
from training_code.foundation.errors import InputError

_LOG = logging.getLogger(__name__)
# Part of the newest measurement in the mean time of an image.
_NEWEST = 0.1


@dataclass(eq=False)
class _Job:
    image: bytes
    reference: bytes | None
    future: "Future[Prediction]" = field(default_factory=Future)
    made: Prepared | Exception | None = None  # of a large image


class Batcher:
    """Predicts images that come one by one, in batches, in a thread of its own.

    What waits when the detector is free goes into its next batch; nobody waits for a batch to fill. Images are read and
    resized in other threads, at most two batches ahead: what waits holds the bytes of its files alone. Large images are
    read in a lane of their own before they join the others, which would wait for them.

    Parameters
    ----------
    predictor
        The detector; nobody else may use it at the same time.
    batch_size
        Largest number of images in a batch.
    lanes
        In which large images are read.
    turn
        Held while the detector computes: several detectors take turns.
    measure
        Called after each batch with its number of images and the seconds that the detector took.
    """

    def __init__(
        self,
        predictor: Predictor,
        batch_size: int,
        lanes: Lanes,
        turn: threading.Lock,
        measure: Callable[[int, float], None],
    ) -> None:
        self.predictor = predictor
        self.seconds_per_image = 0.0
        self._batch_size = batch_size
        self._lanes = lanes
        self._reading: set[Future[None]] = set()  # of large images
        self._turn = turn
        self._measure = measure
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Predict a blank image, so that the first client does not wait for what is made once, and begin."""
        with self._turn:
            self.predictor.infer([self.predictor.blank])
        self._thread = threading.Thread(target=self._run, name="predict", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End after what was submitted; wait no longer than ``seconds`` for it."""
        if self._thread is not None:
            begun = time.monotonic()
            wait(self._reading.copy(), seconds)
            self._jobs.put(None)
            self._thread.join(max(0.0, seconds - (time.monotonic() - begun)))

    @property
    def alive(self) -> bool:
        """Whether images are predicted."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, image: bytes, pixels: int, reference: bytes | None = None) -> "Future[Prediction]":
        """Take the content of an image file; cancelling the future leaves it out if it is not being predicted yet.

        The future raises `InputError` where the image cannot be read.

        Parameters
        ----------
        image
            The content of the file.
        pixels
            Of the image, as its header says; of its reference if that has more.
        reference
            The content of the file that it is compared with.
        """
        job = _Job(image, reference)
        if pixels <= LARGE or self.predictor.large:  # where every image is large, each is prepared when its turn comes
            self._jobs.put(job)
        else:
            reading = self._lanes.submit(pixels, self._read, job)
            self._reading.add(reading)
            reading.add_done_callback(self._reading.discard)
        return job.future

    def _read(self, job: _Job) -> None:
        job.made = self._prepare(job)
        self._jobs.put(job)

    def _run(self) -> None:
        large = self.predictor.large
        size = 1 if large else self._batch_size
        for batch in Batches(iter(self._jobs.get, None), self._prepare, size, fill=False, ahead=not large):
            self._answer_wanted(batch)
            batch.clear()  # the images are let go of before the next ones are prepared

    def _answer_wanted(self, batch: Sequence[tuple[_Job, Prepared | Exception | None, float]]) -> None:
        wanted = [(job, made) for job, made, _ in batch if job.future.set_running_or_notify_cancel()]
        self._answer([(job, made) for job, made in wanted if made is not None])

    def _prepare(self, job: _Job) -> Prepared | Exception | None:
        """Return the image without its pixels, or why it cannot be read; None if nobody waits for it any longer.

        Nothing is raised, since the thread has to go on.
        """
        if job.made is not None or job.future.cancelled():
            return job.made
        try:
            return dataclasses.replace(self.predictor.prepare(job.image, job.reference), pixels=None)
        except InputError as error:
            return InputError(str(error))  # the other one holds on to the image, by way of its traceback
        except Exception as error:
            return error.with_traceback(None)

    def _answer(self, batch: list[tuple[_Job, Prepared | Exception]]) -> None:
        ready = [(job, made) for job, made in batch if isinstance(made, Prepared)]
        for job, made in batch:
            if isinstance(made, Exception):
                job.future.set_exception(made)
        try:
            predictions = self._infer([made for _, made in ready])
        except Exception as error:  # of the detector's runtime; the next batch may succeed
            _LOG.exception("%s failed on %d images", self.predictor.record.run_id, len(ready))
            for job, _ in ready:
                # Not the error itself: one of wrong input would be told to the client.
                job.future.set_exception(RuntimeError(f"{self.predictor.record.run_id} failed: {error}"))
            return
        for (job, _), prediction in zip(ready, predictions, strict=True):
            job.future.set_result(prediction)

    def _infer(self, images: list[Prepared]) -> list[Prediction]:
        if not images:
            return []
        with self._turn:
            begun = time.perf_counter()
            predictions = self.predictor.judge(images)
            seconds = time.perf_counter() - begun
        self._measure(len(images), seconds)
        each = seconds / len(images)
        self.seconds_per_image += (each - self.seconds_per_image) * (_NEWEST if self.seconds_per_image else 1)
        return predictions
