"""The service as a process: the scores of its run, its end, its page in a browser."""

import csv
import signal
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.data import texture
from helpers.serving import encode
from helpers.serving_process import serve
from playwright.sync_api import expect

from inference_code import serve as command
from training_code.experiment import Experiment
from training_code.foundation.errors import run_command

CONFIGURATIONS = {
    "Padim": {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "n_features": 10},
    "Patchcore": {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "coreset_sampling_ratio": 0.2},
}
KEY = "key-of-the-line-0123456789"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_dataset):
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=tmp_path_factory.mktemp("results"))
    return [experiment.run(detector, **arguments) for detector, arguments in CONFIGURATIONS.items()]


@pytest.fixture(scope="module")
def served(runs, tmp_path_factory):
    """The process of a service with a key, and what asks it."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    keys.chmod(0o600)
    with (
        serve(*[run.folder for run in runs], "--api-key-file", keys) as (process, address),
        httpx.Client(base_url=address, headers={"X-API-Key": KEY}, timeout=60) as client,
    ):
        yield process, client


def test_scores_and_labels_are_those_of_the_run(served, runs, tiny_dataset):
    _, client = served
    for run in runs:
        with open(run.folder / "scores.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        images = [("images", (tiny_dataset / row["path"]).read_bytes()) for row in rows]
        answer = client.post("/predict/batch", files=images, params={"model": run.run_id}).raise_for_status().json()
        scores = [entry["score"] for entry in answer["images"]]
        np.testing.assert_allclose(scores, [float(row["score"]) for row in rows], rtol=1e-5)
        assert [int(entry["abnormal"]) for entry in answer["images"]] == [int(row["prediction"]) for row in rows]


def test_a_request_of_100_megabytes_is_refused_and_the_client_reads_why(served):
    answer = served[1].post("/predict", files={"image": b"\0" * 100_000_000})
    assert answer.status_code == 413 and answer.json() == {"detail": "the request is larger than 33554432 bytes"}


def test_wrong_input_ends_with_2_and_one_line(runs, tmp_path, capsys):
    def said(*arguments):
        assert run_command(command.main, list(map(str, arguments))) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    run = runs[0].folder
    keys = tmp_path / "keys"
    assert "there is no run 'padim'" in said("padim", "--port", "0")
    assert "--port is 70000; valid: 0 to 65535" in said(run, "--port", "70000")
    assert "--host nowhere.invalid is not known" in said(run, "--host", "nowhere.invalid", "--port", "0")
    assert "--host 0.0.0.0 can be reached from other machines" in said(run, "--host", "0.0.0.0", "--port", "0")
    assert f"{keys} is no file; valid: a file with a key in each line" in said(run, "--api-key-file", keys)
    keys.write_text("# of the line\n\n")
    keys.chmod(0o644)
    assert f"chmod 600 {keys} ends that" in said(run, "--api-key-file", keys)
    keys.chmod(0o600)
    assert "holds no key" in said(run, "--api-key-file", keys)
    keys.write_text("too-short\n")
    assert "key 1 of" in said(run, "--api-key-file", keys)
    keys.write_bytes(b"\xff\xfe")
    assert "is no text" in said(run, "--api-key-file", keys)
    assert "--batch-size is 0" in said(run, "--batch-size", "0")
    assert "the limit waiting=0 is out of range" in said(run, "--queue", "0", "--port", "0")
    assert "--max-body is inf; valid: 0 to 1024" in said(run, "--max-body", "inf", "--port", "0")
    assert "the limit seconds=nan" in said(run, "--timeout", "nan", "--port", "0")
    assert "--max-megapixels is 200.0; valid: 0 to 67.1" in said(run, "--max-megapixels", "200", "--port", "0")
    assert "given twice" in said(run, run, "--port", "0")
    assert "is not exported to onnx" in said(run, "--runtime", "onnx", "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be had" in said(run, "--port", port)


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_the_page_shows_what_the_service_says(served, runs, tiny_dataset, tmp_path):
    _, client = served
    address = str(client.base_url)
    file = tiny_dataset / "test" / "square" / "000.png"
    expected = client.post("/predict", files={"image": file.read_bytes()}).raise_for_status().json()
    with open_page(address) as (page, asked):
        expect(page.locator("#message")).to_contain_text("API key is needed")
        page.fill("#key", KEY)
        page.click("#key-form button")
        expect(page.locator("#key-form")).to_be_hidden()
        expect(page.locator("#message")).to_be_empty()
        errors = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.wait_for_selector("#examples img")
        assert "Padim on efficientnet_lite0 trained on tiny, 64 × 64 pixels" in page.inner_text("#about")
        assert page.inner_text("#promise").removesuffix(".").lower() == expected["promise"].lower()
        assert page.is_hidden("#drop-reference")
        page.set_input_files("#file", file)
        page.wait_for_selector("#result:visible")
        verdict = f"Abnormal: score {float(format(expected['score'], '.4g')):g};"
        expect(page.locator("#verdict")).to_contain_text(verdict)
        assert page.locator("#regions tr").count() == len(expected["regions"])
        sizes = page.eval_on_selector_all("#pictures canvas", "all => all.map(one => [one.width, one.height])")
        assert sizes[:2] == [[48, 48]] * 2
        pixels = "one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
        original, heat, overlay = (
            np.array(page.eval_on_selector(f"#{name}", pixels)).reshape(48, 48, 4)[..., :3]
            for name in ("original", "heat", "overlay")
        )
        assert len(np.unique(heat.reshape(-1, 3), axis=0)) > 20
        boxes = np.zeros((48, 48), bool)
        for region in expected["regions"]:
            x, y, width, height = region["bbox"]
            boxes[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1] = True
        changed = (original != overlay).any(2)
        assert changed.any() and not changed[~boxes].any()

        # At the end of the slider nothing is abnormal; the label is of the image and stays.
        page.eval_on_selector("#threshold", "one => { one.value = 1000; one.dispatchEvent(new Event('input')) }")
        drawn = np.array(page.eval_on_selector("#overlay", pixels)).reshape(48, 48, 4)[..., :3]
        assert (drawn == original).all()
        expect(page.locator("#regions-caption")).to_have_text("0 regions")
        expect(page.locator("#verdict")).to_contain_text("Abnormal")
        expect(page.locator("#lost")).to_contain_text("was set by hand and promises nothing")
        page.click("#reset")
        expect(page.locator("#regions tr")).to_have_count(len(expected["regions"]))
        expect(page.locator("#lost")).to_be_empty()

        page.locator("#examples button", has_text="good").first.click()
        expect(page.locator("#examples button[aria-pressed='true']")).to_have_count(1)
        expect(page.locator("#verdict")).not_to_contain_text(verdict)

        page.select_option("#model", runs[1].run_id)
        expect(page.locator("#about")).to_contain_text("Patchcore")

        (tmp_path / "page.png").write_text("<html>")
        page.set_input_files("#file", tmp_path / "page.png")
        expect(page.locator("#message")).to_contain_text("The image is not an image that is read; valid: PNG")
        expect(page.locator("#result")).to_be_hidden()
    assert all(url.startswith((address, "data:", f"blob:{address}")) for url in asked), asked
    assert len(asked) > 10 and [error for error in errors if "422" not in error] == []


def test_a_signal_ends_the_service_after_what_it_took(served):
    process, client = served
    photograph = np.kron(texture(np.random.default_rng(0)), np.ones((40, 40), np.uint8))  # takes its time to be read
    images = [("images", encode(photograph))] * 40
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.post("/predict/batch", files=images)))
    asking.start()
    deadline = time.monotonic() + 20
    while "anomaly_waiting_images 40.0" not in client.get("/metrics").text and asking.is_alive():
        assert time.monotonic() < deadline
    assert asking.is_alive()
    process.send_signal(signal.SIGTERM)
    said = process.stdout.read()
    asking.join()
    assert process.wait(30) == 0
    assert answers[0].status_code == 200 and len(answers[0].json()["images"]) == 40
    assert said == "stopped\n"
