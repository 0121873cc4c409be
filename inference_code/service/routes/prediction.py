"""``/predict``: images in, scores out."""

from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, Query, Request, UploadFile

from inference_code.service.schemas import Answer, BatchAnswer, Error, ImageError, Options

_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The form cannot be read."},
    408: {"model": Error, "description": "The request took too long to arrive."},
    413: {"model": Error, "description": "The request is too large."},
    429: {"model": Error, "description": "Too many images wait; the header Retry-After says when to ask again."},
    503: {"model": Error, "description": "The answer would have taken too long."},
}
router = APIRouter(prefix="/predict", tags=["prediction"], responses=_REFUSED)

_Options = Annotated[Options, Query()]


@router.post("")
async def predict(
    request: Request, options: _Options, image: Annotated[UploadFile, File(description="PNG, JPEG, BMP, TIFF or WebP.")]
) -> Answer:
    """Predict an image."""
    model, (found,) = await request.app.state.service.predict([await image.read()], options)
    if isinstance(found, ImageError):
        raise HTTPException(422, found.error)
    return Answer(model=model.name, **dict(found))


@router.post("/batch")
async def predict_batch(
    request: Request,
    options: _Options,
    images: Annotated[list[UploadFile], File(description="The field is repeated, once for each image.")],
) -> BatchAnswer:
    """Predict several images; one that cannot be read does not stop the others."""
    model, found = await request.app.state.service.predict([await image.read() for image in images], options)
    if all(isinstance(entry, ImageError) for entry in found):
        raise HTTPException(422, f"none of {len(found)} images can be read; the first one: {found[0].error}")
    return BatchAnswer(model=model.name, images=found)
