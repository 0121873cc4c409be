"""``/models``: which detectors are served, and test images to try them with."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Path, Request, Response

from inference_code.promises import promised
from inference_code.service.schemas import Error, ExampleAnswer, ModelAnswer
from inference_code.service.services.examples import Example, read_example, reference_of_example, thumbnail
from inference_code.service.services.models import Model
from training_code.evaluation.operating_point import OperatingPoint
from training_code.foundation.errors import InputError

router = APIRouter(prefix="/models", tags=["models"])

Found = TypeVar("Found")
# A file that is an image and something else is shown as what it was checked to be.
_HEADERS = {"X-Content-Type-Options": "nosniff"}

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Error}}
_IMAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/*": {}}}, **_NOT_FOUND}
_Name = Annotated[str, Path(description="The id of a run, one of /models.")]
_Number = Annotated[int, Path(description="One of the examples of the model.")]


@router.get("")
async def models(request: Request) -> list[ModelAnswer]:
    """Return the detectors, the default first."""
    return [_describe(model) for model in request.app.state.service.models.all()]


@router.get("/{model}/examples", responses=_NOT_FOUND)
async def examples(request: Request, model: _Name) -> list[ExampleAnswer]:
    """Return test images of the run; none where its dataset is not on this machine."""
    found = _find(request, model).examples
    return [ExampleAnswer(number=number, defect_type=example.defect_type) for number, example in enumerate(found)]


@router.get("/{model}/examples/{number}", response_class=Response, responses=_IMAGE)
def example_file(request: Request, model: _Name, number: _Number) -> Response:
    """Return a test image, as it is in the dataset."""
    example = _find_example(request, model, number)
    content, kind = _read(read_example, example)
    return Response(content, media_type=kind, headers=_HEADERS)


@router.get("/{model}/examples/{number}/thumbnail", response_class=Response, responses=_IMAGE)
def example_thumbnail(request: Request, model: _Name, number: _Number) -> Response:
    """Return a small picture of a test image."""
    return Response(_read(thumbnail, _find_example(request, model, number)), media_type="image/png")


@router.get("/{model}/examples/{number}/reference", response_class=Response, responses=_IMAGE)
def example_reference(request: Request, model: _Name, number: _Number) -> Response:
    """Return the golden sample of a test image, as it is in the dataset."""
    example = _find_example(request, model, number)
    content, kind = _read(lambda each: read_example(reference_of_example(each)), example)
    return Response(content, media_type=kind, headers=_HEADERS)


def _describe(model: Model) -> ModelAnswer:
    predictor = model.predictor
    record = predictor.record
    point = record.operating_points.get("image", OperatingPoint(0.0))
    promise = promised(record, predictor.thresholds)
    return ModelAnswer(
        model=model.name,
        detector=record.detector,
        backbone=record.arguments.get("backbone"),
        dataset=record.dataset.name,
        image_size=predictor.image_size,
        resize=predictor.geometry.resize,
        center_crop=predictor.geometry.center_crop is not None,
        region=predictor.geometry.region is not None,
        runtime=predictor.runtime,
        needs_reference=predictor.needs_references,
        taught=0 if record.taught is None else len(record.taught.images),
        threshold=predictor.thresholds.image,
        pixel_threshold=predictor.thresholds.pixel,
        rule=record.rule,
        alpha=point.alpha,
        image_promise=promise.image,
        pixel_promise=promise.pixel,
        least_promise=point.least,
        good_images=None if record.calibration is None else record.calibration.images,
        labelled_defects=record.labels_for_thresholds,
        promise=promise.sentence,
        metrics=record.metrics,
    )


def _find(request: Request, model: str) -> Model:
    try:
        return request.app.state.service.models.get(model)
    except InputError as error:
        raise HTTPException(404, str(error)) from error


def _find_example(request: Request, model: str, number: int) -> Example:
    found = _find(request, model).examples
    if not 0 <= number < len(found):
        raise HTTPException(404, f"there is no example {number}; there are {len(found)}, from 0")
    return found[number]


def _read(read: Callable[[Example], Found], example: Example) -> Found:
    try:
        return read(example)
    except InputError as error:  # its path is nobody's business
        raise HTTPException(404, "the example can no longer be read") from error
