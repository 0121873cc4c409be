import itertools
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from helpers.records import make_record

from training_code import preparation
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.records.environment import describe_hardware
from training_code.records.record import CheckpointFile
from training_code.sweep import plan as planning
from training_code.sweep.estimate import Estimates
from training_code.sweep.file import read_sweep
from training_code.sweep.order import cheapest_first
from training_code.sweep.plan import Planner, left_out, make_plan, with_half_the_batch
from training_code.sweep.progress import Progress

GOOD = str(paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb")


@pytest.fixture(scope="module", autouse=True)
def _embedded_weights():
    """They are made once, by torch, when they are asked for first."""
    find_weights(get_backbone("efficientnet_lite0"))


@pytest.fixture
def plan(tmp_path, tiny_dataset):
    def make(entry=None, **content):
        content = {
            "parameters": {"dataset": str(tiny_dataset)},
            "notebooks": [{"notebook": GOOD, **(entry or {})}],
        } | content
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content))
        return make_plan(read_sweep(path), Planner(), str(tmp_path / "results"))

    return make


def test_every_configuration_is_a_job_and_missing_weights_are_known_beforehand(plan):
    jobs = plan()
    assert [job.state for job in jobs] == ["to run", "to run", "skipped"]
    assert "resnet18" in jobs[2].reason and jobs[0].name.startswith("padim-efficientnet_lite0-")


def test_lists_of_parameters_and_variations_multiply(plan):
    jobs = plan({"select": {"n_features": 10, "backbone": "efficientnet_lite0"}, "vary": {"n_features": [5, 10, 15]}})
    assert [job.varied["n_features"] for job in jobs] == [5, 10, 15]
    jobs = plan({"select": {"n_features": [20]}, "parameters": {"seed": [0, 1, 2]}})
    assert [job.conditions.seed for job in jobs] == [0, 1, 2]
    assert len({job.name for job in jobs}) == 3


def test_numbers_of_training_images_and_copies_are_varied_like_arguments(plan):
    few = {"train_images": [1, 2, 12, None], "augmentation": [[], ["rotate", "flip"]]}
    chosen = {"notebook": "10_train_padim", "select": {"n_features": 100, "backbone": "efficientnet_lite0"}}
    jobs = plan(chosen | {"vary": few | {"train_images": [2, 12, None]}})
    found = [(len(job.conditions.dataset.select("train")), job.conditions.protocol.copies) for job in jobs]
    assert sorted(found) == [(2, 0), (2, 5), (12, 0), (12, 0), (12, 5), (12, 5)]
    assert len({job.name for job in jobs}) == 6, "all of them, and as many as there are, are different conditions"
    with pytest.raises(InputError, match="Padim needs at least 2 training images"):
        plan(chosen | {"vary": few})
    jobs = plan(chosen | {"vary": few, "exclude": {"train_images": 1, "augmentation": [[]]}})
    assert len(jobs) == 7, "with copies PaDiM has more than one image"


def test_a_dataset_is_read_once_however_many_seeds_there_are(plan, monkeypatch):
    read, names = planning.read_dataset, []
    monkeypatch.setattr(planning, "read_dataset", lambda name: names.append(name) or read(name))
    monkeypatch.setattr(preparation, "read_datasets", lambda name: names.append(name) or read(name))
    jobs = plan({"select": {"n_features": 20}, "parameters": {"seed": [0, 1, 2]}})
    assert len(jobs) == 3 and len(names) == 1
    assert len({id(job.conditions.dataset) for job in jobs}) == 1


