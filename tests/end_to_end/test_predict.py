"""``python -m inference_code.predict`` on folders, videos and streams: what it writes and what it says."""

import contextlib
import csv
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
import timm
from helpers.bad_files import GENERATOR, bomb, cmyk, not_an_image, rgba, sixteen_bits, truncated, zero_bytes
from helpers.data import save, texture
from PIL import Image

from inference_code.loading import load_predictor
from inference_code.predict import main
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.prepare_data import prepare

BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_dataset):
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=tmp_path_factory.mktemp("results"))
    return experiment.run("Padim", **BACKBONE, n_features=10)


@pytest.fixture
def predict(run, tmp_path):
    """Run the command on a source; return its exit status and the folder that it wrote."""

    def call(source, *more, name=run.run_id):
        output = tmp_path / "out"
        results = ["--output", str(output), "--results", str(run.folder.parents[1])]
        return run_command(main, [name, str(source), *results, *more]), output

    return call


def rows(output):
    with open(output / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def lines(output):
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


def test_a_folder_is_predicted_as_in_the_evaluation(predict, run, tiny_dataset, capsys):
    status, output = predict(tiny_dataset / "test", "--batch-size", "4")
    assert status == 0
    with open(run.folder / "scores.csv", newline="") as file:
        expected = {str(tiny_dataset / row["path"]): row for row in csv.DictReader(file)}
    table = rows(output)
    assert {row["path"] for row in table} == set(expected)
    for row in table:
        assert float(row["score"]) == pytest.approx(float(expected[row["path"]]["score"]), rel=1e-5)
        assert row["abnormal"] == expected[row["path"]]["prediction"]
    said = capsys.readouterr().out
    assert f"14 images predicted with {run.run_id}, 0 unreadable" in said and "images/s" in said
    assert f"{sum(row['abnormal'] == '1' for row in table)} abnormal" in said
    assert "conformal thresholds: " in said and "of new good images are refused" in said
    assert {float(row["image_promise"]) for row in table} == {run.record.operating_points["image"].promise}


def test_regions_masks_and_overlays_belong_together_at_the_size_of_the_image(predict, run, tmp_path):
    image = np.kron(texture(np.random.default_rng(8)), np.ones((4, 4), np.uint8))[:, :150]  # 192 × 150
    image[40:88, 60:108] = 250
    path = save(tmp_path / "in" / "part.png", image)
    (found,) = load_predictor(run.folder).predict([path])
    threshold = float(np.quantile(found.anomaly_map, 0.9))
    status, output = predict(path, "--pixel-threshold", str(threshold))
    (line,), (row,) = lines(output), rows(output)
    assert status == 0 and (line["height"], line["width"]) == (192, 150)
    mask = np.asarray(Image.open(output / line["mask"]).convert("L")) > 0
    overlay = np.asarray(Image.open(output / line["picture"]))
    assert mask.shape == overlay.shape[:2] == (192, 150)
    assert (overlay[~mask] == image[..., None].repeat(3, 2)[~mask]).all()
    drawn = np.zeros(mask.shape, bool)
    for region in line["regions"]:
        counts = region["segmentation"]["counts"]
        bits = np.repeat(np.arange(len(counts)) % 2, counts).astype(bool).reshape(mask.shape[::-1]).T
        y, x = np.nonzero(bits)
        assert region["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1] and region["area"] == bits.sum()
        assert region["score"] >= threshold
        drawn |= bits
    assert (drawn == mask).all() and mask.any()
    assert int(row["regions"]) == len(line["regions"]) > 0
    status, output = predict(path, "--pixel-threshold", str(threshold), "--min-area", str(mask.sum() + 1))
    assert lines(output)[0]["regions"] == []


def _claims_12000_pixels(path):
    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def _one_pixel(path):
    save(path, np.full((1, 1), 100, np.uint8))


def _moving(path):
    pictures = [Image.fromarray(texture(GENERATOR)) for _ in range(3)]
    pictures[0].save(path, format="GIF", save_all=True, append_images=pictures[1:])


ODD = {
    "empty.png": (zero_bytes, "is empty: it has zero bytes"),
    "text.png": (not_an_image, "is not an image"),
    "half.jpg": (truncated, "is damaged or cut short"),
    "claims.png": (_claims_12000_pixels, "is 12000 × 12000 pixels; the largest image that is read is 8192 × 8192"),
    "bomb.png": (bomb, "is larger than 8192 × 8192 pixels"),
    "moving.png": (_moving, "is not an image"),  # a GIF by another name
    "pixel.png": (_one_pixel, None),
    "deep.png": (sixteen_bits, None),
    "cmyk.jpg": (cmyk, None),
    "alpha.png": (rgba, None),
}


def test_bad_images_are_named_and_the_others_are_predicted(predict, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for name, (make, _) in ODD.items():
        make(source / name)
    status, output = predict(source, "--batch-size", "3")
    assert status == 1
    said = capsys.readouterr()
    assert "4 images predicted" in said.out and "6 unreadable" in said.out
    found = {os.path.basename(line["path"]): line for line in lines(output)}
    assert list(found) == sorted(ODD)
    for name, (_, reason) in ODD.items():
        if reason is None:
            assert found[name]["score"] >= 0 and (output / found[name]["picture"]).is_file()
        else:
            assert reason in found[name]["error"]
            assert f"{name} {reason}" in said.err.replace("\n", " ")
    assert "Traceback" not in said.err
    assert [row["path"] for row in rows(output)] == [str(source / name) for name in sorted(ODD) if not ODD[name][1]]


@pytest.mark.parametrize("name", [name for name in ODD if ODD[name][1]])
def test_a_bad_image_alone_is_an_error(predict, tmp_path, capsys, name):
    make, reason = ODD[name]
    make(tmp_path / name)
    status, _ = predict(tmp_path / name)
    assert status == 1 and reason in capsys.readouterr().err


def test_wrong_input_ends_with_2_and_one_line(predict, run, tmp_path, capsys):
    def said(*arguments, **more):
        status, output = predict(*arguments, **more)
        assert status == 2 and not output.exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    good = save(tmp_path / "good.png", texture(GENERATOR))
    (tmp_path / "folder").mkdir()
    assert "there is no" in said(tmp_path / "nowhere")
    assert "holds no images" in said(tmp_path / "folder")
    (tmp_path / "folder" / "notes.txt").write_text("x")
    assert "holds no images" in said(tmp_path / "folder")
    assert "there is no run 'padim'" in said(good, name="padim")
    assert "--batch-size is 0; valid: 1 to 1024" in said(good, "--batch-size", "0")
    assert "--dilate is 100000; valid: 0 to 255" in said(good, "--dilate", "100000")
    assert "--max-latency is inf; valid: 0 to 86400" in said(good, "--max-latency", "inf")
    assert "no source is named" in said("")
    assert "a user that this machine does not know" in said("~nobody-of-this-name/x.png")
    assert "a user that this machine does not know" in said(good, name="~nobody-of-this-name/run")
    assert "no run is named" in said(good, name="")
    assert "--threshold is 'high'; valid: a raw score" in said(good, "--threshold", "high")
    assert "--threshold is 'nan'" in said(good, "--threshold", "nan")
    assert "quantile 1.2 is out of range" in said(good, "--threshold", "120%")
    assert "--pixel-threshold is nan" in said(good, "--pixel-threshold", "nan")
    assert "unknown dataset 'tin'" in said(good, "--dataset", "tin", name="best")
    assert "unknown criterion 'AUC'" in said(good, "--criterion", "AUC", name="best")
    assert "unknown device 'tpu'" in said(good, "--device", "tpu")
    failed = shutil.copytree(run.folder, tmp_path / "failed", symlinks=True)
    record = json.loads((failed / "run.json").read_text())
    (failed / "run.json").write_text(json.dumps(record | {"status": "failed", "error": "it broke"}))
    assert "did not end well: it broke" in said(good, name=str(failed))
    with open(failed / "model.ckpt", "ab") as file:
        file.write(b"\0")
    (failed / "run.json").write_text(json.dumps(record))
    assert "--trust-changed" in said(good, name=str(failed))


def test_a_changed_checkpoint_is_used_where_it_is_trusted(predict, run, tmp_path):
    changed = shutil.copytree(run.folder, tmp_path / "changed", symlinks=True)
    record = json.loads((changed / "run.json").read_text())
    record["checkpoint"]["sha256"] = "0" * 64
    (changed / "run.json").write_text(json.dumps(record))
    good = save(tmp_path / "good.png", texture(GENERATOR))
    assert predict(good, name=str(changed))[0] == 2
    assert predict(good, "--trust-changed", name=str(changed))[0] == 0


def test_the_threshold_may_be_a_number_or_a_quantile_of_the_good_test_images(predict, run, tiny_dataset):
    with open(run.folder / "scores.csv", newline="") as file:
        evaluated = list(csv.DictReader(file))
    good = sorted(float(row["score"]) for row in evaluated if row["label"] == "0")
    middle = (good[2] + good[3]) / 2  # of six
    for threshold, words in ((repr(middle), "was set by hand"), ("50%", "was found as 50% of the good test images")):
        status, output = predict(tiny_dataset / "test" / "good", "--threshold", threshold, "--no-pictures")
        assert status == 0 and sorted(row["abnormal"] for row in rows(output)) == list("000111")
        promise = json.loads((output / "predictions.jsonl").read_text().splitlines()[0])["promise"]
        assert words in promise and "promises nothing" in promise and rows(output)[0]["image_promise"] == ""
    assert float(rows(output)[0]["normalised_score"]) == pytest.approx(float(rows(output)[0]["score"]) / middle / 2)
    assert not (output / "overlays").exists() and rows(output)[0]["picture"] == ""


def test_images_of_one_name_and_links_do_not_overwrite_each_other_or_leave_the_folder(predict, tmp_path):
    source = tmp_path / "in"
    names = ["a/x.png", "b/x.png", "b/x.jpg", "a..png", "ü" * 60 + ".png", "new\nline; rm.png"]
    for name in names:
        save(source / name, texture(GENERATOR))
    os.rename(source / names[-1], os.fsencode(source) + b"/\xff.png")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    status, output = predict(source)
    assert status == 0
    pictures = [row["picture"] for row in rows(output)]
    assert len(set(pictures)) == len(names) and all((output / name).is_file() for name in pictures)
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(output) for path in new)
    assert len(new) == 2 * len(names) + 2, "an overlay and a mask each, and two tables"


def test_the_output_may_lie_in_the_source_and_is_not_predicted(predict, run, tiny_dataset, tmp_path):
    shutil.copytree(tiny_dataset / "test" / "square", tmp_path / "out")
    for _ in range(2):
        status, output = predict(tmp_path / "out")
        assert status == 0 and len(rows(output)) == 4


def test_links_that_lead_to_themselves_are_told_and_stop_no_other(predict, tmp_path, capsys):
    good = save(tmp_path / "in" / "good.png", texture(GENERATOR))
    (tmp_path / "in" / "self.png").symlink_to("self.png")
    (tmp_path / "in" / "around").symlink_to(tmp_path / "in")
    status, output = predict(tmp_path / "in")
    assert status == 1 and [row["path"] for row in rows(output)] == [str(good)]
    assert "self.png is not an image that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"architecture": "hf-hub:somebody/network"},
            "how its network is built in a form that is not understood",
        ),
        (
            {"architecture": "local-dir:/tmp/network"},
            "how its network is built in a form that is not understood",
        ),
        (
            {"architecture": "tf_efficientnet_lite0.in1k"},
            "how its network is built in a form that is not understood",
        ),
        (
            {"options": [["checkpoint_path", "/etc/passwd"]]},
            "how its network is built in a form that is not understood",
        ),
        ({"options": [["pretrained", True]]}, "how its network is built in a form that is not understood"),
        ({"options": [["features_only", True]]}, "how its network is built in a form that is not understood"),
        ({"architecture": "resnet18"}, "holds the weights of resnet18, not of efficientnet_lite0"),
    ],
)
def test_a_run_of_strangers_makes_timm_open_and_fetch_nothing(
    predict, run, tmp_path, monkeypatch, capsys, change, words
):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was asked for a network"))
    foreign = shutil.copytree(run.folder, tmp_path / "foreign", symlinks=True)
    record = json.loads((foreign / "run.json").read_text())
    record["weights"]["recipe"] |= change
    (foreign / "run.json").write_text(json.dumps(record))
    good = save(tmp_path / "good.png", texture(GENERATOR))
    status, _ = predict(good, name=str(foreign))
    said = capsys.readouterr().err
    assert status == 2 and words in said and "run.json" in said and len(said.splitlines()) == 1


