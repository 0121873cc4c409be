"""``/station``: the page for the person at a line, what it shows, and what that person says of parts."""

import contextlib
import sqlite3
import time
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from inference_code.service.routes.page import HEADERS
from inference_code.service.schemas import Error
from inference_code.station.alarms import alarms
from inference_code.station.ledger import Ledger
from inference_code.station.page.line import describe
from inference_code.station.page.pictures import SIZES, Pictures, find_picture
from inference_code.station.page.watching import Watcher
from inference_code.station.reading import Reader
from inference_code.station.schema import LEDGER
from training_code.foundation.errors import InputError

STATIC = File(__file__).parent / "static"
_PARTS = ("station.css", "station.js", "asking.js", "sound.js", "stream.js", "words.js")
#: Each has a file of its own, with the same keys.
LANGUAGES = ("en", "de", "ru")
#: Path of each file; they hold nothing that needs a key.
FILES = {
    "/station": "station.html",
    **{f"/station/{name}": name for name in _PARTS},
    **{f"/station/{language}.json": f"{language}.json" for language in LANGUAGES},
}
# Seconds that a correction waits for the station.
_PATIENCE = 5.0

router = APIRouter(prefix="/station", tags=["station"])
page = APIRouter(include_in_schema=False)
#: For services without a page of their own.
front = APIRouter(include_in_schema=False)

_Number = Annotated[int, Path(ge=1, le=2**53, description="Of the part's verdict, from 1.")]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Error}}
_UNREADABLE: dict[int | str, dict[str, Any]] = {503: {"model": Error, "description": "The ledger is not at hand."}}
_SAID: dict[int | str, dict[str, Any]] = {400: {"model": Error, "description": "The body is no JSON."}}
_DRAWING: dict[int | str, dict[str, Any]] = {200: {"content": {"image/svg+xml": {}}}, **_NOT_FOUND, **_UNREADABLE}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, **_NOT_FOUND, **_UNREADABLE}


class Said(BaseModel):
    """What a person says of a part."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["good", "bad"] | None = Field(description="null takes back what was said before.")
    person: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


@router.get("/state", responses=_UNREADABLE)
async def state(request: Request) -> dict[str, Any]:
    """Return what the page shows: the last part, the last bad ones, the counts of the day, alarms about drift."""
    return dict((await _watcher(request).look()).content)


@router.get("/events", include_in_schema=False)
async def events(request: Request, last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
    """Return the same whenever it changes, as server-sent events."""
    stream = _watcher(request).follow(last_event_id)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/parts/{number}", responses=_NOT_FOUND | _UNREADABLE)
def part(request: Request, number: _Number) -> dict[str, Any]:
    """Return what is shown of a part."""
    with _reader(request) as reader:
        return _described(reader, number)


@router.get("/parts/{number}/picture", response_class=Response, responses=_PICTURE)
def picture(
    request: Request,
    number: _Number,
    view: Annotated[str, Query(description="Its name.")],
    kind: Annotated[Literal["photograph", "overlay"], Query()] = "photograph",
    size: Annotated[Literal["large", "small"], Query()] = "large",
) -> Response:
    """Return a picture of a view, made smaller for screens."""
    folder = _watcher(request).folder
    with _reader(request) as reader:
        path = find_picture(reader, folder, number, view, kind)
    if path is None:
        raise HTTPException(404, f"there is no {kind} of this view of part {number}")
    try:
        content = _pictures.make(path, SIZES[size])
    except (OSError, InputError) as error:  # its path is nobody's business
        raise HTTPException(404, f"the {kind} of part {number} can no longer be read") from error
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.get("/drift/{name}", response_class=Response, responses=_DRAWING)
def drift(request: Request, name: Annotated[str, Path(description="Of an alarm's picture.")]) -> Response:
    """Return the picture of an alarm about drift: the last photographs against the reference."""
    with _reader(request) as reader:
        standing = {File(alarm["picture"]).name: alarm["picture"] for alarm in alarms(reader)}
    try:
        content = (_watcher(request).folder / standing[name]).read_bytes()
    except (KeyError, OSError) as error:
        raise HTTPException(404, "there is no such picture of an alarm that stands") from error
    return Response(content, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})


@router.post("/parts/{number}/correction", responses=_SAID | _NOT_FOUND | _UNREADABLE)
def correction(request: Request, number: _Number, said: Said) -> dict[str, Any]:
    """Keep what a person says of a part; return what is shown of it now."""
    with _reader(request) as reader:
        found = reader.part(number)
        if found is None:
            raise HTTPException(404, f"there is no part {number}")
        try:
            with contextlib.closing(Ledger(_watcher(request).folder / LEDGER, _PATIENCE)) as ledger:
                ledger.correct(found.id, said.verdict, said.person, time.time(), said.note)
        except (OSError, sqlite3.Error, InputError) as error:  # a full disk, a ledger that is busy; its path stays here
            raise HTTPException(503, "nothing was kept, since the ledger cannot be changed now") from error
        return _described(reader, number)


def _add(path: str, name: str) -> None:
    @page.get(path)
    async def file() -> FileResponse:
        return FileResponse(STATIC / name, headers=HEADERS)


for _path, _name in FILES.items():
    _add(_path, _name)


@front.get("/")
async def front_page() -> RedirectResponse:
    """Lead to the page of the station."""
    return RedirectResponse("station")


_pictures = Pictures()


def _watcher(request: Request) -> Watcher:
    watcher: Watcher = request.app.state.station
    return watcher


def _reader(request: Request) -> Reader:
    try:
        return Reader(_watcher(request).folder / LEDGER)
    except (OSError, sqlite3.Error, InputError) as error:  # its path is nobody's business
        raise HTTPException(503, "the ledger of the station cannot be read now") from error


def _described(reader: Reader, number: int) -> dict[str, Any]:
    found = reader.part(number)
    if found is None:
        raise HTTPException(404, f"there is no part {number}")
    return describe(reader, found)
