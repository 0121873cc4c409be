"""``/predict``: images in, scores out."""

from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, Query, Request, UploadFile

from inference_code.service.schemas import Answer, BatchAnswer, Error, ImageError, Options

#: Answers to images that are not predicted.
REFUSED_IMAGES: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The form cannot be read."},
    408: {"model": Error, "description": "The request took too long to arrive."},
    413: {"model": Error, "description": "The request is too large."},
    429: {"model": Error, "description": "Too many images wait; the header Retry-After says when to ask again."},
    503: {"model": Error, "description": "The answer would have taken too long."},
}
router = APIRouter(prefix="/predict", tags=["prediction"], responses=REFUSED_IMAGES)

_Options = Annotated[Options, Query()]


@router.post("")
async def predict(
    request: Request,
    options: _Options,
    image: Annotated[UploadFile, File(description="PNG, JPEG, BMP, TIFF or WebP.")],
    reference: Annotated[
        UploadFile | None, File(description="The golden sample of the image, where the model needs it.")
    ] = None,
) -> Answer:
    """Predict an image."""
    references = [] if reference is None else [await reference.read()]
    model, (found,) = await request.app.state.service.predict([await image.read()], options, references)
    if isinstance(found, ImageError):
        raise HTTPException(422, found.error)
    return Answer(model=model.name, **dict(found))


@router.post("/batch")
async def predict_batch(
    request: Request,
    options: _Options,
    images: Annotated[list[UploadFile], File(description="The field is repeated, once for each image.")],
    references: Annotated[
        list[UploadFile] | None, File(description="Golden samples, where the model needs them: one, or one for each.")
    ] = None,
) -> BatchAnswer:
    """Predict several images; one that cannot be read does not stop the others."""
    contents, samples = [await file.read() for file in images], [await file.read() for file in references or []]
    model, found = await request.app.state.service.predict(contents, options, samples)
    if all(isinstance(entry, ImageError) for entry in found):
        raise HTTPException(422, f"none of {len(found)} images can be read; the first one: {found[0].error}")
    return BatchAnswer(model=model.name, images=found)