def test_best_is_found_by_dataset_and_criterion(predict, tiny_dataset):
    one = tiny_dataset / "test" / "square" / "000.png"
    status, output = predict(one, "--dataset", "tiny", "--criterion", "pixel_AUROC", name="best")
    assert status == 0 and len(rows(output)) == 1


@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_labeling_can_start_from_what_was_found_and_loses_nothing(predict, run, tiny_dataset, tmp_path, kind, capsys):
    maps = [found.anomaly_map for found in load_predictor(run.folder).predict(sorted(tiny_dataset.glob("test/*/*")))]
    threshold = float(np.quantile(np.stack(maps).max(axis=(1, 2)), 0.3))
    source = tmp_path / "in"
    shutil.copytree(tiny_dataset / "test", source)
    status, output = predict(source, "--annotations", kind, "--pixel-threshold", str(threshold), "--batch-size", "4")
    name = {"coco": "annotations.json", "cvat": "annotations.xml"}[kind]
    assert status == 0 and f"annotations to correct: {output / name}" in capsys.readouterr().out
    (source / name).write_bytes((output / name).read_bytes())
    prepare(kind, source, tmp_path / "labeled")
    expected = [np.asarray(Image.open(output / line["mask"]).convert("L")) > 0 for line in lines(output)]
    found = [np.asarray(Image.open(path)) > 0 for path in (tmp_path / "labeled").rglob("ground_truth/defect/*.png")]
    marked = sorted(mask.tobytes() for mask in expected if mask.any())
    assert sorted(mask.tobytes() for mask in found) == marked and 0 < len(marked) < len(expected)
    (output / name).write_text("somebody's work")
    assert predict(source, "--annotations", kind)[0] == 2
    assert "was not written by this command and is not replaced" in capsys.readouterr().err
    assert (output / name).read_text() == "somebody's work"


