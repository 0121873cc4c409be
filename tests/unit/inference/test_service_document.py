"""What the OpenAPI document allows, and what it does not, never makes the service fail."""

import numpy as np
import schemathesis
from helpers.serving import BrightnessPredictor, encode, spotted
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from inference_code.service.app import create_app

KEY = "a-key-of-32-characters-0123456789"
APP = create_app([BrightnessPredictor(), BrightnessPredictor("brightness-1")], keys=[KEY])
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
IMAGES = [encode(spotted()), encode(np.zeros((1, 1), np.uint8)), encode(spotted(), "JPEG")[:-40], b"", b"<html>"]


@SCHEMA.hook
def map_body(_, body):
    """Put images, whole ones and bad ones, in the place of the contents of files that are made up."""
    if isinstance(body, dict):
        body |= {"image": _image(body["image"])} if "image" in body else {}
        body |= {"images": [_image(entry) for entry in body["images"]]} if isinstance(body.get("images"), list) else {}
    return body


def _image(made_up):
    # What is no file, a number for instance, is there to be refused.
    return IMAGES[len(made_up) % len(IMAGES)] if isinstance(made_up, str | bytes) else made_up


def test_images_are_put_in_the_place_of_what_is_made_up():
    statuses = set()

    @given(case=SCHEMA["/predict"]["POST"].as_strategy())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def predict(case):
        statuses.add(case.call(headers={"X-API-Key": KEY}).status_code)

    predict()
    assert {200, 422} <= statuses < {200, 400, 422, 429}


@SCHEMA.parametrize()
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_request_makes_the_service_fail(case):
    response = case.call(headers={"X-API-Key": KEY})
    # What the document cannot say: whether bytes are an image.
    case.validate_response(response, excluded_checks=[positive_data_acceptance])
