"""The service: what clients get, what is refused, and that nothing a client sends stops it."""

import asyncio
import base64
import io
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from helpers.bad_files import IMAGES
from helpers.records import make_dataset, make_record
from helpers.serving import BrightnessPredictor, encode, spotted
from PIL import Image

from inference_code.service.app import create_app
from inference_code.service.guard import Guard
from inference_code.service.limits import Limits
from inference_code.service.routes.page import FILES, STATIC
from inference_code.service.services.batching import Batcher
from inference_code.service.services.examples import find_examples
from inference_code.service.services.lanes import Lanes
from inference_code.station.ledger import Ledger
from inference_code.station.page.app import station_page
from inference_code.station.schema import LEDGER
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError

KEY = "a-key-of-32-characters-0123456789"

PROMISE = (
    "conformal thresholds: at most 5 % of new good images are refused, as 199 good images show; at most 5 % of new "
    "good images have more than 5 % of their pixels marked, as 199 good images show"
)


@pytest.fixture
def predictor():
    return BrightnessPredictor()


@pytest.fixture
def client(predictor):
    with _client([predictor]) as client:
        yield client


def _client(predictors, *arguments, **options) -> TestClient:
    app = create_app(predictors, *arguments, **options)
    return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)


def _post(client, content, **parameters):
    return client.post("/predict", params=parameters, files={"image": content})


def _picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_an_image_gets_its_score_label_and_regions(client):
    answer = _post(client, encode(spotted())).raise_for_status().json()
    assert answer["model"] == "brightness-0" and answer["score"] == pytest.approx(1) and answer["abnormal"] is True
    assert (answer["threshold"], answer["pixel_threshold"], answer["normalised_score"]) == (0.5, 0.5, 1.0)
    assert (answer["height"], answer["width"]) == (32, 48)
    (region,) = answer["regions"]
    x, y, width, height = region["bbox"]
    assert abs(x - 16) <= 1 and abs(y - 8) <= 1 and abs(width - 8) <= 2 and abs(height - 8) <= 2
    assert answer["overlay"] is answer["map"] is answer["image"] is None
    normal = _post(client, encode(spotted(value=60))).raise_for_status().json()
    assert normal["abnormal"] is False and normal["regions"] == []


def test_thresholds_and_sizes_of_regions_are_those_of_the_request(client, predictor):
    content = encode(spotted(value=150))
    assert _post(client, content, threshold=0.7).json()["abnormal"] is False
    assert _post(client, content, pixel_threshold=0.7).json()["regions"] == []
    (region,) = _post(client, content).json()["regions"]
    assert _post(client, content, min_area=region["area"] + 1).json()["regions"] == []
    (grown,) = _post(client, content, dilate=3).json()["regions"]
    assert grown["bbox"] == [region["bbox"][0] - 3, region["bbox"][1] - 3, *(size + 6 for size in region["bbox"][2:])]
    predictor.thresholds = Thresholds(None, None)
    answer = _post(client, content, overlay=True).json()
    assert answer["abnormal"] is None and answer["normalised_score"] is None and answer["regions"] == []
    assert _picture(answer["overlay"]).shape == (32, 48, 3)


def test_a_threshold_of_the_request_promises_nothing_and_the_answer_says_what_is_lost(client):
    content = encode(spotted(value=153))
    answer = _post(client, content).json()
    assert (answer["image_promise"], answer["promise"]) == (0.05, PROMISE)
    assert _post(client, content, threshold=0.5, pixel_threshold=0.5).json()["promise"] == PROMISE, (
        "these are the run's"
    )
    answer = _post(client, content, threshold=0.7).json()
    assert answer["image_promise"] is None
    assert answer["promise"].startswith(
        "the image threshold 0.7 was set by hand and promises nothing; lost is: at most 5 % of new good images are "
        "refused, as 199 good images show; kept is: at most 5 % of new good images have more than 5 %"
    )


def test_pictures_are_those_of_the_image_and_its_map(client):
    pixels = spotted(1500, 2000)
    pixels[300:900, 500:900] = 255
    answer = _post(client, encode(pixels), overlay=True, map=True, image=True).json()
    overlay, grey, image = (_picture(answer[name]) for name in ("overlay", "map", "image"))
    assert overlay.shape == (1500, 2000, 3) and image.shape == (768, 1024, 3) and grey.shape == (16, 16)
    changed = (overlay != np.dstack([pixels] * 3)).any(2)
    rows, columns = np.nonzero(changed)
    edge = 2000 / 16  # of a pixel of the map
    assert np.abs([rows.min() - 300, rows.max() - 900, columns.min() - 500, columns.max() - 900]).max() < edge
    assert changed[400:800, 600:800].all()
    low, high = answer["map_range"]
    assert answer["score"] == high and (grey.min(), grey.max()) == (0, 255)
    expected = BrightnessPredictor()
    (found,) = expected.infer([expected.prepare(pixels)])
    np.testing.assert_allclose(low + grey / 255 * (high - low), found.anomaly_map, atol=(high - low) / 500)


