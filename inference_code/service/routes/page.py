"""``/``: a page for people, made of files beside this package and of nothing else."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

STATIC = Path(__file__).resolve().parents[1] / "static"
# Nothing from elsewhere is loaded, whatever ends up in the page; images come as data.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}

#: Path of each file; they hold nothing that needs a key.
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/heat.js": "heat.js"}

router = APIRouter(include_in_schema=False)


def _add(path: str, name: str) -> None:
    @router.get(path)
    async def file() -> FileResponse:
        return FileResponse(STATIC / name, headers=HEADERS)


for _path, _name in FILES.items():
    _add(_path, _name)