def test_a_parameter_of_the_whole_file_is_left_out_where_a_notebook_does_not_have_it(tmp_path, tiny_dataset):
    path = tmp_path / "sweep.yaml"
    shared = {"dataset": str(tiny_dataset), "train_batch_size": [4, 8], "backbone_precision": "bfloat16"}
    names = ["12_train_cflow", "13_train_dsr", "14_train_draem"]
    path.write_text(yaml.safe_dump({"parameters": shared, "notebooks": [{"notebook": name} for name in names]}))
    sweep = read_sweep(path)
    jobs = [job for job in make_plan(sweep, Planner(), str(tmp_path / "results")) if job.prepared]
    found = [(job.cell.detector, job.prepared.batch_size) for job in jobs]
    assert sorted(found) == [("Cflow", 4), ("Cflow", 8), ("Draem", 8), ("Draem", 8), ("Dsr", 8), ("Dsr", 8)]
    compute = {job.cell.detector: sorted(job.parameters.get("compute", {})) for job in jobs}
    assert compute == {"Cflow": ["backbone_precision", "train_batch_size"], "Dsr": ["backbone_precision"], "Draem": []}
    assert left_out(sweep) == [
        "train_batch_size has no effect in 13_train_dsr, 14_train_draem and is left out there",
        "backbone_precision has no effect in 14_train_draem and is left out there",
    ]


def test_old_sweep_files_set_single_conditions_of_notebooks_that_take_them_in_one_dict(plan, tiny_dataset):
    single = {"dataset": str(tiny_dataset), "normalization": "imagenet", "validation_split": 0.2, "num_workers": 2}
    (job,) = plan(
        {"notebook": "10_train_padim", "select": {"backbone": "efficientnet_lite0", "n_features": 100}},
        parameters=single,
    )
    assert job.parameters["protocol"] == {"normalization": "imagenet", "validation_split": 0.2}
    assert job.parameters["compute"] == {"num_workers": 2}
    assert set(job.parameters) == {"dataset", "results", "protocol", "compute"}
    protocol = job.conditions.protocol
    assert (protocol.normalization, protocol.validation_split, protocol.image_size) == ("imagenet", 0.2, (128, 128))
    assert job.conditions.compute.num_workers == 2


def test_conditions_are_varied_like_arguments(plan):
    jobs = plan(
        {
            "notebook": "10_train_padim",
            "select": {"backbone": "efficientnet_lite0", "n_features": 100},
            "vary": {"validation_split": [0.1, 0.3], "n_features": [5, 6]},
        }
    )
    found = [(job.conditions.protocol.validation_split, job.varied["n_features"]) for job in jobs]
    assert found == [(0.1, 5), (0.1, 6), (0.3, 5), (0.3, 6)] and len({job.run_id for job in jobs}) == 4
    (job,) = plan(
        {
            "notebook": "10_train_padim",
            "select": {"backbone": "efficientnet_lite0", "n_features": 100},
            "vary": {"image_size": 96},
        }
    )
    assert job.conditions.protocol.image_size == (96, 96) and job.varied is None, "the cell stays as it is"


def test_a_run_that_is_selected_twice_is_one_job(plan):
    jobs = plan({"select": {"backbone": "efficientnet_lite0"}, "vary": {"n_features": [5]}})
    assert len(jobs) == 1


def test_variations_of_a_cell_without_weights_are_jobs_too(plan):
    jobs = plan({"select": {"backbone": "resnet18"}, "vary": {"n_features": [5, 6]}})
    assert [job.state for job in jobs] == ["skipped", "skipped"]


def test_a_list_argument_is_selected_as_a_whole(plan):
    assert len(plan({"select": {"layers": ["blocks.2"]}})) == 2
    assert len(plan({"select": {"layers": [["blocks.2"], ["layer1"]]}})) == 3


