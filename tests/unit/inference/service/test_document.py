"""What the OpenAPI document allows, and what it does not, never makes the service fail."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import schemathesis
from helpers.serving import BrightnessPredictor, encode, spotted
from helpers.station import Bright, make_station, put_image, work_off
from hypothesis import HealthCheck, given, settings
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from inference_code.service.app import create_app
from inference_code.station.page.app import station_page

pytestmark = pytest.mark.slow
KEY = "a-key-of-32-characters-0123456789"
_SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
EXAMPLES = "/models/{model}/examples"
PATHS = ["/predict", "/predict/batch", "/parts", "/models", EXAMPLES, f"{EXAMPLES}/{{number}}"]
PATHS += [f"{EXAMPLES}/{{number}}/thumbnail", f"{EXAMPLES}/{{number}}/reference", "/health", "/ready", "/metrics"]
PART = "/station/parts/{number}"
PATHS += ["/station/state", "/station/drift/{name}", PART, f"{PART}/picture", f"{PART}/correction"]


@cache
def _document():
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    (folder / "inbox").mkdir()
    station = make_station(folder / "inbox", folder / "line", viewer=Bright())
    put_image(folder / "inbox", "a_1.png", 0.2), put_image(folder / "inbox", "a_2.png", 0.9)
    work_off(station)
    station.ledger.close()
    predictors = [BrightnessPredictor(), BrightnessPredictor("brightness-1")]
    app = create_app(predictors, keys=[KEY], additions=[station_page(folder / "line")])
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    document.hook(map_body)
    return document


def map_body(_, body):
    """Put images, whole ones and bad ones, in the place of files that are made up; what is no file stays."""
    if isinstance(body, dict):
        body |= {name: _image(body[name]) for name in ("image", "reference") if name in body}
        lists = [name for name in ("images", "references") if isinstance(body.get(name), list)]
        body |= {name: [_image(entry) for entry in body[name]] for name in lists}
    return body


def _image(made_up):
    if not isinstance(made_up, str | bytes):
        return made_up
    images = [encode(spotted()), encode(np.zeros((1, 1), np.uint8)), encode(spotted(), "JPEG")[:-40], b"", b"<html>"]
    return images[len(str(made_up)) % len(images)]


def test_every_path_of_the_service_is_tested():
    assert sorted(_document()) == sorted(PATHS)


def test_images_are_put_in_the_place_of_what_is_made_up():
    statuses = set()

    @given(case=_document()["/predict"]["POST"].as_strategy())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def predict(case):
        statuses.add(case.call(headers={"X-API-Key": KEY}).status_code)

    predict()
    assert {200, 422} <= statuses < {200, 400, 422, 429}


@pytest.mark.parametrize("path", PATHS)
def test_no_request_makes_the_service_fail(path):
    # Not the decorator of schemathesis: that of a document needs the application while tests are collected, and that
    # of a fixture changes an attribute that items of pytest 9.2 do not have.
    for made in get_all_tests(
        schema=_document().include(path=path),
        test_func=_call,
        settings=_SETTINGS,
        given_kwargs=None,
    ):
        _, run = made.ok()
        run()


def _call(case):
    response = case.call(headers={"X-API-Key": KEY})
    # What the document cannot say: whether bytes are an image.
    excluded = [positive_data_acceptance]
    if _has_files_of_words(case.body):
        excluded.append(negative_data_rejection)
    case.validate_response(response, excluded_checks=excluded)


def _has_files_of_words(body):
    """Whether a list of files has numbers or truth values in it: a form has none, and they are sent as files."""
    lists = [body.get(name) for name in ("images", "references")] if isinstance(body, dict) else []
    return any(not isinstance(entry, str | bytes) for made in lists if isinstance(made, list) for entry in made)