def test_images_of_one_row_have_an_overlay(client):
    content = encode(Image.new("1", (32768, 1), 1))  # the longest that is read
    answer = _post(client, content, overlay=True).raise_for_status().json()
    assert _picture(answer["overlay"]).shape == (1, 32768, 3)


def test_an_answer_is_not_much_larger_than_its_request(predictor):
    content = encode(spotted())
    with _client([predictor], Limits(pixels=2 * 32 * 48)) as client:
        files = [("images", content)] * 3
        assert client.post("/predict/batch", files=files).status_code == 200
        assert client.post("/predict/batch?overlay=true", files=files[:2]).status_code == 200
        refused = client.post("/predict/batch?overlay=true", files=files)
        assert refused.status_code == 422
        assert refused.json()["detail"] == "overlays of 4608 pixels in all are too many; valid: up to 3072 in a request"


def test_several_images_keep_their_order_and_one_that_is_bad_stops_no_other(client):
    contents = [encode(spotted(value=value)) for value in (60, 255)] + [b"<html>"]
    answer = (
        client.post("/predict/batch", files=[("images", content) for content in contents]).raise_for_status().json()
    )
    normal, abnormal, bad = answer["images"]
    assert (normal["abnormal"], abnormal["abnormal"]) == (False, True)
    assert bad == {"error": "the image is not an image that is read; valid: PNG, JPEG, BMP, TIFF, WEBP, PPM"}
    refused = client.post("/predict/batch", files=[("images", b"<html>")] * 2)
    assert refused.status_code == 422 and "none of 2 images can be read" in refused.json()["detail"]
    many = client.post("/predict/batch", files=[("images", contents[0])] * 65)
    assert many.status_code == 422 and many.json()["detail"] == "65 images at once are too many; valid: up to 64"


