"""What clients send beside their images, and what they get."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from inference_code.ranges import AREAS, DILATIONS
from inference_code.verdicts import RULES, VERDICTS

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Options(BaseModel):
    """How images are predicted; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="The id of a run, one of /models; the first of them by default.")
    threshold: _Finite | None = Field(
        None, description="Raw score from which on an image is abnormal; the run's by default."
    )
    pixel_threshold: _Finite | None = Field(
        None, description="Raw score from which on a pixel is abnormal; the run's by default."
    )
    dilate: int = Field(0, ge=DILATIONS[0], le=DILATIONS[1], description="Pixels by which abnormal regions grow.")
    min_area: int = Field(0, ge=AREAS[0], le=AREAS[1], description="Pixels below which a region is passed over.")
    overlay: bool = Field(False, description="Whether to return the image with its abnormal pixels coloured.")
    map: bool = Field(False, description="Whether to return the anomaly map.")
    image: bool = Field(False, description="Whether to return the image as it was read, 1024 × 1024 pixels at most.")


class RegionAnswer(BaseModel):
    """Abnormal pixels that hang together."""

    bbox: tuple[int, int, int, int] = Field(description="x, y, width, height in pixels of the image.")
    area: int = Field(description="Pixels of the image.")
    score: float = Field(description="The highest raw score of the region.")


class ImageAnswer(BaseModel):
    """What the detector says of one image."""

    score: float = Field(description="Raw; higher is more anomalous.")
    normalised_score: float | None = Field(description="From 0 to 1 with 0.5 at the threshold; null without one.")
    abnormal: bool | None = Field(description="Whether the score reaches the threshold; null without one.")
    threshold: float | None = Field(description="Raw score from which on an image is abnormal.")
    pixel_threshold: float | None = Field(description="Raw score from which on a pixel is abnormal.")
    image_promise: float | None = Field(
        description="Part of new good images that the threshold refuses at most; null where it promises nothing."
    )
    promise: str = Field(description="What the thresholds promise, or which promise is lost by those that were sent.")
    height: int = Field(description="Pixels of the image as it was sent, turned as its EXIF data say.")
    width: int = Field(description="Pixels of the image as it was sent, turned as its EXIF data say.")
    regions: list[RegionAnswer] = Field(description="The highest score first; empty without a threshold.")
    seconds: float = Field(description="That the detector took: of its batch, divided by the number of images.")
    overlay: str | None = Field(None, description="PNG in base64, of the image's size.")
    map: str | None = Field(
        None,
        description="Grey PNG in base64 of the whole image: 0 and 255 are the ends of map_range, transparent is what "
        "is not looked at. Of the detector's size where images are stretched to that, otherwise of the image's, 1024 "
        "pixels on a side at most.",
    )
    map_range: tuple[float, float] | None = Field(None, description="The lowest and the highest raw score of the map.")
    image: str | None = Field(None, description="PNG in base64.")


class ImageError(BaseModel):
    """Why an image of several could not be predicted."""

    error: str


class Answer(ImageAnswer):
    """What the detector says of the image."""

    model: str = Field(description="The id of the run that predicted.")


class BatchAnswer(BaseModel):
    """What the detector says of several images."""

    model: str = Field(description="The id of the run that predicted.")
    images: list[ImageAnswer | ImageError] = Field(description="In the order of the request.")


class PartOptions(BaseModel):
    """How the views of a part make a verdict."""

    views: str = Field("", description="Names of the views, with commas between; 1, 2 and so on by default.")
    models: str = Field("", description="The id of a run for each view, with commas between; one for all by default.")
    rule: str = Field(RULES[0], description=f"One of {', '.join(RULES)}.")
    alpha: _Finite = Field(0.05, description="Part of good parts that a rule by p-values may refuse.")


class ViewAnswer(BaseModel):
    """What was found in a view of a part."""

    view: str
    model: str = Field(description="The id of the run that predicted.")
    p_value: float | None = Field(None, description="Of its score among good images; null where that is not known.")
    found: ImageAnswer | ImageError


class PartAnswer(BaseModel):
    """A verdict about a part."""

    verdict: str = Field(description=f"One of {', '.join(VERDICTS)}.")
    reason: str = Field(description="Why, in a few words; empty for good parts.")
    score: float | None = Field(description="The highest normalised score of the views.")
    p_value: float | None = Field(description="Of all views together, where the rule goes by it.")
    views: list[ViewAnswer] = Field(description="In the order of the images.")


class ModelAnswer(BaseModel):
    """A detector that is served."""

    model: str = Field(description="The id of its run.")
    detector: str
    backbone: str | None
    dataset: str
    image_size: tuple[int, int] = Field(description="Height and width of what networks see of an image.")
    resize: str = Field(description="How images are brought to their size: stretch, letterbox or crop.")
    center_crop: bool = Field(description="Whether the middle is then cut out.")
    region: bool = Field(description="Whether only a region of each image is looked at.")
    runtime: str = Field(description="What computes: torch, onnx or openvino.")
    needs_reference: bool = Field(description="Whether each image is sent with its golden sample, reference.")
    taught: int = Field(description="Good photographs that the detector was taught after training.")
    threshold: float | None = Field(description="Raw score from which on an image is abnormal.")
    pixel_threshold: float | None = Field(description="Raw score from which on a pixel is abnormal.")
    rule: str = Field(description="By which the thresholds were found.")
    alpha: float | None = Field(description="Part of new good images that may be refused; null if the rule has none.")
    image_promise: float | None = Field(
        description="Part of new good images that is refused at most; null where nothing is promised."
    )
    pixel_promise: float | None = Field(
        description="Part of new good images of which more is marked than allowed, at most; null for no promise."
    )
    least_promise: float | None = Field(description="The smallest promise that the good images allow.")
    good_images: int | None = Field(description="Good images, unseen by the detector, that the thresholds rest on.")
    labelled_defects: int = Field(description="Labelled defects that the thresholds rest on as well.")
    promise: str = Field(description="Rule and promise in words.")
    metrics: dict[str, float] = Field(description="Of the run, on its test images.")


class ExampleAnswer(BaseModel):
    """A test image of a run."""

    number: int
    defect_type: str


class Status(BaseModel):
    """How the service is."""

    status: str


class Error(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="One sentence.")


#: Answers of all addresses that have to do with images or models.
REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": Error, "description": "An API key is needed."},
    403: {
        "model": Error,
        "description": "Without API keys: it was asked under another name, or by a page from elsewhere.",
    },
    422: {"model": Error, "description": "An image, a field or a parameter is not what it should be."},
}