def test_the_images_worth_labeling_next_are_named_once(predict, run, tiny_dataset, tmp_path, capsys):
    source = tmp_path / "in"
    shutil.copytree(tiny_dataset / "test", source)
    changed = shutil.copytree(run.folder, tmp_path / "other", symlinks=True)
    record = json.loads((changed / "run.json").read_text())
    scores = sorted((float(row["score"]), row["path"]) for row in rows(predict(source)[1]))
    record["thresholds"]["image"] = (scores[2][0] + scores[3][0]) / 2
    (changed / "run.json").write_text(json.dumps(record))
    capsys.readouterr()
    given = ["--threshold", str((scores[5][0] + scores[6][0]) / 2), "--no-pictures", "--most-useful", "3"]
    status, output = predict(source, *given, "--compare", str(changed))
    said = capsys.readouterr().out
    assert status == 0 and "worth labeling next: 3 images (3 since the runs disagree): " in said
    with open(output / "most_useful.csv", newline="") as file:
        first = list(csv.DictReader(file))
    assert sorted(row["path"] for row in first) == sorted(path for _, path in scores[3:6])
    assert [float(row["other_score"]) for row in first] == pytest.approx([float(row["score"]) for row in first])
    shutil.move(output / "most_useful.csv", tmp_path / "earlier.csv")
    status, output = predict(source, *given, "--not-again", str(tmp_path / "earlier.csv"))
    with open(output / "most_useful.csv", newline="") as file:
        second = list(csv.DictReader(file))
    assert {row["reason"] for row in second} == {"it is near the threshold"} and len(second) == 3
    assert not {row["path"] for row in first} & {row["path"] for row in second}


