"""The page of a station as part of a service, and as a service of its own, which needs no torch."""

from pathlib import Path

from fastapi import FastAPI

from inference_code.service.frame import Access, Addition, add, make_app
from inference_code.service.limits import Limits
from inference_code.service.services.measures import Measures
from inference_code.station.page import routes
from inference_code.station.page.watching import Watcher
from training_code.foundation import paths
from training_code.foundation.errors import InputError


def station_folder(given: str | Path) -> Path:
    """Return the folder of a station, in which the ledger may come later.

    Raises
    ------
    InputError
        If it is no folder.
    """
    folder = paths.expanded(given).absolute()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; valid: what anomaly station has as --output")
    return folder


def station_page(folder: Path) -> Addition:
    """Return the page of a station as an addition to a service."""
    watcher = Watcher(folder)
    return Addition(
        "station",
        watcher,
        routes.router,
        routes.page,
        frozenset(routes.FILES),
        ready=watcher.ready,
        end=watcher.end,
        metrics=watcher.metrics,
    )


def make_station_app(addition: Addition, limits: Limits, access: Access) -> FastAPI:
    """Return a service that has nothing but the page of a station."""
    open_paths = {"/", *addition.open_paths}
    app = make_app(limits, access, Measures(lambda: 0), lambda: True, open_paths)  # but for what is added
    add(app, addition, access)
    app.include_router(routes.front)
    return app