@pytest.mark.parametrize(
    ("entry", "content", "words"),
    [
        ({}, {"notebook": []}, "unknown key in .*sweep.yaml 'notebook'.*did you mean 'notebooks'"),
        ({"selct": {}}, {}, r"unknown key .* 'selct' \(did you mean 'select'\?\); valid: notebook, parameters"),
        ({"notebook": "99_train"}, {}, "there is no notebook .*99_train.ipynb .*; valid: .*10_train_padim"),
        ({"parameters": {"sed": 1}}, {}, "unknown parameter of good.ipynb 'sed'.*did you mean 'seed'"),
        ({}, {"parameters": {"sed": 1}}, "unknown parameter in .*sweep.yaml 'sed'.*did you mean 'seed'"),
        ({"select": {"backbone": "resnet81"}}, {}, "backbone: .*resnet81.* matches no cell.*did you mean .resnet18"),
        ({"select": {"num_neighbors": 3}}, {}, "unknown argument to select in good.ipynb 'num_neighbors'"),
        (
            {"vary": {"n_feature": [3]}},
            {},
            "unknown name to vary in good.ipynb 'n_feature'.*did you mean 'n_features'",
        ),
        ({"vary": {"n_features": [3, 4000]}}, {}, "good.ipynb, cell 6: n_features=4000 is out of range"),
        ({"parameters": {"dataset": "nowhere"}}, {}, "no dataset folder 'nowhere'"),
        ({"parameters": {"seed": "one"}}, {}, "seed='one' is out of range"),
        ({"vary": {"n_features": []}}, {}, "the list of n_features is empty"),
        ({"parameters": {"seed": []}}, {}, "the list of seed is empty"),
        ({}, {"timeout": 0}, "timeout=0 must be a whole number of seconds"),
        ({}, {"notebooks": []}, "at least one entry"),
        ({}, {"notebooks": "10_train_padim"}, "at least one entry"),
        ({}, {"parameters": [1]}, "parameters must be names with values"),
    ],
)
def test_mistakes_in_a_sweep_file_are_found_before_the_first_job(plan, entry, content, words):
    with pytest.raises(InputError, match=words):
        plan(entry, **content)


def test_a_file_that_is_missing_or_not_yaml_is_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="bad.yaml is not valid YAML"):
        read_sweep(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="no sweep file .*valid: .*bad.yaml"):
        read_sweep(tmp_path / "good.yaml")


@pytest.mark.slow
def test_the_demonstration_can_be_planned(tmp_path):
    jobs = make_plan(read_sweep(paths.SWEEPS / "demo.yaml"), Planner(), str(tmp_path))
    trained_there = {entry.notebook for entry in read_sweep(paths.SWEEPS / "demo.yaml").entries}
    expected = {spec.name for spec in DETECTORS.values() if spec.notebook in trained_there and not spec.small}
    assert {job.cell.detector for job in jobs} == expected and len(expected) == 10
    assert {job.conditions.dataset.name for job in jobs} == {"textures", "pcb"}


@pytest.mark.slow
def test_a_plan_and_the_state_of_a_sweep_are_shown_without_deep_learning_libraries(tmp_path):
    make_plan(read_sweep(paths.SWEEPS / "demo.yaml"), Planner(), str(tmp_path))  # makes the embedded data and weights
    with Progress("demo", 0, tmp_path):
        pass
    program = (
        "import sys; from training_code.sweep.__main__ import main; assert main(sys.argv[1:]) == 0; "
        "sys.exit(', '.join({'torch', 'timm', 'anomalib', 'lightning', 'papermill', 'nbformat'} & {*sys.modules}) or 0)"
    )
    for arguments in ([str(paths.SWEEPS / "demo.yaml"), "--dry-run"], ["status"]):
        command = [sys.executable, "-c", program, *arguments, "--results", str(tmp_path)]
        result = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, ""), arguments
        assert "23 jobs: 22 to run, 1 waiting" in result.stdout or "demo: 0 of 0 jobs" in result.stdout


@pytest.mark.parametrize("name", ["magnetic_tile", "deeppcb"])
def test_the_sweeps_of_published_datasets_can_be_planned(name, tmp_path, monkeypatch, tiny_dataset):
    (tmp_path / name).symlink_to(tiny_dataset)
    monkeypatch.setattr(paths, "DATA", tmp_path)
    (job,) = make_plan(read_sweep(paths.SWEEPS / f"{name}.yaml"), Planner(), str(tmp_path / "results"))
    assert job.cell.detector == "Padim" and job.conditions.protocol.image_size == (256, 256)


