"""The notebooks of the repository, run through papermill on tiny data."""

import csv
import re
import shutil

import nbformat
import openpyxl
import pytest
from helpers.repository import project_files
from helpers.results import make_results

from training_code.detectors.configuration import configure
from training_code.detectors.registry import get_detector
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.notebooks.kernel import execute_notebook
from training_code.records.reading import read_records
from training_code.sweep.notebook import read_notebook

TRAINING = project_files("notebooks/??_train_*.ipynb")


# What trains in epochs gets smaller images; networks that are trained from the start have parameters by which they are
# made small.
SMALL = {
    "21_train_features": {"max_epochs": 1},
    "16_train_with_labels": {"width": 0.1, "max_epochs": 1, "epochs": 1},
    "12_train_cflow": {},
    "17_train_students": {"max_epochs": 1, "batch_size": 4},
    "13_train_dsr": {"width": 0.05, "embedding_dim": 4, "num_embeddings": 16, "codebook_epochs": 1, "max_epochs": 2},
    "14_train_draem": {"width": 0.05, "max_epochs": 1},
    "18_train_flows": {"flow_steps": 1, "cross_conv_hidden_channels": 8, "flow_feature_dim": 8, "max_epochs": 1},
    "15_train_autoencoders": {"width": 0.25, "max_epochs": 1, "num_crops": 24, "latent_dim": 8, "stride": 32},
}


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_all_cells_run_on_the_embedded_backbone_and_the_others_are_skipped(path, tmp_path, tiny_dataset):
    parameters = {
        "dataset": str(tiny_dataset),
        "image_size": 64 if path.stem in SMALL else 128,
        "results": str(tmp_path / "results"),
    }
    execute_notebook(path, tmp_path / "executed.ipynb", parameters | SMALL.get(path.stem, {}))
    notebook, executed = read_notebook(path), nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    at_hand = [
        _at_hand(cell.detector, notebook.evaluate(cell.arguments, notebook.parameters)) for cell in notebook.cells
    ]
    runs, problems = read_records(tmp_path / "results")
    assert len(runs) == sum(at_hand) > 0 and not problems
    ranked = {f"{kind}_{name}" for kind in ("image", "pixel") for name in ("AUROC", "AUPR", "F1Score", "F1Max")}
    expected = ranked | {"pixel_AUPRO", "image_FalseAlarmRate", "image_MissRate", "pixel_RegionRecall"}
    for _, record in runs:
        places = get_detector(record.detector).shows_places(record.arguments)
        wanted = {metric for metric in expected if places or metric.startswith("image_")}
        assert record.status == "ok" and wanted <= record.metrics.keys()
        assert places or not any(metric.startswith("pixel_") for metric in record.metrics)
    text = [str(output) for cell in executed.cells for output in cell.get("outputs", [])]
    skipped = [output for output in text if "skipped" in output]
    assert len(skipped) == len(at_hand) - len(runs)
    assert all("has no weights" in output or "there is no weights/" in output for output in skipped)
    assert "predictions" in text[-1], "the last cell shows the best run with its picture"
    shown = next(output for output in text if "validation_split" in output)
    assert "fingerprint" in shown and "pixel_AUPRO" in shown and "num_workers" in shown and "data:image/png" in shown


def _at_hand(detector, arguments):
    """Return whether the weights of a configuration are always there."""
    if arguments.get("backbone") not in (None, "efficientnet_lite0"):
        return False
    spec = get_detector(detector)
    return not spec.published or not spec.needs(configure(detector, arguments).arguments)


def test_the_dataset_check_shows_what_is_in_a_folder(tmp_path, tiny_dataset):
    execute_notebook(paths.NOTEBOOKS / "00_dataset_check.ipynb", tmp_path / "out.ipynb", {"dataset": str(tiny_dataset)})
    text = (tmp_path / "out.ipynb").read_text()
    assert "test/square" in text and "data:image/png" in text


def test_the_results_notebook_draws_what_its_parameters_choose(tmp_path):
    make_results(tmp_path / "results", datasets=("tiles", "boards"))
    workbook = tmp_path / "w.xlsx"
    parameters = {"results": str(tmp_path / "results"), "workbook": str(workbook)}
    chosen = {"datasets": ["tiles"], "seeds": [0, 1], "criterion": "pixel_AUROC"}
    execute_notebook(paths.NOTEBOOKS / "30_results.ipynb", tmp_path / "out.ipynb", parameters | chosen)
    sheets = openpyxl.load_workbook(workbook)
    header = [cell.value for cell in sheets["Best models"][1]]
    metrics = ["image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score"]
    assert header[:3] == ["Model", "backbone", "configuration"]
    assert [name for name in header if name in metrics] == metrics, "the numbers, folded"
    written = [name for name in header if str(name).endswith(" ±")]
    assert written[0] == "pixel AUROC ±", "as people write it, the criterion first"
    assert "pixel F1Score ±" in written
    assert sheets["All runs"].max_row == 1 + 6
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    pictures = [
        item for cell in executed.cells for item in cell.get("outputs", []) if "image/png" in item.get("data", {})
    ]
    assert len(pictures) >= 9
    assert not any("stderr" in str(item.get("name")) for cell in executed.cells for item in cell.get("outputs", []))


