"""`make_app`: what every service has, whatever it answers: limits, keys, its state, errors in one sentence."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer

from inference_code.service.guard import Guard
from inference_code.service.limits import Limits
from inference_code.service.listening import LOCAL_NAMES
from inference_code.service.routes import state
from inference_code.service.schemas import REFUSED
from inference_code.service.services.measures import Measures
from training_code.foundation.errors import InputError

#: For which no key is needed: they tell nothing about images or models.
OPEN_PATHS = frozenset({"/health", "/ready", "/openapi.json"})


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes
    ----------
    keys
        One of them is needed for everything but open paths. Without any the service answers to ``names`` only, and
        not to pages that come from elsewhere.
    names
        Hosts without their ports.
    """

    keys: Collection[str] = ()
    names: Collection[str] = LOCAL_NAMES


@dataclass(frozen=True)
class Addition:
    """What a service answers beside, or in place of, questions about images.

    Attributes
    ----------
    name
        Under which the routes find ``service`` in the state of the application.
    service
        Does the work.
    router, page
        Routes that need a key, and those of open paths.
    open_paths
        For which no key is needed.
    ready
        Returns whether it does its work.
    end
        Called when the service ends: answers that would go on as long as their clients listen end.
    metrics
        Returns what it counts, in Prometheus' text format.
    """

    name: str
    service: Any
    router: APIRouter
    page: APIRouter
    open_paths: frozenset[str]
    ready: Callable[[], bool]
    end: Callable[[], None]
    metrics: Callable[[], str]


def make_app(
    limits: Limits,
    access: Access,
    measures: Measures,
    ready: Callable[[], bool],
    open_paths: Collection[str] = (),
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """Return a service that answers about its state only; `add` gives it more to answer.

    Parameters
    ----------
    limits
        What is taken from clients.
    access
        Who may ask.
    measures
        Counts the answers.
    ready
        Whether the service does its work.
    open_paths
        For which no key is needed, beside `OPEN_PATHS`.
    lifespan
        What runs while it does.
    """
    # Without pages of documentation, which load scripts from elsewhere.
    app = FastAPI(title="Anomaly detection", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.measures, app.state.ready, app.state.at_end = measures, [ready], []
    app.include_router(state.router)
    for error in (InputError, RequestValidationError, Exception):
        app.add_exception_handler(error, _explain)
    app.add_middleware(
        Guard,
        limits=limits,
        keys=access.keys,
        open_paths={*OPEN_PATHS, *open_paths},
        names=access.names,
        measure=measures.request,
    )
    return app


def add_routes(app: FastAPI, routers: Sequence[APIRouter], access: Access) -> None:
    """Have a service answer routes that need a key, where there are keys."""
    # For the document: the guard has asked for the key before.
    schemes = [Security(APIKeyHeader(name="X-API-Key", auto_error=False)), Security(HTTPBearer(auto_error=False))]
    for router in routers:
        app.include_router(router, responses=REFUSED, dependencies=schemes if access.keys else [])


def add(app: FastAPI, addition: Addition, access: Access) -> None:
    """Have a service answer an addition, whose open paths it was made with."""
    setattr(app.state, addition.name, addition.service)
    add_routes(app, [addition.router], access)
    app.include_router(addition.page)
    app.state.ready.append(addition.ready)
    app.state.at_end.append(addition.end)
    app.state.measures.also(addition.metrics)


def sentence(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the answer to a request that cannot be answered."""
    return JSONResponse({"detail": detail}, status, headers)


async def _explain(_: Request, error: Exception) -> JSONResponse:
    """Return an error as one sentence for the client; what happened inside stays in the log."""
    match error:
        case InputError():
            return sentence(422, str(error))
        case RequestValidationError():
            return sentence(422, _first(error))
    return sentence(500, "the service failed; its log says why")


def _first(error: RequestValidationError) -> str:
    """Return the first mistake with the name of its field."""
    mistake = error.errors()[0]
    place, *names = mistake["loc"]
    kind = "field" if place == "body" else "parameter"
    reason = "it has to be a file" if "UploadFile" in mistake["msg"] else mistake["msg"]
    return f"{kind} {'.'.join(map(str, names)) or place}: {reason}"