def test_the_sweep_of_solar_cells_has_both_detectors(tmp_path, monkeypatch, tiny_dataset):
    (tmp_path / "elpv").symlink_to(tiny_dataset)
    monkeypatch.setattr(paths, "DATA", tmp_path)
    jobs = make_plan(read_sweep(paths.SWEEPS / "elpv.yaml"), Planner(), str(tmp_path / "results"))
    assert [job.cell.detector for job in jobs] == ["Padim", "Patchcore"]
    assert {job.conditions.protocol.image_size for job in jobs} == {(256, 256)}


def test_what_is_excluded_is_left_out(plan):
    jobs = plan(
        {"select": {"n_features": 20}, "vary": {"n_features": [5, 6, 7]}, "exclude": {"n_features": [6, 7]}},
    )
    assert [job.varied["n_features"] for job in jobs] == [5]
    for exclude, words in (
        ({"n_features": 9}, "matches none of 3 configurations"),
        ({"backbone": ["resnet18", "efficientnet_lite0"]}, "leaves nothing of good.ipynb"),
        ({"n_feature": 9}, "unknown name to exclude in good.ipynb 'n_feature'.*did you mean 'n_features'"),
    ):
        with pytest.raises(InputError, match=words):
            plan({"exclude": exclude})


def test_configurations_are_selected_and_left_out_by_their_detector(plan):
    features = {"notebook": "21_train_features", "select": {"backbone": "efficientnet_lite0"}}
    jobs = plan({**features, "select": {**features["select"], "detector": ["Dfm", "Subspace"]}})
    assert [job.cell.detector for job in jobs] == ["Dfm", "Dfm", "Subspace", "Subspace", "Subspace"]
    left = {job.cell.detector for job in plan({**features, "exclude": {"detector": ["Dfm", "Subspace"]}})}
    assert left == {"Dfkde", "Fre", "MHPatchcore", "Cfa", "Glass"}
    for wanted in ("Dfmm", ["Subspace", "Dfmm"]):
        with pytest.raises(InputError, match=r"detector: .*Dfmm.* matches no cell .*did you mean .Dfm"):
            plan({**features, "select": {"detector": wanted}})
    with pytest.raises(InputError, match=r"detector: \[\] matches no cell .*valid: Cfa"):
        plan({**features, "select": {"detector": []}})


def test_jobs_are_left_out_by_what_the_sweep_sets_for_them(plan, tmp_path, tiny_dataset):
    shutil.copytree(tiny_dataset, tmp_path / "007")
    next((tmp_path / "007" / "train" / "good").iterdir()).unlink()  # with the same images it would be the same runs
    datasets = [str(tmp_path / "007"), str(tiny_dataset)]
    chosen = {"notebook": "10_train_padim", "select": {"backbone": "efficientnet_lite0", "n_features": 100}}
    parameters = {"dataset": datasets, "seed": [1, 2], "image_size": [64, 96]}

    def left(exclude):
        jobs = plan({**chosen, "vary": {"validation_split": [0.1, 0.2]}, "exclude": exclude}, parameters=parameters)
        found = [(job.parameters, job.conditions) for job in jobs]
        return {
            (set_["dataset"] == datasets[0], now.seed, now.protocol.image_size[0], now.protocol.validation_split)
            for set_, now in found
        }

    every = {(*rest, part) for rest in itertools.product((True, False), (1, 2), (64, 96)) for part in (0.1, 0.2)}
    assert left({"dataset": datasets[0]}) == {one for one in every if not one[0]}
    assert left({"seed": 2}) == {one for one in every if one[1] != 2}
    assert left({"image_size": [[64, 64]]}) == {one for one in every if one[2] != 64}
    unwanted = {"seed": [1], "validation_split": [0.2, 0.3]}
    assert left(unwanted) == {one for one in every if not (one[1] == 1 and one[3] == 0.2)}
    assert left({"normalization": "backbone", "seed": 1}) == {one for one in every if one[1] != 1}, "a default"
    with pytest.raises(InputError, match=r"'validation_splt' \(did you mean 'validation_split'\?\)"):
        left({"validation_splt": 0.2})


