"""A part is judged over HTTP as by a station: by all of its views, and by the rule that was asked for."""

import pytest
from fastapi.testclient import TestClient
from helpers.serving import BrightnessPredictor, encode, spotted

from inference_code.service.app import create_app
from inference_code.service.limits import Limits

GOOD, BAD, NONE = "good", "bad", "none"


@pytest.fixture
def client():
    app = create_app([BrightnessPredictor(), BrightnessPredictor("brightness-1")], Limits(pixels=2 * 32 * 48))
    with TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False) as found:
        yield found


def _content(name):
    return {GOOD: encode(spotted(value=60)), BAD: encode(spotted()), NONE: b"<html>"}[name]


def _ask(client, *images, **parameters):
    return client.post("/parts", params=parameters, files=[("images", _content(image)) for image in images])


@pytest.mark.parametrize(
    ("images", "parameters", "verdict", "reason"),
    [
        ((GOOD, GOOD), {}, "good", ""),
        ((GOOD, BAD), {}, "bad", "2"),
        ((GOOD, BAD), {"rule": "all"}, "good", ""),
        ((GOOD, BAD), {"views": "top,side"}, "bad", "side"),
        ((GOOD,), {"views": "top,side"}, "incomplete", "did not come: side"),
        ((GOOD, NONE), {}, "unreadable", "cannot be read: 2"),
        ((NONE,), {}, "unreadable", "cannot be read: 1"),
    ],
)
def test_the_verdict_is_that_of_the_rule(client, images, parameters, verdict, reason):
    answer = _ask(client, *images, **parameters).raise_for_status().json()
    assert (answer["verdict"], answer["reason"]) == (verdict, reason)
    assert len(answer["views"]) == len(images)


def test_what_is_found_in_a_view_is_what_predict_says_of_its_photograph(client):
    (view,) = _ask(client, BAD, overlay=True).raise_for_status().json()["views"]
    alone = client.post("/predict", params={"overlay": True}, files={"image": _content(BAD)}).json()
    alone.pop("seconds"), view["found"].pop("seconds")
    assert view["model"] == alone.pop("model") and view["found"] == alone


def test_each_view_is_looked_at_by_its_own_model(client):
    first, second = (each["model"] for each in client.get("/models").json())
    answer = _ask(client, GOOD, BAD, GOOD, models=f"{second},{first},{second}").raise_for_status().json()
    assert [view["model"] for view in answer["views"]] == [second, first, second]
    assert answer["reason"] == "2"


@pytest.mark.parametrize(
    ("images", "parameters", "words"),
    [
        (2, {"views": "top"}, "2 images, 1 views and 1 models do not fit together"),
        (2, {"views": "top,top"}, "do not fit together"),
        (2, {"models": "brightness-1"}, "do not fit together"),
        (1, {"models": "other"}, "other"),
        (1, {"rule": "most"}, "rule 'most' is unknown; valid: any, all, bonferroni, fisher"),
        (1, {"alpha": 0}, "alpha=0.0 is out of range"),
        (1, {"rule": "fisher"}, "need its calibration.csv"),
        (3, {"overlay": True}, "overlays of 4608 pixels in all are too many"),
        (0, {}, "images"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_sentence(client, images, parameters, words):
    answer = _ask(client, *[GOOD] * images, **parameters)
    assert answer.status_code == 422 and words in answer.json()["detail"]