def test_what_cannot_be_labeled_is_refused_before_anything_is_predicted(predict, tiny_dataset, tmp_path, capsys):
    one = tiny_dataset / "test" / "square" / "000.png"
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (48, 48))
    for frame in _frames(3):
        writer.write(frame)
    writer.release()
    for source, arguments, words in (
        (tmp_path / "v.avi", ["--annotations", "coco"], "--annotations is for images that are files; valid: an image"),
        (tmp_path / "v.avi", ["--most-useful", "3"], "--most-useful is for images that are files"),
        (one, ["--most-useful", "0"], "--most-useful is 0; valid: 1 to 1000000"),
        (one, ["--compare", "best"], "--compare says which images --most-useful picks; give their number"),
        (one, ["--not-again", "x.csv"], "--not-again says which images --most-useful picks"),
        (one, ["--most-useful", "3", "--not-again", "x.csv"], "x.csv cannot be read"),
        (one, ["--most-useful", "3", "--compare", "nobody"], "there is no run 'nobody'"),
    ):
        status, output = predict(source, *arguments)
        said = capsys.readouterr().err
        assert status == 2 and words in said and len(said.splitlines()) == 1 and not output.exists()


def _frames(count):
    """Return pictures of which those from 6 on have a bright square."""
    for number in range(count):
        frame = texture(np.random.default_rng(number))
        if number >= 6:
            frame[10:22, 10:22] = 255
        yield np.dstack([frame] * 3)


