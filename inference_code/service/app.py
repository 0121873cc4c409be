"""`create_app`: routes, services and limits put together."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from inference_code.predictor import BATCH_SIZE, Predictor
from inference_code.service.frame import Access, Addition, add, add_routes, make_app, sentence
from inference_code.service.limits import Limits
from inference_code.service.listening import LOCAL_NAMES
from inference_code.service.routes import models as models_routes
from inference_code.service.routes import page, parts, prediction
from inference_code.service.services.lanes import Lanes
from inference_code.service.services.measures import Measures
from inference_code.service.services.models import Models
from inference_code.service.services.prediction import BusyError, LateError, PredictionService


def create_app(
    predictors: Sequence[Predictor],
    limits: Limits | None = None,
    keys: Collection[str] = (),
    batch_size: int = BATCH_SIZE,
    names: Collection[str] = LOCAL_NAMES,
    additions: Sequence[Addition] = (),
) -> FastAPI:
    """Return the service.

    Parameters
    ----------
    predictors
        The detectors, the default first.
    limits
        What is taken from clients.
    keys, names
        See `Access`.
    batch_size
        Largest number of images that a detector gets at once.
    additions
        What is answered beside.

    Raises
    ------
    InputError
        If two detectors are of the same run.
    """
    limits, access = limits or Limits(), Access(keys, names)
    measures = Measures(lambda: service.waiting)
    lanes = Lanes()
    service = PredictionService(Models(predictors, batch_size, lanes, measures), limits, lanes, measures)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    open_paths = {*page.FILES, *(path for addition in additions for path in addition.open_paths)}
    app = make_app(limits, access, measures, lambda: service.models.ready, open_paths, lifespan)
    app.state.service = service
    add_routes(app, [prediction.router, parts.router, models_routes.router], access)
    app.include_router(page.router)
    for addition in additions:
        add(app, addition, access)
    for error in (BusyError, LateError):
        app.add_exception_handler(error, _explain)
    return app


async def _explain(_: Request, error: Exception) -> JSONResponse:
    """Return why an image was not predicted as one sentence for the client."""
    if isinstance(error, BusyError):
        return sentence(429, "too many images wait", {"Retry-After": str(error.seconds)})
    return sentence(503, "the answer would have taken too long", {"Retry-After": "1"})
