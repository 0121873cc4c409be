"""What is not looked at appears nowhere, and what is found lies over the defect: training, predict, export, service."""

import base64
import io
import json
import shutil

import httpx
import numpy as np
import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.data import SIZE, make_mvtec, save
from helpers.regions import EDGE, look_at_the_left, with_chessboard
from helpers.serving_process import serve
from helpers.small_runs import BACKBONE, recorded_scores, run_small
from PIL import Image

from inference_code.export.export import export_run
from inference_code.graph_predictor import open_graph
from inference_code.loading import load_predictor
from inference_code.predict import main
from inference_code.runtimes import LoadOptions
from training_code.data.geometry import OUTSIDE
from training_code.experiment import Experiment
from training_code.foundation import stacks
from training_code.foundation.errors import InputError, run_command
from training_code.records.reading import read_record

CONFIGURATIONS = {
    "Padim": ("Padim", BACKBONE | {"n_features": 10}),
    "Patchcore": ("Patchcore", BACKBONE | {"coreset_sampling_ratio": 0.2, "num_neighbors": 3}),
    "Autoencoder": ("Autoencoder", {"crop_size": 32, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1}),
    "Combined": ("Combined", {"combine": ["Patchcore", "Autoencoder"]}),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Images of which the left part is looked at."""
    return look_at_the_left(make_mvtec(tmp_path_factory.mktemp("clean") / "tiny"))


@pytest.fixture(scope="module")
def glaring(clean, tmp_path_factory):
    """The same with glaring defects where nothing is looked at, in all images that are tested."""
    root = shutil.copytree(clean, tmp_path_factory.mktemp("glaring") / "tiny")
    for path in (root / "test").rglob("*.png"):
        save(path, with_chessboard(Image.open(path)))
    for path in (root / "ground_truth").rglob("*.png"):
        mask = np.array(Image.open(path))
        mask[:, EDGE:] = 255
        save(path, mask)
    return root


@pytest.fixture(scope="module")
def experiments(clean, glaring, tmp_path_factory):
    return [
        Experiment(root, image_size=64, tensorboard="off", results=tmp_path_factory.mktemp("results"))
        for root in (clean, glaring)
    ]


@pytest.fixture(scope="module")
def run(experiments):
    return run_small(experiments[1], "Patchcore", CONFIGURATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_glaring_defect_outside_of_the_region_changes_no_number_of_a_run(experiments, name):
    first, second = (run_small(experiment, name, CONFIGURATIONS) for experiment in experiments)
    assert recorded_scores(first.folder) == recorded_scores(second.folder)
    assert first.record.metrics == second.record.metrics and first.record.thresholds == second.record.thresholds
    assert "pixel_AUROC" in first.record.metrics
    assert first.record.by_area == second.record.by_area, "areas are parts of what is looked at"
    found = load_predictor(second.folder).predict(sorted((experiments[1].dataset.root / "test" / "bar").glob("*")))
    scores = recorded_scores(second.folder)
    for prediction in found:
        assert prediction.score == pytest.approx(scores[f"test/bar/{prediction.path.name}"], rel=1e-5)
        assert prediction.score == prediction.anomaly_map.max()
        assert (prediction.on_image[:, EDGE:] == OUTSIDE).all() and (prediction.on_image[:, :EDGE] > OUTSIDE).all()
        assert not prediction.mask[:, -(-EDGE * 64 // SIZE) :].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_nor_does_it_where_the_middle_is_cut_into_tiles_and_maps_lie_in_files(
    clean, glaring, name, tmp_path, monkeypatch
):
    options = {"image_size": 96, "center_crop": 80, "tiling": {"tile": 64, "overlap": 48}, "tensorboard": "off"}
    runs = []
    for root, part in ((clean, stacks.PART), (glaring, 0)):
        monkeypatch.setattr(stacks, "PART", part)
        experiment = Experiment(root, results=tmp_path / f"{part:g}", **options)
        runs.append(run_small(experiment, name, CONFIGURATIONS))
    first, second = runs
    assert recorded_scores(first.folder) == recorded_scores(second.folder)
    exact, found = first.record.metrics, second.record.metrics
    assert "pixel_AUROC_error" in found and "pixel_AUROC_error" not in exact
    for metric, value in exact.items():
        assert found[metric] == pytest.approx(value, rel=1e-6, abs=found.get(f"{metric}_error", 0) + 1e-9), metric
    assert second.record.thresholds == first.record.thresholds
    scores, files = recorded_scores(second.folder), sorted((glaring / "test" / "bar").glob("*"))
    for prediction in load_predictor(second.folder).predict(files):
        assert prediction.score == pytest.approx(scores[f"test/bar/{prediction.path.name}"], rel=1e-5)
        assert prediction.score == prediction.anomaly_map.max() and prediction.anomaly_map.shape == (80, 80)
        assert (prediction.on_image[:, EDGE:] == OUTSIDE).all()


def test_the_region_is_part_of_the_record(run):
    geometry = read_record(run.folder).geometry
    assert geometry.region.mask[:, :EDGE].all() and not geometry.region.mask[:, EDGE:].any()


@pytest.fixture(scope="module")
def pair(clean, tmp_path_factory):
    """A folder with an image as it is and one with a glaring defect where nothing is looked at."""
    folder = tmp_path_factory.mktemp("pair")
    pixels = np.array(Image.open(clean / "test" / "bar" / "000.png"))
    save(folder / "clean.png", pixels)
    save(folder / "glaring.png", with_chessboard(pixels))
    return folder


@pytest.mark.slow
def test_predict_marks_nothing_outside_of_the_region(run, pair, tmp_path):
    results = ["--output", str(tmp_path), "--results", str(run.folder.parents[1])]
    options = ["--pixel-threshold", "0", "--dilate", "5", "--annotations", "coco"]
    assert run_command(main, [run.run_id, str(pair), *results, *options]) == 0
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert rows[0]["score"] == rows[1]["score"] and rows[0]["regions"] == rows[1]["regions"]
    assert [region["bbox"] for region in rows[1]["regions"]] == [[0, 0, EDGE, SIZE]], "everything, and nothing beyond"
    annotations = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert all(each["bbox"][0] + each["bbox"][2] <= EDGE for each in annotations)
    mask = np.asarray(Image.open(tmp_path / rows[1]["mask"]))
    assert mask[:, :EDGE].all() and not mask[:, EDGE:].any()
    photo = np.asarray(Image.open(pair / "glaring.png"))[:, EDGE + 2 :, None]
    shown = np.asarray(Image.open(tmp_path / rows[1]["picture"]))[:, EDGE + 2 :]
    assert np.array_equal(shown, np.broadcast_to((photo * 0.35).astype(np.uint8), shown.shape)), "dark, without colors"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_an_exported_file_leaves_out_what_the_run_does(run, pair, tmp_path, runtime):
    path, difference = export_run(run.folder, runtime, tmp_path)
    assert difference.labels == 0
    files = sorted(pair.glob("*.png"))
    own = list(load_predictor(run.folder).predict(files))
    found = list(load_predictor(path, options=LoadOptions(runtime=runtime)).predict(files))
    assert found[0].score == found[1].score == pytest.approx(own[1].score, rel=1e-4)
    assert np.array_equal(found[1].anomaly_map == OUTSIDE, own[1].anomaly_map == OUTSIDE)
    description = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert description["geometry"]["region"] and description["geometry"]["takes"] == "images of image_size"
    # The file itself fills and leaves out: whatever stands there in its input.
    image = load_predictor(run.folder).prepare(files[0]).tensor.numpy()[None]
    changed = image.copy()
    changed[..., -(-EDGE * 64 // SIZE) + 1 :] = 1
    first, second = (open_graph(path, runtime)(each) for each in (image, changed))
    assert np.array_equal(first["anomaly_map"], second["anomaly_map"]) and first["score"] == second["score"]
    assert first["score"] == pytest.approx(own[0].score, rel=1e-4) and first["label"] == own[0].abnormal
    with pytest.raises(InputError, match="valid for this run: onnx, openvino"):
        export_run(run.folder, "anomalib", tmp_path)


@pytest.mark.slow
def test_the_service_and_its_page_leave_out_what_the_run_does(run, pair):
    own = list(load_predictor(run.folder).predict(sorted(pair.glob("*.png"))))
    with serve(run.folder) as (_, address), httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/models").json()[0]["region"] is True
        answers = [
            client.post("/predict?map=true&overlay=true&pixel_threshold=0&dilate=3", files={"image": file.read_bytes()})
            .raise_for_status()
            .json()
            for file in sorted(pair.glob("*.png"))
        ]
        assert answers[0]["score"] == answers[1]["score"] == pytest.approx(own[1].score, rel=1e-5)
        assert answers[0]["map"] == answers[1]["map"]
        assert [region["bbox"] for region in answers[1]["regions"]] == [[0, 0, EDGE, SIZE]]
        shown = Image.open(io.BytesIO(base64.b64decode(answers[1]["map"])))
        seen = own[1].anomaly_map > OUTSIDE
        assert shown.mode == "LA" and np.array_equal(np.asarray(shown)[..., 1] > 0, seen)
        low, high = answers[1]["map_range"]
        assert (low, high) == pytest.approx((own[1].anomaly_map[seen].min(), own[1].anomaly_map.max()), rel=1e-5)
        if not CHROMIUM:
            return
        with open_page(address) as (page, _):
            page.wait_for_selector("#examples img")
            page.set_input_files("#file", pair / "glaring.png")
            page.wait_for_selector("#result:visible")
            pixels = "one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
            heat, overlay = (
                np.array(page.eval_on_selector(f"#{name}", pixels)).reshape(SIZE, SIZE, 4)[..., :3]
                for name in ("heat", "overlay")
            )
        assert (heat[:, EDGE + 1 :] == 48).all() and len(np.unique(heat[:, :EDGE].reshape(-1, 3), axis=0)) > 20
        assert overlay[:, EDGE + 1 :].max() == round(0.35 * 255), "dark"
        assert (overlay[:, EDGE - 1] == 255).all(-1).mean() > 0.5, "the outline of what is looked at"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Photographs that are twice as wide as high, with a white square in defective ones."""
    root, generator = tmp_path_factory.mktemp("wide") / "wide", np.random.default_rng(0)

    def photograph():
        return np.clip(100 + generator.normal(0, 6, (64, 128)), 0, 255).astype(np.uint8)

    for place, count in (("train/good", 12), ("test/good", 4)):
        for index in range(count):
            save(root / place / f"{index}.png", photograph())
    for index in range(4):
        pixels, mask = photograph(), np.zeros((64, 128), np.uint8)
        mask[20:32, 50 + 5 * index : 62 + 5 * index] = 255
        pixels[mask > 0] = 255
        save(root / "test" / "spot" / f"{index}.png", pixels)
        save(root / "ground_truth" / "spot" / f"{index}.png", mask)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"resize": "letterbox"}, {"resize": "crop"}, {"center_crop": 48}, {"resize": "crop", "center_crop": (48, 56)}],
    ids=str,
)
def test_what_is_found_lies_over_the_defect_however_photographs_are_resized(wide, options, tmp_path):
    results = tmp_path / "results"
    run = Experiment(wide, image_size=64, tensorboard="off", results=results, **options).run("Padim", **BACKBONE)
    assert run.metrics["image_AUROC"] == 1 and run.metrics["pixel_AUROC"] > 0.9
    files = sorted((wide / "test" / "spot").glob("*.png"))
    own = list(load_predictor(run.folder, options=LoadOptions(device="cpu")).predict(files))
    scores = recorded_scores(run.folder)
    for file, prediction in zip(files, own, strict=True):
        assert prediction.score == pytest.approx(scores[f"test/spot/{file.name}"], rel=1e-5)
        mask = np.asarray(Image.open(wide / "ground_truth" / "spot" / file.name)) > 0
        row, column = np.unravel_index(prediction.on_image.argmax(), mask.shape)
        rows, columns = np.nonzero(mask)
        assert rows.min() - 6 <= row <= rows.max() + 6 and columns.min() - 6 <= column <= columns.max() + 6
    path, _ = export_run(run.folder, "openvino", tmp_path)
    exported = load_predictor(path, options=LoadOptions(runtime="openvino"))
    for first, second in zip(own, exported.predict(files), strict=True):
        assert second.score == pytest.approx(first.score, rel=1e-3)
        np.testing.assert_allclose(second.on_image, first.on_image, rtol=1e-2, atol=1e-2 * first.score)
    status = run_command(
        main, [run.run_id, str(files[0]), "--output", str(tmp_path / "out"), "--results", str(results)]
    )
    (line,) = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    mask = np.asarray(Image.open(wide / "ground_truth" / "spot" / files[0].name)) > 0
    found = np.asarray(Image.open(tmp_path / "out" / json.loads(line)["mask"])) > 0
    assert status == 0 and (found & mask).sum() > 0.5 * mask.sum()