def test_the_inference_notebook_shows_what_the_best_run_says_of_a_folder(tmp_path, tiny_dataset):
    results = tmp_path / "results"
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=results)
    run = experiment.run("Padim", backbone="efficientnet_lite0", layers=["blocks.2"], n_features=10)
    source = shutil.copytree(tiny_dataset / "test", tmp_path / "images")
    (source / "page.png").write_text("<html>")
    parameters = {"source": str(source), "results": str(results), "dataset": "tiny", "shown": 3}
    execute_notebook(paths.NOTEBOOKS / "20_inference.ipynb", tmp_path / "out.ipynb", parameters)
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    outputs = [item for cell in executed.cells for item in cell.get("outputs", [])]
    text = str(outputs)
    assert f"{run.run_id}, 15 images" in text and "page.png is not an image" in text
    with open(run.folder / "scores.csv", newline="") as file:
        highest = max(csv.DictReader(file), key=lambda row: float(row["score"]))
    table = next(item["data"]["text/html"] for item in outputs if "text/html" in item.get("data", {}))
    first = re.findall(r"<td[^>]*>([^<]*)</td>", table)[:2]
    assert first[0] == highest["path"].removeprefix("test/")
    assert float(first[1]) == pytest.approx(float(highest["score"]), rel=1e-5)
    assert len([item for item in outputs if "image/png" in item.get("data", {})]) == 2


@pytest.mark.parametrize("path", project_files("notebooks/*.ipynb"), ids=lambda path: path.stem)
def test_every_notebook_stands_in_the_index(path):
    assert f"({path.name})" in (paths.NOTEBOOKS / "README.md").read_text()


BACKBONES = {
    "10_train_padim": 9,
    "11_train_patchcore": 4,
    "12_train_cflow": 3,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_one_heading_above_all_of_its_configurations(name):
    notebook = read_notebook(paths.NOTEBOOKS / f"{name}.ipynb")
    below: dict[str, set] = {}
    heading = ""
    cells = {cell.index: notebook.evaluate(cell.arguments, notebook.parameters) for cell in notebook.cells}
    for index, cell in enumerate(notebook.content.cells):
        if cell.source.startswith("### "):
            heading = cell.source
            assert heading not in below
        elif index in cells:
            below.setdefault(heading, set()).add(cells[index]["backbone"])
    assert all(len(backbones) == 1 for backbones in below.values())
    assert len(below) == len({arguments["backbone"] for arguments in cells.values()}) == BACKBONES[name]


GRID = {
    "10_train_padim": {
        ("resnet18", "layer1 layer2 layer3"): [100, 300, 448],
        ("resnet50", "layer1 layer2 layer3"): [100, 300, 500],
        ("wide_resnet50_2", "layer1 layer2 layer3"): [100, 300, 500],
        ("wide_resnet50_2", "layer1 layer2"): [300],
        ("wide_resnet50_2", "layer1 layer3"): [300],
        ("wide_resnet50_2", "layer2"): [300],
        ("wide_resnet50_2", "layer1"): [256],
        ("cspdarknet53", "stages.1 stages.2 stages.3"): [100, 300, 400],
        ("efficientnet_b0", "block3 block5 block11"): [176],
        ("efficientnet_b1", "block5 block8 block16"): [176],
        ("efficientnet_b4", "block3 block7 block17"): [248],
        ("efficientnet_b7", "block11 block18 block38"): [352],
        ("efficientnet_b7", "features.1 features.2 features.4"): [100],
        ("efficientnet_b7", "features.4 features.6 features.8"): [300],
        ("efficientnet_b7", "features.2 features.5 features.7"): [400],
        ("efficientnet_b7", "features.6 features.8"): [500],
        ("efficientnet_b7", "features.7 features.8"): [304, 1000],
    },
    "11_train_patchcore": {
        ("resnet18", "layer2 layer3"): [(0.01, 3), (0.05, 5)],
        ("resnet50", "layer2 layer3"): [(0.1, 5)],
        ("wide_resnet50_2", "layer1 layer2 layer3"): [(0.05, 5)],
    },
    "12_train_cflow": {
        ("resnet18", "layer1 layer2 layer3"): [30],
        ("wide_resnet50_2", "layer1 layer2 layer3"): [30],
    },
}


@pytest.mark.parametrize("name", GRID)
def test_the_grid_is_the_one_that_researchers_ran_by_hand(name):
    notebook = read_notebook(paths.NOTEBOOKS / f"{name}.ipynb")
    found: dict = {}
    for cell in notebook.cells:
        arguments = notebook.evaluate(cell.arguments, {})
        if arguments["backbone"] != "efficientnet_lite0":
            values = [value for name, value in arguments.items() if name not in ("backbone", "layers")]
            key = arguments["backbone"], " ".join(arguments["layers"])
            found.setdefault(key, []).append(values[0] if len(values) == 1 else tuple(values))
    assert found == GRID[name]