def test_frames_of_a_video_are_predicted_with_their_numbers_and_times(predict, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (48, 48))
    for frame in _frames(12):
        writer.write(frame)
    writer.release()
    status, output = predict(tmp_path / "v.avi")
    table = rows(output)
    assert status == 0 and [int(row["frame"]) for row in table] == list(range(12))
    np.testing.assert_allclose([float(row["time"]) for row in table], np.arange(12) / 5, atol=1e-6)
    scores = [float(row["score"]) for row in table]
    assert max(scores[:6]) < min(scores[6:]), "the frames with a defect are the ones from 6 on"
    assert (output / table[7]["picture"]).name == "00008_frame_000007.png"


class _Camera(BaseHTTPRequestHandler):
    """A camera that sends 200 JPEGs a second, as many as `frames` says, to each who asks, `clients` times."""

    frames = 10**6
    clients = 10**6
    asked = 0

    def do_GET(self):
        kind = type(self)
        kind.asked += 1
        if kind.asked > kind.clients:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        pictures = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in _frames(4)]
        with contextlib.suppress(OSError):  # whoever asked has enough
            for number in range(kind.frames):
                picture = pictures[number % 4]
                header = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(header.encode() + picture + b"\r\n")
                time.sleep(0.005)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def camera():
    """Start a camera with a number of frames and clients; return its address."""
    servers = []

    def start(frames, clients):
        handler = type("Camera", (_Camera,), {"frames": frames, "clients": clients})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://anna:secret@127.0.0.1:{servers[-1].server_port}/video.mjpg"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_stream_that_is_lost_is_tried_again_and_frames_that_are_late_are_dropped(predict, camera, capsys):
    # The first who asks is the check, the second and third are the stream, lost once in between; then it is gone.
    address = camera(frames=150, clients=3)
    status, output = predict(address, "--reconnect", "2", "--max-latency", "0.2", "--no-pictures")
    assert status == 1, "a stream that was lost for good was not predicted to its end"
    said = capsys.readouterr()
    assert "was lost after" in said.err and "did not come back in 2 s" in said.err
    assert "1 times lost and found again" in said.out and "secret" not in said.out + said.err
    table = rows(output)
    numbers = [int(row["frame"]) for row in table]
    assert numbers == sorted(set(numbers)) and numbers[-1] > 150, "numbers go on after the loss"
    assert all(row["path"].startswith("http://127.0.0.1:") for row in table)
    dropped = int(said.out.split(" frames dropped")[0].split()[-1])
    assert dropped + len(table) <= 300 and dropped > 0
    times = [float(row["time"]) for row in table]
    assert times == sorted(times) and times[0] < 1


def _start(run, source, output, *more):
    command = [sys.executable, "-m", "inference_code.predict", run.run_id, str(source), "--output", str(output)]
    command += ["--results", str(run.folder.parents[1]), *more]
    return subprocess.Popen(
        command,
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells make what they start in the background deaf to it, and their children with them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for_rows(output, count, process):
    for _ in range(1200):
        if (output / "predictions.csv").exists() and len(rows(output)) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{count} rows did not come")


def test_a_folder_is_followed_until_it_is_interrupted(run, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    save(folder / "old.png", texture(GENERATOR))
    process = _start(run, folder, output, "--watch")
    try:
        _wait_for_rows(output, 1, process)
        save(folder / "deeper" / "new.png", texture(GENERATOR))
        _wait_for_rows(output, 2, process)
        process.send_signal(signal.SIGINT)
        said, wrong = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, wrong
    assert "2 images predicted" in said and "Traceback" not in wrong
    assert [os.path.basename(row["path"]) for row in rows(output)] == ["old.png", "new.png"]


def test_a_stream_is_followed_until_it_is_interrupted_and_says_how_late_it_was(run, camera, tmp_path):
    output = tmp_path / "out"
    process = _start(run, camera(10**6, 10**6), output, "--no-pictures")
    try:
        _wait_for_rows(output, 20, process)
        process.send_signal(signal.SIGINT)
        said, wrong = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, wrong
    assert "from camera to table: 50% of the frames in" in said and "Traceback" not in wrong
