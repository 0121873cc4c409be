"""One detector for two products: images, a record that tells each, predictions, an export, a comparison."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
import yaml
from helpers.data import make_mvtec
from PIL import Image
from sklearn.metrics import roc_auc_score

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.service.services.examples import find_examples
from training_code.comparison.by_product import by_product
from training_code.comparison.configurations import configurations
from training_code.comparison.product_columns import MEAN
from training_code.comparison.table import runs_table
from training_code.data.places import image_file
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.records.reading import read_record, read_records
from training_code.reporting.gallery import load_scores, missed_by_all
from training_code.sweep.file import read_sweep
from training_code.sweep.plan import Planner, make_plan

LITE0 = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}
RUNS = {"Padim": LITE0 | {"n_features": 10}, "Cflow": LITE0 | {"max_epochs": 1, "coupling_blocks": 2}}


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Two products in places of their own; the images of the second are brighter."""
    a = make_mvtec(tmp_path_factory.mktemp("one") / "a")
    b = make_mvtec(tmp_path_factory.mktemp("other") / "b", train=10, good=5, defective=3, seed=9)
    for path in sorted(b.glob("t*/*/*.png")):
        Image.fromarray(np.clip(np.asarray(Image.open(path)).astype(int) + 40, 0, 255).astype(np.uint8)).save(path)
    return a, b


@pytest.fixture(scope="module")
def made(products, tmp_path_factory):
    """The runs of two detectors on both products, and of PaDiM on each of them alone, by name."""
    results = tmp_path_factory.mktemp("results")
    both = Experiment([*products], image_size=64, seed=0, tensorboard="off", results=results)
    runs = {name: both.run(name, **arguments) for name, arguments in RUNS.items()}
    for folder in products:
        alone = Experiment(folder, image_size=64, seed=0, tensorboard="off", results=results)
        runs[folder.name] = alone.run("Padim", **RUNS["Padim"])
    return results, both, runs


def _rows(run):
    with open(run.folder / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_tells_each_product_and_its_false_alarms_at_the_one_threshold(made, products, name):
    run = made[2][name]
    record = read_record(run.folder)
    assert record.dataset.name == "a+b" and record.dataset.folder == "+".join(map(str, products))
    assert [product.counts for product in record.dataset.products] == [
        {"train/good": 12, "test/bar": 4, "test/good": 6, "test/square": 4},
        {"train/good": 10, "test/bar": 3, "test/good": 5, "test/square": 3},
    ]
    rows, threshold = _rows(run), record.thresholds["image"]
    for product, images, good in (("a", 14, 6), ("b", 11, 5)):
        own = [row for row in rows if row["path"].startswith(f"{product}/")]
        labels, scores = ([float(row[column]) for row in own] for column in ("label", "score"))
        told = record.by_product[product]
        assert (told["images"], told["good_images"]) == (images, good) == (len(own), labels.count(0))
        assert told["image_AUROC"] == pytest.approx(roc_auc_score(labels, scores))
        refused = [score >= threshold for label, score in zip(labels, scores, strict=True) if not label]
        assert told["image_FalseAlarmRate"] == np.mean(refused)
        assert 0 < told["pixel_AUROC"] <= 1 and "pixel_F1Score" in told
    shown = run._repr_html_()
    assert "<td>mean of products</td>" in shown and "of all products together, and of no single one" in shown
    assert "a: train/good 12" in made[1]._repr_html_()


def test_the_order_and_the_spelling_of_the_names_make_no_other_run(made, products):
    again = Experiment("+".join(map(str, products[::-1])), image_size=64, seed=0, tensorboard="off", results=made[0])
    assert again.run("Padim", **RUNS["Padim"]).stored


def test_images_of_the_run_are_found_predicted_alike_and_exported_with_it(made, tmp_path):
    run = made[2]["Padim"]
    rows = _rows(run)
    images = [image_file(run.record.dataset.folder, row["path"]) for row in rows]
    predictor = load_predictor(run.folder)
    found = list(predictor.predict(images, 4))
    np.testing.assert_allclose([each.score for each in found], [float(row["score"]) for row in rows], rtol=1e-4)
    examples = find_examples(predictor, 8)
    assert {example.path for example in examples} <= {*images} and len(examples) >= 4
    assert {example.folder.name for example in examples} == {"a", "b"}
    _, difference = export_run(run.folder, "onnx", tmp_path)
    assert difference.source == "images of a+b"


def test_what_separation_buys_stands_in_the_comparison(made):
    runs = runs_table(read_records(made[0])[0])
    runs = runs.assign(pretrained=True)
    models = configurations(runs)
    table = by_product(runs, models).set_index(["Model", "product", "metric"])["separation_gains"]
    both, alone = made[2]["Padim"].record, {name: made[2][name].record for name in ("a", "b")}
    gains = [alone[name].metrics["image_AUROC"] - both.by_product[name]["image_AUROC"] for name in ("a", "b")]
    found = [table["Padim", name, "image_AUROC"] for name in ("a", "b", MEAN)]
    assert found == pytest.approx([*gains, np.mean(gains)])
    assert np.isnan(table["Cflow", "a", "image_AUROC"]), "it was not run on each alone"

    silent = {
        run_id: dataclasses.replace(each, called=np.zeros(len(each), bool))
        for run_id, each in load_scores(models)[0].items()
    }
    missed = {title.split(",")[0]: telling for title, telling in missed_by_all(models, silent).items()}
    assert len(missed["a+b"]) == 14 and all(each.path.is_file() for telling in missed.values() for each in telling)


def test_a_sweep_takes_joined_datasets_beside_single_ones(products, tmp_path):
    a, b = map(str, products)
    sweep = {
        "parameters": {"dataset": [a, b, f"{a}+{b}"], "results": str(tmp_path / "results")},
        "notebooks": [
            {"notebook": "10_train_padim", "select": {"backbone": "efficientnet_lite0", "n_features": 100}},
        ],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    jobs = make_plan(read_sweep(tmp_path / "sweep.yaml"), Planner())
    names = [job.conditions.dataset.name for job in jobs]
    assert sorted(set(names)) == ["a", "a+b", "b"] and names.count("a") == names.count("a+b") > 0
    joined = next(job.conditions.dataset for job in jobs if job.conditions.dataset.products)
    single = {job.conditions.dataset.name: job.conditions.dataset for job in jobs}
    assert joined.products == (single["a"], single["b"]), "each folder is read once"


def test_a_dataset_that_is_gone_leaves_the_run_usable(made, products, tmp_path):
    run = made[2]["Padim"]
    copied = tmp_path / run.run_id
    shutil.copytree(run.folder, copied)
    text = (copied / "run.json").read_text().replace(str(products[1]), str(paths.HOME / "gone" / "b"))
    (copied / "run.json").write_text(text)
    assert {example.folder.name for example in find_examples(load_predictor(copied), 8)} == {"a"}
