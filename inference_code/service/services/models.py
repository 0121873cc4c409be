"""The detectors that are served."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from inference_code.predictor import Predictor
from inference_code.service.services.batching import Batcher
from inference_code.service.services.examples import Example, find_examples
from inference_code.service.services.lanes import Lanes
from inference_code.service.services.measures import Measures
from training_code.foundation.errors import InputError, unknown


@dataclass(frozen=True)
class Model:
    """A detector with what belongs to it."""

    predictor: Predictor
    batcher: Batcher
    examples: list[Example]

    @property
    def name(self) -> str:
        """The id of its run, by which clients ask for it."""
        return self.predictor.record.run_id


class Models:
    """The detectors that are served, by the ids of their runs; the first one is for who asks for none.

    Raises
    ------
    InputError
        If two are of the same run.
    """

    def __init__(self, predictors: Sequence[Predictor], batch_size: int, lanes: Lanes, measures: Measures) -> None:
        turn = threading.Lock()
        self._models: dict[str, Model] = {}
        for predictor in predictors:
            name = predictor.record.run_id
            if name in self._models:
                raise InputError(f"{name} is given twice; a service holds each run once")
            batcher = Batcher(predictor, batch_size, lanes, turn, partial(measures.batch, name))
            self._models[name] = Model(predictor, batcher, find_examples(predictor))

    def all(self) -> list[Model]:
        """Return the models, the default first."""
        return list(self._models.values())

    def get(self, name: str | None) -> Model:
        """Return a model by the id of its run, the default for None.

        Raises
        ------
        InputError
            If it is not served.
        """
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise unknown("model", name, self._models)
        return self._models[name]

    def start(self) -> None:
        """Begin to predict."""
        for model in self.all():
            model.batcher.start()

    def stop(self, seconds: float) -> None:
        """Predict what was taken, and end; wait no longer than ``seconds`` for each model."""
        for model in self.all():
            model.batcher.stop(seconds)

    @property
    def ready(self) -> bool:
        """Whether all predict."""
        return all(model.batcher.alive for model in self.all())