def _waits(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_waits_goes_into_one_batch_and_every_client_gets_its_own_answer(predictor):
    values = [40, 80, 120, 160, 200, 240]
    with _client([predictor]) as client, ThreadPoolExecutor(8) as clients:
        predictor.free.clear()
        answers = [clients.submit(_post, client, encode(spotted(value=value))) for value in values]
        _waits(lambda: client.app.state.service.waiting == 6)
        time.sleep(0.2)
        predictor.free.set()
        scores = [answer.result().json()["score"] for answer in answers]
    np.testing.assert_allclose(scores, np.array(values) / 255, atol=1e-6)
    assert predictor.batches[0] == 1 and sum(predictor.batches) == 1 + 6  # the first one is of the start
    assert max(predictor.batches) >= 4


def test_too_many_are_told_to_come_again_and_those_that_were_taken_are_answered(predictor):
    with _client([predictor], Limits(waiting=3)) as client, ThreadPoolExecutor(8) as clients:
        predictor.free.clear()
        taken = [clients.submit(_post, client, encode(spotted())) for _ in range(3)]
        _waits(lambda: client.app.state.service.waiting == 3)
        refused = _post(client, encode(spotted()))
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 200
        predictor.free.set()
        assert [answer.result().status_code for answer in taken] == [200] * 3
        assert _post(client, encode(spotted())).status_code == 200


def test_who_waits_too_long_is_told_so_and_the_work_is_not_done(predictor):
    with _client([predictor], Limits(seconds=0.3)) as client:
        predictor.free.clear()
        late = [_post(client, encode(spotted())) for _ in range(3)]
        assert [answer.status_code for answer in late] == [503] * 3 and "Retry-After" in late[0].headers
        predictor.free.set()
        _waits(lambda: len(predictor.batches) == 2)  # the one of the start, and the one that was under way
        time.sleep(0.1)
        assert predictor.batches == [1, 1]


def test_nothing_is_done_for_clients_that_left():
    begun, cancelled = asyncio.Event(), []

    async def app(scope, receive, send):
        await receive()
        begun.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def receive():
        if not begun.is_set() and not sent:
            sent.append(True)
            return {"type": "http.request", "body": b"x"}
        await begun.wait()
        return {"type": "http.disconnect"}

    sent, measured = [], []
    scope = {"type": "http", "path": "/predict", "headers": [(b"host", b"localhost")]}
    guard = Guard(app, Limits(), [], [], ["localhost"], lambda *values: measured.append(values))
    asyncio.run(guard(scope, receive, None))
    assert cancelled == [True] and measured[0][:2] == ("other", 499)


def test_a_detector_that_fails_costs_its_batch_alone_and_nothing_of_it_is_told(client, predictor, caplog):
    predictor.error = RuntimeError("secret of /srv/models")
    failed = _post(client, encode(spotted()))
    assert failed.status_code == 500 and failed.json() == {"detail": "the service failed; its log says why"}
    assert "secret of /srv/models" in caplog.text
    assert _post(client, encode(spotted())).status_code == 200
    assert 'anomaly_requests_total{path="/predict",status="500"} 1.0' in client.get("/metrics").text


def test_the_end_waits_for_what_was_taken(predictor):
    lanes = Lanes()
    lanes.start()
    batcher = Batcher(predictor, 2, lanes, threading.Lock(), lambda *_: None)
    batcher.start()
    predictor.free.clear()
    taken = [batcher.submit(encode(spotted()), pixels) for pixels in [1536] * 7 + [2**23] * 2]
    threading.Timer(0.2, predictor.free.set).start()
    batcher.stop(20)
    assert [future.result(0).abnormal for future in taken] == [True] * 9 and not batcher.alive


# Without those that are bad by what they are in a folder, and one that is bad as an image to train on.
BAD = {name: (make, words) for name, make, words, treatment in IMAGES if treatment == "refused"}


@pytest.mark.parametrize("name", sorted(set(BAD) - {"link.png", "self.png", "pipe.png", "negative.tif"}))
def test_bad_files_are_refused_with_the_reason(client, tmp_path, name):
    make, words = BAD[name]
    make(tmp_path / name)
    answer = _post(client, (tmp_path / name).read_bytes())
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert detail.startswith("the image ") and words.split(";")[0] in detail
    assert str(tmp_path) not in detail


GOOD = {name: make for name, make, _, treatment in IMAGES if treatment == "converted"}


@pytest.mark.parametrize("name", GOOD)
def test_unusual_files_are_predicted(client, tmp_path, name):
    GOOD[name](tmp_path / name)
    assert _post(client, (tmp_path / name).read_bytes(), overlay=True, image=True).status_code == 200


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def test_what_is_no_photograph_is_refused(client):
    gif = encode(Image.fromarray(spotted()), "GIF", save_all=True, append_images=[Image.fromarray(spotted(value=9))])
    for content in (gif, SVG, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n", b"\0" * 10000):
        answer = _post(client, content)
        assert answer.status_code == 422 and "not an image" in answer.json()["detail"], content[:20]
    assert _post(client, encode(np.zeros((1, 1), np.uint8))).status_code == 200


def test_images_above_the_limit_of_the_service_are_not_decoded(predictor):
    with _client([predictor], Limits(pixels=32 * 48 - 1)) as client:
        answer = _post(client, encode(spotted()))
        assert answer.status_code == 422
        assert answer.json()["detail"] == "the image is 48 × 32 pixels; valid here: up to 1535 pixels"


def test_wrong_requests_are_explained_in_a_sentence(client):
    content = encode(spotted())

    def detail(answer, status=422):
        assert answer.status_code == status, answer.text
        return answer.json()["detail"]

    assert detail(client.post("/predict")) == "field image: Field required"
    assert detail(client.post("/predict", files={"picture": content})) == "field image: Field required"
    assert detail(client.post("/predict", data={"image": "text"})) == "field image: it has to be a file"
    assert "field image" in detail(client.post("/predict", content=content))
    assert "field images" in detail(client.post("/predict/batch", files={"image": content}))
    assert "Missing boundary" in detail(
        client.post("/predict", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400
    )
    assert "unknown model 'padim'; valid: brightness-0" in detail(_post(client, content, model="padim"))
    assert "unknown model '../../etc/passwd'" in detail(_post(client, content, model="../../etc/passwd"))
    assert "parameter treshold" in detail(_post(client, content, treshold=1))
    assert "parameter threshold" in detail(_post(client, content, threshold="high"))
    assert "parameter pixel_threshold" in detail(_post(client, content, pixel_threshold="nan"))
    assert "parameter dilate" in detail(_post(client, content, dilate=256))
    assert "parameter min_area" in detail(_post(client, content, min_area=-1))
    assert client.get("/predict").status_code == 405 and client.get("/nowhere").status_code == 404


def test_requests_that_are_too_large_are_refused_by_what_they_say_and_by_what_they_are(predictor):
    with _client([predictor], Limits(body=10_000)) as client:
        answer = client.post("/predict", files={"image": b"x" * 10_001})
        assert answer.status_code == 413 and answer.json() == {"detail": "the request is larger than 10000 bytes"}
        chunks = client.post("/predict", content=(b"x" * 1000 for _ in range(11)))
        assert chunks.status_code == 413
        assert _post(client, encode(spotted())).status_code == 200
    with _client([predictor], Limits(held=1000)) as client:
        for _ in range(2):  # what was refused counts no longer
            busy = client.post("/predict", files={"image": b"x" * 1000})
            assert busy.status_code == 429 and busy.headers["Retry-After"] == "1"
        assert client.get("/health").status_code == 200


def _guarded(messages, limits):
    """Return the status that a guard gives to a request whose body comes as ``messages``, numbers being seconds."""
    sent, remaining = [], list(messages)

    async def app(scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    async def receive():
        while remaining and isinstance(remaining[0], float):
            await asyncio.sleep(remaining.pop(0))
        return remaining.pop(0) if remaining else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/predict", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(app, limits, [], [], ["localhost"], lambda *_: None)(scope, receive, send))
    return sent[0]["status"] if sent else None


def test_requests_that_do_not_arrive_in_time_are_refused():
    part = {"type": "http.request", "body": b"x", "more_body": True}
    last = {"type": "http.request", "body": b"x"}
    assert _guarded([part, 0.05, last], Limits(seconds=1)) == 200
    assert _guarded([part, 5.0, last], Limits(seconds=0.1)) == 408
    assert _guarded([part], Limits()) is None  # the client left


def test_with_keys_everything_but_the_page_and_the_state_needs_one(predictor):
    other = "another-key-0123456789"
    with _client([predictor], keys=[KEY, other]) as client:
        content = encode(spotted())
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {KEY}"},
            {"X-API-Key": KEY[:-1]},
        ):
            answer = client.post("/predict", files={"image": content}, headers=headers)
            assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/models", "/metrics", "/models/brightness-0/examples", "/nowhere", "/health/"):
            assert client.get(path).status_code == 401, path
        for path in (*FILES, "/health", "/ready", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": other}):
            assert client.post("/predict", files={"image": content}, headers=headers).status_code == 200
        # Others may call it by any name.
        assert client.get("/models", headers={"X-API-Key": KEY, "Host": "inspection.example"}).status_code == 200


def test_the_page_of_a_station_stands_beside_detectors_and_needs_the_same_key(predictor, tmp_path):
    with _client([predictor], keys=[KEY], additions=[station_page(tmp_path)]) as client:
        for path in ("/station", "/station/station.js", "/"):
            assert client.get(path).status_code == 200, path
        assert client.get("/station/state").status_code == 401
        answer = client.get("/station/state", headers={"X-API-Key": KEY})
        assert answer.json()["trouble"] == "missing", "no station has worked there yet"
        assert client.get("/models", headers={"X-API-Key": KEY}).status_code == 200
        assert client.get("/ready").status_code == 503, "a part of what it is there for is not at hand"
        Ledger(tmp_path / LEDGER).close()
        assert client.get("/ready").json() == {"status": "ready"}


def test_without_keys_pages_of_strangers_cannot_ask_through_a_browser(client):
    for host in ("inspection.example", "127.0.0.1.example:8000", "", "[::1", "127.0.0.1@inspection.example"):
        assert client.get("/models", headers={"Host": host}).status_code == 403, host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/models", headers={"Host": host}).status_code == 200, host
    content, own = encode(spotted()), "http://127.0.0.1:8000"
    for origin in ("https://inspection.example", "null", f"{own}.example", "http://127.0.0.1:9999", "http://["):
        refused = client.post("/predict", files={"image": content}, headers={"Origin": origin})
        assert refused.status_code == 403 and "its own page" in refused.json()["detail"], origin
    assert client.post("/predict", files={"image": content}, headers={"Origin": own}).status_code == 200


def test_without_keys_pages_of_strangers_cannot_show_or_ask_what_needs_no_origin(client):
    def status(path, site, mode="no-cors"):
        return client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}).status_code

    for site in ("cross-site", "same-site"):  # same-site: another port of this machine
        for path in ("/models", "/metrics", "/models/brightness-0/examples", "/health", "/"):
            assert status(path, site) == 403, (site, path)
        assert status("/models", site, "navigate") == 403
        assert status("/", site, "navigate") == 200, "a link to the page may be followed"
    for site in ("same-origin", "none"):
        assert status("/models", site) == 200


def test_a_small_request_is_taken_whatever_others_hold():
    part = {"type": "http.request", "body": b"x" * 300, "more_body": True}
    last = {"type": "http.request", "body": b"x" * 300}
    assert _guarded([part, last], Limits(held=500, connections=1)) == 429
    assert _guarded([part, last], Limits(held=600, connections=1)) == 200
    guard_of_many = Limits(held=1200, connections=2)  # 600 for each
    assert _guarded([part, last], guard_of_many) == 200


def test_models_are_described_and_chosen_by_their_runs(predictor):
    second = BrightnessPredictor("brightness-1")
    second.thresholds = Thresholds(2.0, 2.0)
    with _client([predictor, second]) as client:
        first, other = client.get("/models").json()
        assert first == {
            "model": "brightness-0", "detector": "Padim", "backbone": "resnet18", "dataset": "made_up",
            "image_size": [16, 16], "resize": "stretch", "center_crop": False, "region": False,
            "runtime": "torch", "threshold": 0.5, "pixel_threshold": 0.5,
            "rule": "conformal", "alpha": 0.05, "image_promise": 0.05, "pixel_promise": 0.05, "least_promise": 0.005,
            "good_images": 199, "labelled_defects": 0, "promise": PROMISE, "metrics": {"image_AUROC": 0.75},
            "needs_reference": False,
            "taught": 0,
        }  # fmt: skip
        assert other["model"] == "brightness-1" and other["image_promise"] is None, "its thresholds are not the run's"
        content = encode(spotted())
        assert _post(client, content).json()["abnormal"] is True
        answer = _post(client, content, model="brightness-1").json()
        assert (answer["model"], answer["abnormal"]) == ("brightness-1", False)
    with pytest.raises(InputError, match="brightness-0 is given twice"):
        create_app([predictor, BrightnessPredictor()])


def test_state_and_measurements(predictor):
    with _client([predictor]) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json() == {"status": "ready"}
        _post(client, encode(spotted()))
        _post(client, b"<html>")
        client.get("/models/whatever/examples")
        client.get("/a/path/that/somebody/made/up")
        text = client.get("/metrics").text
        app = client.app
    assert 'anomaly_requests_total{path="/predict",status="200"} 1.0' in text
    assert 'anomaly_requests_total{path="/predict",status="422"} 1.0' in text
    assert 'path="/models/{model}/examples",status="404"' in text and 'path="other",status="404"' in text
    assert "made/up" not in text
    assert 'anomaly_images_total{label="abnormal",model="brightness-0"} 1.0' in text
    assert 'anomaly_batch_images_bucket{le="1.0",model="brightness-0"} 1.0' in text
    assert "anomaly_waiting_images 0.0" in text and "process_resident_memory_bytes" in text
    assert not app.state.service.models.ready  # the thread has ended


def test_examples_are_images_of_the_run_and_nothing_else_is_read(tmp_path):
    dataset, run = tmp_path / "data", tmp_path / "run"
    run.mkdir()
    lines = ["path,defect_type,label,score,prediction"]
    for name, count in (("good", 5), ("scratch", 3), ("hole", 1)):
        (dataset / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(spotted(value=50 * number)).save(dataset / name / f"{number}.png")
            lines.append(f"{name}/{number}.png,{name},{int(name != 'good')},{number / 10},0")
    (run / "scores.csv").write_text("\n".join(lines) + "\n")
    predictor = BrightnessPredictor(folder=run)
    predictor.record = make_record("brightness-0", dataset=make_dataset(folder=str(dataset)))
    chosen = [f"{example.defect_type}/{example.path.name}" for example in find_examples(predictor, 6)]
    assert chosen == ["good/1.png", "good/3.png", "hole/0.png", "scratch/0.png", "scratch/2.png"]
    with _client([predictor]) as client:
        place = "/models/brightness-0/examples"
        listed = client.get(place).json()
        assert listed[0] == {"number": 0, "defect_type": "good"} and len(listed) == 6
        file = client.get(f"{place}/0")
        assert file.content == (dataset / "good" / "0.png").read_bytes() and file.headers["content-type"] == "image/png"
        assert _picture(base64.b64encode(client.get(f"{place}/0/thumbnail").content)).shape == (32, 48, 3)
        for path in (f"{place}/99", f"{place}/-1", "/models/other/examples", "/models/..%2F..%2Fetc/examples/0"):
            assert client.get(path).status_code == 404, path
        assert client.get(f"{place}/..%2F..%2Frun.json").status_code in (404, 422)
        (dataset / "good" / "0.png").unlink()
        gone = client.get(f"{place}/0")
        assert gone.status_code == 404 and str(tmp_path) not in gone.text
    predictor.record = make_record("brightness-0", dataset=make_dataset(folder=str(tmp_path / "nowhere")))
    assert find_examples(predictor) == []


@pytest.mark.parametrize("kind", ["path", "above", "link", "linked folder", "no image", "another type"])
def test_a_run_of_strangers_shows_no_other_files(tmp_path, kind):
    dataset, run, outside = tmp_path / "data", tmp_path / "run", tmp_path / "outside"
    for folder in (dataset, run, outside):
        folder.mkdir()
    secret = outside / "secret.png"
    secret.write_bytes(encode(spotted()))
    (outside / "passwd").write_text("root:x:0:0")
    name = {"path": str(secret), "above": "../outside/secret.png", "link": "a.png", "linked folder": "b/secret.png"}
    name |= {"no image": "c.png", "another type": "passwd"}
    (dataset / "a.png").symlink_to(secret)
    (dataset / "b").symlink_to(outside)
    (dataset / "c.png").write_text("root:x:0:0")
    (dataset / "passwd").write_text("root:x:0:0")
    lines = ["path,defect_type,label,score,prediction", f"{name[kind]},good,0,0.1,0"]
    (run / "scores.csv").write_text("\n".join(lines) + "\n")
    predictor = BrightnessPredictor(folder=run)
    predictor.record = make_record("brightness-0", dataset=make_dataset(folder=str(dataset)))
    with _client([predictor]) as client:
        for place in ("0", "0/thumbnail"):
            answer = client.get(f"/models/brightness-0/examples/{place}")
            assert answer.status_code == 404 and str(tmp_path) not in answer.text


def test_large_images_wait_among_themselves_and_leave_places_for_others(predictor):
    large = encode(Image.new("1", (4096, 1025), 1))
    with _client([predictor], Limits(waiting=4)) as client, ThreadPoolExecutor(4) as clients:
        many = client.post("/predict/batch", files=[("images", large)] * 3)
        assert many.status_code == 422 and "3 images of more than 4194304 pixels" in many.json()["detail"]
        predictor.free.clear()
        taken = [clients.submit(_post, client, large) for _ in range(2)]
        _waits(lambda: client.app.state.service.waiting == 2)
        time.sleep(0.2)
        assert _post(client, large).status_code == 429
        small = clients.submit(_post, client, encode(spotted()))
        time.sleep(0.1)
        predictor.free.set()
        assert [answer.result().status_code for answer in [*taken, small]] == [200] * 3


def test_the_page_loads_nothing_from_elsewhere(client):
    for path, name in FILES.items():
        answer = client.get(path)
        assert answer.content == (STATIC / name).read_bytes()
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"https?:|//[a-z]", answer.text.replace("// ", "")), name
    assert sorted(FILES.values()) == sorted(file.name for file in STATIC.iterdir())
    assert client.get("/docs").status_code == 404


def test_the_document_describes_what_clients_send_and_get(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/predict", "/predict/batch", "/parts", "/models", "/models/{model}/examples",
        "/models/{model}/examples/{number}",
        "/models/{model}/examples/{number}/thumbnail", "/health", "/ready", "/metrics",
        "/models/{model}/examples/{number}/reference",
    }  # fmt: skip
    assert {"400", "401", "408", "413", "422", "429", "503"} <= set(document["paths"]["/predict"]["post"]["responses"])
    names = {parameter["name"] for parameter in document["paths"]["/predict"]["post"]["parameters"]}
    assert names == {"model", "threshold", "pixel_threshold", "dilate", "min_area", "overlay", "map", "image"}


@pytest.mark.parametrize("name", ["body", "held", "pixels", "waiting", "seconds", "head", "connections"])
@pytest.mark.parametrize("value", [0, 10**20, float("inf"), float("nan")])
def test_limits_leave_room_for_something(name, value):
    with pytest.raises(InputError, match=f"the limit {name}={value} is out of range"):
        Limits(**{name: value})
