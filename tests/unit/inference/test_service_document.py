"""What the OpenAPI document allows, and what it does not, never makes the service fail."""

import numpy as np
import schemathesis
from helpers.serving import BrightnessPredictor, encode, spotted
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from inference_code.service.app import create_app

KEY = "a-key-of-32-characters-0123456789"
APP = create_app([BrightnessPredictor(), BrightnessPredictor("brightness-1")], keys=[KEY])
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
IMAGES = [encode(spotted()), encode(np.zeros((1, 1), np.uint8)), encode(spotted(), "JPEG")[:-40], b"", b"<html>"]


@SCHEMA.hook
def map_body(_, body):
    """Put images, whole ones and bad ones, in the place of what is made up."""
    if not isinstance(body, dict):
        return body
    return {name: _image(value) for name, value in body.items()}


def _image(value):
    if isinstance(value, list):
        return [_image(entry) for entry in value]
    return IMAGES[len(value) % len(IMAGES)] if isinstance(value, bytes) else value


@SCHEMA.parametrize()
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_service_fail(case):
    response = case.call(headers={"X-API-Key": KEY})
    # What the document cannot say: whether bytes are an image.
    case.validate_response(response, excluded_checks=[positive_data_acceptance])
