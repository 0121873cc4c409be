"""What a search cannot do is one sentence with the choices, before anything is computed."""

import pytest
import yaml
from helpers.data import make_mvtec

from training_code.foundation.errors import InputError
from training_code.sweep.file import read_sweep
from training_code.sweep.judging import basis_of, check_objectives
from training_code.sweep.plan import Planner, make_plan
from training_code.sweep.search import run_search
from training_code.sweep.space import planned

pytestmark = pytest.mark.slow  # the import of torch, which makes the embedded weights

SPACE = {"n_features": [10, 20]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_mvtec(tmp_path_factory.mktemp("data") / "tiny", defective=8)


def _file(folder, dataset, search=None, notebook="10_train_padim", **parameters):
    content = {
        "parameters": {"dataset": str(dataset), "image_size": 64, **parameters},
        "notebooks": [{"notebook": notebook, "select": {"backbone": "efficientnet_lite0"}}],
        "search": {"trials": 1, **(search or {"space": SPACE})},
    }
    content["notebooks"][0]["select"] |= {"n_features": 100} if notebook == "10_train_padim" else {}
    file = folder / "s.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    ("search", "parameters", "words"),
    [
        ({"space": {"alpha": [0.05, 0.1]}}, {}, "alpha changes thresholds alone.*set labelled in parameters"),
        ({"space": {"alpha": [0.1]}}, {"labelled": 0.5}, "alpha has no effect on image_AUROC; .*: image_F1Score, "),
        (
            {"space": {"alpha": [0.1]}, "objective": ["image_F1Score", "pixel_F1Score"]},
            {"labelled": 0.5},
            "pixel_F1Score at other thresholds needs the maps .* valid objectives with alpha in the space: image_F1",
        ),
        (
            {"space": {"alpha": [0.1]}, "objective": "image_F1Score"},
            {"labelled": 0.5, "threshold": "mean_sd"},
            "alpha has no effect on mean_sd thresholds; valid: conformal, quantile, labelled",
        ),
        ({"space": {"alpha": [1.5]}, "objective": "image_F1Score"}, {"labelled": 0.5}, "alpha=1.5 is out of range"),
        ({"space": {"area": [0.1]}}, {"labelled": 0.5}, "area makes no other run and cannot be varied"),
        ({"space": {"labelled": [0.2, 0.5]}}, {}, "labelled cannot be searched over: .* other images"),
        ({"space": {"image_size": [64, 0]}}, {}, "image_size=0 is out of range"),
        ({"space": {"laiers": [["blocks.1"]]}}, {}, r"'laiers' \(did you mean 'layers'\?\)"),
        ({"space": {**SPACE, "layers": [["blocks.1"], ["blocks.9"]]}}, {}, r"layers=\['blocks.9'\] is not possible"),
        (
            {"space": {"n_features": [20, 4000]}},
            {},
            "n_features=4000 is not possible: .* 4000 is out of range|=4000 is",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_choices(tmp_path, dataset, search, parameters, words):
    file = _file(tmp_path, dataset, search, **parameters)
    with pytest.raises(InputError, match=words):
        run_search(file, str(tmp_path / "results"), None)
    assert not (tmp_path / "results").exists(), "nothing was computed or stored"


def test_metrics_of_pixels_need_labelled_defects_with_masks(tmp_path):
    dataset = make_mvtec(tmp_path / "tiny", masks=False)
    file = _file(tmp_path, dataset, {"space": SPACE, "objective": "pixel_F1Score"}, labelled=0.5)
    with pytest.raises(InputError, match="pixel_F1Score needs masks, and none of the 4 labelled defects has"):
        run_search(file, str(tmp_path / "results"), None)


def test_it_is_said_how_many_images_a_search_looks_at_and_of_which_types(tmp_path, dataset):
    (job,) = make_plan(read_sweep(_file(tmp_path, dataset, labelled=3)), Planner())
    basis = basis_of(job)
    said = "trials are judged by 6 labelled defects (bar 3, square 3) and 12 good images, each unseen"
    assert basis.sentence(("image_AUROC",)).startswith(said) and basis.taken
    assert "of the test set" not in basis.sentence(("latency",)) and "no image" in basis.sentence(("latency",))
    (job,) = make_plan(read_sweep(_file(tmp_path, dataset)), Planner())
    assert "judged by 1 good image, as they are and with synthetic" in basis_of(job).sentence(("image_AUROC",))
    check_objectives(("image_AUROC", "pixel_F1Score"), basis)


def test_where_good_images_are_held_out_they_are_what_labelled_defects_are_told_from(tmp_path, dataset):
    file = _file(tmp_path, dataset, notebook="12_train_cflow", labelled=3, validation_split=0.25)
    job = make_plan(read_sweep(file), Planner())[0]
    assert basis_of(job).good == 3 and basis_of(job).labels == 6, "a quarter of 12"
    file = _file(tmp_path, dataset, notebook="12_train_cflow", labelled=3, validation_split=0)
    content = yaml.safe_load(file.read_text())
    content["notebooks"][0]["vary"] = {"patience": [None]}
    file.write_text(yaml.safe_dump(content))
    job = make_plan(read_sweep(file), Planner())[0]
    with pytest.raises(InputError, match=r"validation_split=0 leaves no good image unseen by Cflow.*valid: above 0"):
        basis_of(job)


def test_another_rate_of_false_alarms_is_no_other_run_and_another_size_is_one(tmp_path, dataset):
    planner = Planner()
    (template,) = make_plan(read_sweep(_file(tmp_path, dataset, labelled=3)), planner)
    same = planned(template, {"alpha": 0.2, "n_features": 100}, planner)
    assert same.run_id == template.run_id and same.protocol.alpha == 0.2
    assert planned(template, {"image_size": 96, "n_features": 100}, planner).run_id != template.run_id


def test_other_seeds_label_other_images_in_a_plan_as_in_the_run_itself(tmp_path, dataset):
    planner = Planner()
    (template,) = make_plan(read_sweep(_file(tmp_path, dataset, labelled=3)), planner)
    taken = set()
    for seed in (template.conditions.seed, 1, 2):
        job = planned(template, {"n_features": 100}, planner, seed)
        alone = planned(template, {"n_features": 100}, Planner(), seed)
        assert job.run_id == alone.run_id
        taken.add(frozenset(sample.path for sample in job.conditions.dataset.labelled))
    assert len(taken) > 1
