"""`create_app`: routes, services and limits put together."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer

from inference_code.predictor import BATCH_SIZE, Predictor
from inference_code.service.guard import Guard
from inference_code.service.limits import Limits
from inference_code.service.routes import models as models_routes
from inference_code.service.routes import page, parts, prediction, state
from inference_code.service.schemas import REFUSED
from inference_code.service.services.lanes import Lanes
from inference_code.service.services.measures import Measures
from inference_code.service.services.models import Models
from inference_code.service.services.prediction import BusyError, LateError, PredictionService
from training_code.foundation.errors import InputError

#: For which no key is needed: they tell nothing about images or models.
OPEN_PATHS = frozenset({*page.FILES, "/health", "/ready", "/openapi.json"})
#: Names under which a service without keys is called.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def create_app(
    predictors: Sequence[Predictor],
    limits: Limits | None = None,
    keys: Collection[str] = (),
    batch_size: int = BATCH_SIZE,
    names: Collection[str] = LOCAL_NAMES,
) -> FastAPI:
    """Return the service.

    Parameters
    ----------
    predictors
        The detectors, the default first.
    limits
        What is taken from clients.
    keys
        One of them is needed for everything but `OPEN_PATHS`. Without any the service answers to ``names`` only, and
        not to pages that come from elsewhere.
    batch_size
        Largest number of images that a detector gets at once.
    names
        Hosts without their ports.

    Raises
    ------
    InputError
        If two detectors are of the same run.
    """
    limits = limits or Limits()
    measures = Measures(lambda: service.waiting)
    lanes = Lanes()
    service = PredictionService(Models(predictors, batch_size, lanes, measures), limits, lanes, measures)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    # Without pages of documentation, which load scripts from elsewhere.
    app = FastAPI(title="Anomaly detection", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service, app.state.measures = service, measures
    # For the document: the guard has asked for the key before.
    schemes = [Security(APIKeyHeader(name="X-API-Key", auto_error=False)), Security(HTTPBearer(auto_error=False))]
    for routes in (prediction, parts, models_routes):
        app.include_router(routes.router, responses=REFUSED, dependencies=schemes if keys else [])
    app.include_router(state.router)
    app.include_router(page.router)
    for error in (InputError, RequestValidationError, BusyError, LateError, Exception):
        app.add_exception_handler(error, _explain)
    app.add_middleware(Guard, limits=limits, keys=keys, open_paths=OPEN_PATHS, names=names, measure=measures.request)
    return app


async def _explain(_: Request, error: Exception) -> JSONResponse:
    """Return an error as one sentence for the client; what happened inside stays in the log."""
    match error:
        case InputError():
            return _sentence(422, str(error))
        case RequestValidationError():
            return _sentence(422, _first(error))
        case BusyError():
            return _sentence(429, "too many images wait", {"Retry-After": str(error.seconds)})
        case LateError():
            return _sentence(503, "the answer would have taken too long", {"Retry-After": "1"})
    return _sentence(500, "the service failed; its log says why")


def _sentence(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)


def _first(error: RequestValidationError) -> str:
    """Return the first mistake with the name of its field."""
    mistake = error.errors()[0]
    place, *names = mistake["loc"]
    kind = "field" if place == "body" else "parameter"
    reason = "it has to be a file" if "UploadFile" in mistake["msg"] else mistake["msg"]
    return f"{kind} {'.'.join(map(str, names)) or place}: {reason}"
