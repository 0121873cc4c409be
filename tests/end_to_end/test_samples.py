"""The samples in docs/samples load an exported file in other languages, and say of photographs what the run says."""

import functools
import http.server
import os
import shutil
import subprocess
import threading
from pathlib import Path

import onnxruntime
import pytest
from helpers.browser import CHROMIUM, open_page
from PIL import Image

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from training_code.data.places import image_file
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.prepare_data import main as prepare_data
from training_code.records.scores import read_scores

pytestmark = pytest.mark.slow

SAMPLES = paths.ROOT / "docs" / "samples"
#: Headers of ONNX Runtime are no part of its Python package; Debian has them in libonnxruntime-dev.
HEADERS = "onnxruntime_cxx_api.h"
#: The version that is installed for the test, where that is allowed.
WEB = "onnxruntime-web@1.30.0"
PHOTOGRAPHS = 12


@pytest.fixture(scope="module")
def run(magnetic_tile, tmp_path_factory):
    """A small PatchCore of real tiles."""
    folder = tmp_path_factory.mktemp("tiles")
    assert prepare_data(["--link", "magnetic_tile", str(magnetic_tile), str(folder / "mt")]) in (0, 1)
    experiment = Experiment(folder / "mt", image_size=64, results=folder / "results", tensorboard="off")
    layers = ["blocks.1"]
    backbone = "efficientnet_lite0"
    return experiment.run("Patchcore", backbone=backbone, layers=layers, coreset_sampling_ratio=0.005, num_neighbors=1)


@pytest.fixture(scope="module")
def model(run):
    """The same as a file of ONNX Runtime."""
    return export_run(run.folder, "onnx")[0]


@pytest.fixture(scope="module")
def photographs(run, tmp_path_factory):
    """The test images with the lowest and the highest scores, as PNG and PPM."""
    folder, tested = tmp_path_factory.mktemp("photographs"), read_scores(run.folder)
    order = tested.scores.argsort()
    for place in (*order[: PHOTOGRAPHS // 2], *order[-PHOTOGRAPHS // 2 :]):
        with Image.open(image_file(run.record.dataset.folder, tested.paths[place])) as image:
            for ending in ("png", "ppm"):
                image.convert("RGB").save(folder / f"{place}.{ending}")
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="module")
def expected(model, photographs):
    """What this project says of them: the score of each, and its label."""
    found = list(load_predictor(model, options=LoadOptions("onnx")).predict(photographs))
    labels = ["abnormal" if each.abnormal else "normal" for each in found]
    assert len(labels) == PHOTOGRAPHS and set(labels) == {"abnormal", "normal"}, "photographs of both kinds"
    return [each.score for each in found], labels


def _said(output):
    """Return scores and labels of the lines that a sample printed."""
    rows = [line.split("\t") for line in output.splitlines()]
    return [float(row[1]) for row in rows], [row[2] for row in rows]


def _assert_same(found, expected):
    assert found[1] == expected[1]
    assert found[0] == pytest.approx(expected[0], rel=1e-4)


def test_the_program_in_cpp_gives_the_labels_of_the_run(model, photographs, expected, tmp_path):
    compiler, headers = shutil.which("g++") or shutil.which("clang++"), _headers()
    if compiler is None:
        pytest.skip("no C++ compiler is here")
    if headers is None:
        pytest.skip(f"{HEADERS} is not here: libonnxruntime-dev has it, or ONNXRUNTIME_INCLUDE names its folder")
    library = next(Path(onnxruntime.__file__).with_name("capi").glob("libonnxruntime.so.*"))
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # under the names that linkers and loaders ask for
        (tmp_path / name).symlink_to(library)
    program = tmp_path / "judge"
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", headers, "-L", tmp_path, "-lonnxruntime"]
    given = [compiler, SAMPLES / "judge.cpp", *options, f"-Wl,-rpath,{tmp_path}", "-o", program]
    subprocess.run(given, check=True, timeout=120)
    files = [path.with_suffix(".ppm") for path in photographs]
    done = subprocess.run([program, model, *files], capture_output=True, text=True, check=True, timeout=60)
    _assert_same(_said(done.stdout), expected)
    bad = subprocess.run([program, model, photographs[0]], capture_output=True, text=True, timeout=60)
    assert bad.returncode == 1 and bad.stderr == f"error: {photographs[0]} is no binary PPM of 8 bits\n"


def _headers():
    """Return the folder of ONNX Runtime's headers, None where they are not here."""
    found = (
        shutil.which("pkg-config")
        and subprocess.run(
            ["pkg-config", "--variable=includedir", "libonnxruntime"], capture_output=True, text=True
        ).stdout.strip()
    )
    places = [
        os.environ.get("ONNXRUNTIME_INCLUDE"),
        found,
        found and f"{found}/onnxruntime",
        "/usr/include/onnxruntime",
    ]
    return next((place for place in places if place and (Path(place) / HEADERS).is_file()), None)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A folder with the samples and node_modules, in which onnxruntime-web is."""
    folder = tmp_path_factory.mktemp("web")
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not here")
    for sample in SAMPLES.iterdir():
        if sample.is_file():
            shutil.copy(sample, folder)
    given = os.environ.get("ONNXRUNTIME_WEB")
    if given:
        (folder / "node_modules").symlink_to(Path(given).resolve())
    elif os.environ.get("CI"):
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, WEB]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:  # most often a machine from which npm reaches no registry
            pytest.skip(f"npm does not install {WEB}: {done.stderr.strip().splitlines()[-1]}")
    if not (folder / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip(f"{WEB} is not here: ONNXRUNTIME_WEB names the folder node_modules, CI=1 has npm install it")
    return folder


def test_the_program_in_node_gives_the_labels_of_the_run(web, model, photographs, expected):
    files = [path.with_suffix(".ppm") for path in photographs]
    given = ["node", "judge.mjs", model]
    done = subprocess.run([*given, *files], cwd=web, capture_output=True, text=True, check=True, timeout=120)
    _assert_same(_said(done.stdout), expected)
    bad = subprocess.run([*given, photographs[0]], cwd=web, capture_output=True, text=True, timeout=60)
    assert bad.returncode == 1 and bad.stderr == f"error: {photographs[0]} is no binary PPM of 8 bits\n"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is here")
def test_the_page_gives_the_labels_of_the_run_and_asks_no_other_server(web, model, photographs, expected):
    handler = functools.partial(_Quiet, directory=web)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        with open_page(f"{address}judge.html") as (page, asked):
            page.set_input_files("#model", model)
            page.set_input_files("#photographs", photographs)
            page.get_by_text(f"{PHOTOGRAPHS} judged.").wait_for()
            rows = [row.split("\t") for row in page.locator("#found tr").all_inner_texts()]
            assert [row[0] for row in rows] == [path.name for path in photographs]
            _assert_same(([float(row[1]) for row in rows], [row[2] for row in rows]), expected)
            assert all(each.startswith((address, "blob:")) for each in asked)
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_):
        """Say nothing."""