def test_the_largest_coreset_comes_first_and_backbones_stay_together(tmp_path, tiny_dataset):
    path = tmp_path / "sweep.yaml"
    entries = [
        {"notebook": GOOD, "select": {"n_features": 20}},
        {
            "notebook": "11_train_patchcore",
            "select": {"backbone": ["resnet18", "efficientnet_lite0"], "coreset_sampling_ratio": 0.1},
            "vary": {"coreset_sampling_ratio": [0.2, 0.5, 0.3]},
        },
    ]
    shared = {"dataset": str(tiny_dataset)}
    path.write_text(yaml.safe_dump({"parameters": shared, "notebooks": entries}))
    jobs = [job for job in make_plan(read_sweep(path), Planner(), str(tmp_path / "results")) if job.prepared]
    ratios = [job.arguments["coreset_sampling_ratio"] for job in jobs if job.cell.detector == "Patchcore"]
    assert ratios == sorted(ratios, reverse=True) and set(ratios) == {0.2, 0.3, 0.5}


def test_half_the_batch_size_is_tried_where_it_can_be_set(plan):
    planner = Planner()
    (job, *_) = plan({"notebook": str(paths.ROOT / "tests" / "notebooks" / "tiny" / "batch.ipynb")})
    halved = with_half_the_batch(planner, job)
    assert halved.run_id == job.run_id, "PaDiM's numbers do not depend on it"
    assert halved.conditions.compute.train_batch_size == 4
    assert with_half_the_batch(planner, plan()[0]) is None
    select = {"backbone": "efficientnet_lite0", "n_features": 100}
    sizes = {"train_batch_size": 8, "compute": {"num_workers": 1}}
    (in_a_dict,) = plan({"notebook": "10_train_padim", "select": select, "parameters": sizes})
    compute = with_half_the_batch(planner, in_a_dict).conditions.compute
    assert (compute.train_batch_size, compute.eval_batch_size, compute.num_workers) == (4, 16, 1)
    for _ in range(2):
        halved = with_half_the_batch(planner, halved)
    assert halved.conditions.compute.train_batch_size == 1 and with_half_the_batch(planner, halved) is None


def test_similar_runs_give_the_estimates_for_a_job(plan):
    job, other, _ = plan()
    here = describe_hardware()
    seconds = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:07+00:00"}
    made = {"memory": {"host": 2**30}, "checkpoint": CheckpointFile("c" * 64, 1000), "environment": here}
    record = make_record(job.run_id, job.prepared.identity, **seconds, **made)
    estimates = Estimates([record])
    assert (estimates.seconds(job), estimates.disk(job), estimates.memory(job)) == (7, 1000, 2**30)
    assert estimates.seconds(other) == 7 and estimates.total([job, other]) == 14
    elsewhere = Estimates([replace(record, environment=here | {"processor": "another"})])
    assert elsewhere.seconds(job) is None and elsewhere.disk(job) == 1000 and elsewhere.total([job]) is None


def test_with_little_time_the_cheapest_of_each_kind_comes_first(plan):
    jobs = plan({"select": {"n_features": 20}, "vary": {"n_features": [1, 2, 3]}})

    class Known(Estimates):
        def seconds(self, job):
            return {1: 9.0, 2: 5.0, 3: 7.0}[job.arguments["n_features"]]

    assert [job.arguments["n_features"] for job in cheapest_first(jobs, Known())] == [2, 3, 1]
