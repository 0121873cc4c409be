"""``/parts``: the photographs of a part in, a verdict out."""

from typing import Annotated

from fastapi import APIRouter, File, Query, Request, UploadFile

from inference_code.service.routes.prediction import REFUSED_IMAGES
from inference_code.service.schemas import Options, PartAnswer, PartOptions
from inference_code.service.services.parts import judge_part

router = APIRouter(prefix="/parts", tags=["prediction"], responses=REFUSED_IMAGES)


class _Query(Options, PartOptions):
    """How images are predicted, and how they make a verdict."""


@router.post("")
async def parts(
    request: Request,
    options: Annotated[_Query, Query()],
    images: Annotated[list[UploadFile], File(description="The field is repeated, once for each view of the part.")],
) -> PartAnswer:
    """Judge a part by its photographs; one that cannot be read leaves it unreadable, unless the others make it bad."""
    contents = [await file.read() for file in images]
    return await judge_part(request.app.state.service, contents, options, options)
