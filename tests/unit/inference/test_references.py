"""Images that are compared with their golden samples: predictors, folders of samples, and the service."""

import dataclasses
import itertools

import numpy as np
import pytest
from fastapi.testclient import TestClient
from helpers.data import save
from helpers.serving import BrightnessPredictor, encode, spotted

from inference_code.predictor import Failure
from inference_code.references import GoldenSamples
from inference_code.service.app import create_app
from inference_code.sources.frames import Frame
from training_code.foundation.errors import InputError

# A board with two bright parts; the photograph of it has a third one, and one of another board has other parts.
BOARD = np.full((16, 16), 20, np.uint8)
BOARD[2:5, 2:5] = BOARD[10:13, 4:7] = 250
DAMAGED, MISSING = BOARD.copy(), BOARD.copy()
DAMAGED[5:8, 10:13] = 250
MISSING[2:5, 2:5] = 20


def _comparing(run_id="brightness-0"):
    predictor = BrightnessPredictor(run_id)
    predictor.record = dataclasses.replace(
        predictor.record, dataset=dataclasses.replace(predictor.record.dataset, references=1)
    )
    return predictor


def test_what_is_bright_in_the_reference_too_is_normal_and_what_is_added_or_missing_is_found():
    found = list(_comparing().predict([BOARD, DAMAGED, MISSING], references=itertools.repeat(BOARD)))
    assert [prediction.abnormal for prediction in found] == [False, True, True]
    assert found[0].score == 0 and found[1].score == found[2].score == pytest.approx(230 / 255)
    np.testing.assert_array_equal(found[1].mask, DAMAGED != BOARD)
    np.testing.assert_array_equal(found[2].mask, MISSING != BOARD)
    alone = list(BrightnessPredictor().predict([BOARD, DAMAGED, MISSING]))
    assert all(prediction.abnormal for prediction in alone)


def test_references_that_are_missing_too_few_or_not_needed_are_one_sentence():
    with pytest.raises(InputError, match="brightness-0 compares each image with its reference, and none is given"):
        list(_comparing().predict([BOARD]))
    with pytest.raises(InputError, match="there are 1 references for more images than that"):
        list(_comparing().predict([BOARD, BOARD], references=[BOARD]))
    with pytest.raises(InputError, match="brightness-0 was made without references"):
        list(BrightnessPredictor().predict([BOARD], references=[BOARD]))


def test_a_reference_that_cannot_be_read_is_the_failure_of_its_image_alone(tmp_path):
    good, failed = _comparing().predict([DAMAGED, DAMAGED], references=[BOARD, tmp_path / "none.png"])
    assert good.abnormal and isinstance(failed, Failure) and "the reference cannot be used" in failed.reason


def test_a_single_image_has_the_reference_of_its_name(tmp_path):
    image = save(tmp_path / "in" / "a.png", BOARD)
    for name in ("a", "b"):
        save(tmp_path / "golden" / f"{name}.png", BOARD)
    samples = GoldenSamples(str(tmp_path / "golden"), str(image))
    assert samples.of(Frame("a.png", image)) == tmp_path / "golden" / "a.png"


def test_a_sample_is_found_by_path_and_name_and_one_alone_is_that_of_all(tmp_path):
    image = save(tmp_path / "in" / "line" / "a.png", BOARD)
    for name in ("line/a", "other/a", "b/c", "d/c"):
        save(tmp_path / "golden" / f"{name}.png", BOARD)
    samples = GoldenSamples(str(tmp_path / "golden"), str(tmp_path / "in"))
    assert samples.of(Frame("a", image)) == tmp_path / "golden" / "line" / "a.png"
    for name, words in (("x.png", "has no reference of its name"), ("c.png", "has several .* b/c.png, d/c.png")):
        with pytest.raises(InputError, match=words):
            samples.of(Frame(name, tmp_path / "in" / name))
    with pytest.raises(InputError, match="one image for all of them"):
        samples.of(Frame("film.mp4", BOARD, 0))
    alone = GoldenSamples(str(image), "camera:0")
    assert alone.of(Frame("camera:0", BOARD, 0)) == image
    with pytest.raises(InputError, match="valid: an image, or a folder of images"):
        GoldenSamples(str(tmp_path / "nowhere"), str(tmp_path))


@pytest.fixture
def client():
    app = create_app([_comparing(), BrightnessPredictor("alone")])
    with TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


def _post(client, **files):
    return client.post("/predict", files={name: encode(pixels) for name, pixels in files.items()})


def test_the_service_compares_an_image_with_the_reference_that_is_sent_along(client):
    assert [model["needs_reference"] for model in client.get("/models").json()] == [True, False]
    same, damaged = (_post(client, image=image, reference=BOARD).json() for image in (BOARD, DAMAGED))
    assert (same["abnormal"], damaged["abnormal"]) == (False, True)
    (region,) = damaged["regions"]
    assert region["bbox"] == [10, 5, 3, 3]


def test_the_service_says_in_one_sentence_what_is_wrong_with_references(client):
    missing = _post(client, image=DAMAGED)
    assert missing.status_code == 422 and "compares each image with its reference" in missing.json()["detail"]
    files = {"image": encode(DAMAGED), "reference": b"<html>"}
    unread = client.post("/predict", files=files)
    assert unread.status_code == 422 and unread.json()["detail"].startswith("the reference cannot be used: ")
    needless = client.post("/predict?model=alone", files=files)
    assert needless.status_code == 422 and needless.json()["detail"] == "alone was made without references; valid: none"


def test_several_images_have_one_reference_or_each_its_own(client):
    images = [("images", encode(image)) for image in (BOARD, DAMAGED, spotted(16, 32))]
    one = client.post("/predict/batch", files=[*images, ("references", encode(BOARD))]).json()
    assert [image["abnormal"] for image in one["images"]] == [False, True, True]
    own = [("references", encode(image)) for image in (BOARD, BOARD, spotted(16, 32))]
    each = client.post("/predict/batch", files=[*images, *own]).json()
    assert [image["abnormal"] for image in each["images"]] == [False, True, False]
    few = client.post("/predict/batch", files=[*images, *own[:2]])
    assert few.status_code == 422
    assert few.json()["detail"] == "there are 2 references for 3 images; valid: one for all, or one for each"
