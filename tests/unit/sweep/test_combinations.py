"""A sweep knows which runs a cell combines by their names in the notebook, and makes them before the combination."""

import pytest
import yaml

from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.sweep.__main__ import main
from training_code.sweep.cutting import Part, cut_out
from training_code.sweep.file import read_sweep
from training_code.sweep.notebook import read_notebook
from training_code.sweep.plan import Planner, make_plan

NOTEBOOK = paths.ROOT / "tests" / "notebooks" / "tiny" / "combined.ipynb"


@pytest.fixture(scope="module", autouse=True)
def _embedded_weights():
    """They are made once, by torch, when they are asked for first."""
    find_weights(get_backbone("efficientnet_lite0"))


@pytest.fixture
def sweep(tmp_path, tiny_dataset):
    def make(**entry):
        path = tmp_path / "sweep.yaml"
        content = {
            "parameters": {"dataset": str(tiny_dataset)},
            "notebooks": [{"notebook": str(NOTEBOOK), "select": {"how": "mean"}, **entry}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    return make


def test_the_names_of_runs_are_read_and_are_no_literals(tmp_path):
    notebook = read_notebook(NOTEBOOK)
    assert [(name, cell.detector) for name, cell in notebook.assigned.items()] == [
        ("padim", "Padim"),
        ("patchcore", "Patchcore"),
        ("larger", "Padim"),
    ]
    arguments = notebook.evaluate(notebook.cells[3].arguments, notebook.parameters)
    assert arguments == {"combine": ["padim", "patchcore"], "how": "mean"}


def test_a_list_that_names_something_else_is_refused(tmp_path):
    path = tmp_path / "other.ipynb"
    path.write_text(NOTEBOOK.read_text().replace("[padim, patchcore]", "[padim, 3]"))
    notebook = read_notebook(path)
    with pytest.raises(InputError, match=r"combine=\[padim, 3\] is neither a literal"):
        notebook.evaluate(notebook.cells[3].arguments, notebook.parameters)


def test_what_is_combined_is_planned_even_if_only_the_combination_is_selected(sweep, tmp_path):
    jobs = make_plan(read_sweep(sweep()), Planner(), str(tmp_path / "results"))
    assert [(job.cell.detector, job.state) for job in jobs if job.state != "skipped"] == [
        ("Padim", "to run"),
        ("Patchcore", "to run"),
        ("Combined", "waiting"),
    ]
    waiting = next(job for job in jobs if job.state == "waiting")
    assert waiting.varied["combine"] == [job.run_id for job in jobs[:2]]
    assert f"it combines {jobs[0].run_id}, which is to run" in waiting.reason


def test_what_combines_a_run_without_weights_is_skipped_as_that_run_is(sweep, tmp_path):
    jobs = make_plan(read_sweep(sweep()), Planner(), str(tmp_path / "results"))
    (skipped,) = (job for job in jobs if job.state == "skipped" and job.cell.detector == "Combined")
    assert "which is skipped: resnet18" in skipped.reason


def test_a_cell_that_is_cut_out_names_the_runs_by_their_ids(sweep, tmp_path):
    jobs = make_plan(read_sweep(sweep()), Planner(), str(tmp_path / "results"))
    waiting = next(job for job in jobs if job.state == "waiting")
    source = cut_out(waiting.notebook, [Part("combined-0", waiting.cell, waiting.varied)]).cells[-1].source
    assert f"combine=['{jobs[0].run_id}', '{jobs[1].run_id}']" in source


@pytest.mark.slow
def test_one_sweep_makes_the_members_and_then_the_combination(sweep, tmp_path, capsys):
    path, results = sweep(), tmp_path / "results"
    assert main([str(path), "--results", str(results)]) == 0
    assert "5 jobs: 3 ok, 2 skipped" in capsys.readouterr().out
    runs, problems = read_records(results)
    combined = next(record for _, record in runs if record.detector == "Combined")
    assert not problems and combined.status == "ok" and len(combined.members) == 2
    assert main([str(path), "--results", str(results), "--dry-run"]) == 0
    assert "5 jobs: 3 stored, 2 skipped" in capsys.readouterr().out


@pytest.mark.slow
def test_a_combination_whose_members_failed_is_left_waiting_and_the_exit_status_says_so(sweep, tmp_path, capsys):
    results = tmp_path / "results"
    assert main([str(sweep()), "--results", str(results), "--timeout", "1", "--kernels", "fresh"]) == 1
    printed = capsys.readouterr().out
    assert "cannot be combined: it did not end well (timeout); run it again" in printed
    assert "5 jobs: 2 skipped, 2 timeout, 1 waiting" in printed
