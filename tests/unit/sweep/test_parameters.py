"""Where the values of a sweep file go in a notebook."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from training_code.detectors.registry import DETECTORS
from training_code.foundation.errors import InputError
from training_code.sweep.file import Entry
from training_code.sweep.notebook import TrainingNotebook, read_notebook
from training_code.sweep.parameters import FIELDS, divide, fold, parameter_sets, settable

BOTH = 'dataset: str = "t"\nprotocol: dict = {"validation_split": 0.2}\ncompute: dict = {}'
TAKES_BOTH = "experiment = Experiment(dataset, protocol=protocol, compute=compute)"
#: As the notebooks of the project were before, and as those of users may still be.
SINGLE = 'dataset: str = "t"\nnormalization: str = "backbone"\nnum_workers: int = 0'
TAKES_SINGLE = "experiment = Experiment(dataset, normalization=normalization, num_workers=num_workers)"


def _notebook(
    folder: Path, parameters: str = BOTH, experiment: str = TAKES_BOTH, run: str = "Padim"
) -> TrainingNotebook:
    notebook = new_notebook()
    notebook.cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(experiment),
        new_code_cell(f"experiment.run({run})"),
    ]
    nbformat.write(notebook, folder / "n.ipynb")
    return read_notebook(folder / "n.ipynb")


def _sets(notebook, parameters=(), vary=(), shared=(), results=None):
    sets, varied = parameter_sets(notebook, Entry("n", dict(parameters), {}, {}, dict(vary), tuple(shared)), results)
    return list(sets), varied


def test_a_field_goes_into_the_dict_that_the_notebook_has_for_it(tmp_path):
    notebook = _notebook(tmp_path)
    given = {"dataset": "tiles", "normalization": "imagenet", "num_workers": 2, "train_batch_size": 4}
    assert fold(notebook, given) == {
        "dataset": "tiles",
        "protocol": {"validation_split": 0.2, "normalization": "imagenet"},
        "compute": {"num_workers": 2, "train_batch_size": 4},
    }
    assert notebook.parameters["protocol"] == {"validation_split": 0.2}


def test_a_sweep_counts_more_than_what_stands_in_the_notebook(tmp_path):
    notebook = _notebook(tmp_path)
    assert fold(notebook, {"validation_split": 0.3}) == {"protocol": {"validation_split": 0.3}}
    given = {"protocol": {"normalization": "imagenet"}, "image_size": 64}
    assert fold(notebook, given) == {"protocol": {"normalization": "imagenet", "image_size": 64}}


def test_a_notebook_with_a_parameter_of_its_own_keeps_working(tmp_path):
    notebook = _notebook(tmp_path, SINGLE, TAKES_SINGLE)
    given = {"normalization": "imagenet", "num_workers": 2}
    assert fold(notebook, given) == given
    with pytest.raises(InputError, match=r"unknown parameter of n.ipynb 'validation_split'; valid: dataset, norm"):
        fold(notebook, {"validation_split": 0.2})


def test_a_dict_of_the_notebook_is_found_by_what_the_experiment_takes(tmp_path):
    wired = "experiment = Experiment(dataset, compute=machine)"
    notebook = _notebook(tmp_path, 'dataset: str = "t"\nmachine: dict = {}\nprotocol: str = "mine"', wired)
    assert fold(notebook, {"num_workers": 2}) == {"machine": {"num_workers": 2}}
    with pytest.raises(InputError, match="unknown parameter of n.ipynb 'validation_split'"):
        fold(notebook, {"validation_split": 0.2})


@pytest.mark.parametrize(
    ("parameters", "vary", "words"),
    [
        (
            {"protocol": {"normalization": "imagenet"}, "normalization": "backbone"},
            {},
            "normalization is given twice for n.ipynb: in protocol and on its own",
        ),
        ({"num_workers": 1, "compute": {"num_workers": 2}}, {}, "num_workers is given twice for n.ipynb: in compute"),
        (
            {"compute": {"num_workers": 2}},
            {"num_workers": [1, 3]},
            "num_workers is given twice for n.ipynb: in compute",
        ),
        (
            {"num_workers": 2},
            {"num_workers": [1, 3]},
            "num_workers is given twice for n.ipynb: in parameters and in vary",
        ),
        ({"protocol": None, "normalization": "imagenet"}, {}, "protocol=None must be a mapping of names to values"),
        ({"num_worker": 2}, {}, r"unknown parameter of n.ipynb 'num_worker' \(did you mean 'num_workers'\?\); valid: "),
        ({}, {"validation_splt": 0.2}, r"unknown name to vary in n.ipynb .* \(did you mean 'validation_split'\?\)"),
        (
            {},
            {"dataset": ["a", "b"]},
            "unknown name to vary in n.ipynb 'dataset'; valid: backbone, layers, .*, image_s",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_the_valid_choices(tmp_path, parameters, vary, words):
    with pytest.raises(InputError, match=words):
        _sets(_notebook(tmp_path), parameters, vary)


def test_an_unknown_name_is_an_error_with_the_fields_of_protocol_and_compute(tmp_path):
    with pytest.raises(InputError) as found:
        _sets(_notebook(tmp_path), {"sed": 1})
    named = str(found.value).split("valid: ")[1].split(", ")
    assert named == ["dataset", "protocol", "compute", *[name for name in FIELDS if name != "tensorboard"]]


def test_lists_multiply_and_arguments_are_left_for_the_configurations(tmp_path):
    vary = {"validation_split": [0.1, 0.3], "n_features": [5, 10]}
    sets, varied = _sets(_notebook(tmp_path), {"num_workers": [0, 1]}, vary)
    assert [(one["compute"]["num_workers"], one["protocol"]["validation_split"]) for one in sets] == [
        *((0, 0.1), (0, 0.3)),
        *((1, 0.1), (1, 0.3)),
    ]
    assert varied == {"n_features": [5, 10]}


def test_what_an_entry_varies_counts_more_than_what_its_file_sets(tmp_path):
    sets, _ = _sets(
        _notebook(tmp_path), {"normalization": "imagenet"}, {"normalization": "backbone"}, ["normalization"]
    )
    assert [one["protocol"]["normalization"] for one in sets] == ["backbone"]


def test_a_value_of_the_whole_file_is_left_out_where_it_changes_nothing(tmp_path):
    """DRAEM has no backbone, and refuses another normalization: old sweep files set it for all notebooks."""
    notebook = _notebook(tmp_path, run="Draem")
    given = {"normalization": "imagenet", "train_batch_size": 4, "feature_store": "off", "tensorboard": "off"}
    sets, _ = _sets(notebook, given, shared=given)
    assert sets == [{"compute": {"tensorboard": "off"}}]
    with pytest.raises(InputError, match="unknown parameter of n.ipynb 'normalization'.*; valid: dataset, protocol"):
        _sets(notebook, given)


def test_values_that_a_job_has_can_be_changed_later(tmp_path):
    notebook = _notebook(tmp_path)
    job = fold(notebook, {"dataset": "tiles", "train_batch_size": 8, "num_workers": 2})
    halved = fold(notebook, {"train_batch_size": 4}, job)
    assert halved == {"dataset": "tiles", "compute": {"train_batch_size": 4, "num_workers": 2}}
    assert job["compute"]["train_batch_size"] == 8


def test_an_unknown_detector_is_reported_where_its_cell_is_checked(tmp_path):
    assert divide(_notebook(tmp_path, run="Padm"), {"n_features": [5]}) == ({}, {"n_features": [5]})


def test_no_field_is_also_an_argument_of_a_detector():
    """Where both had one name, ``vary`` could not tell which of them is meant."""
    arguments = {name for detector in DETECTORS.values() for name in detector.all_arguments}
    assert not arguments & set(FIELDS)


def test_varied_values_are_divided_for_a_search(tmp_path):
    space = {"n_features": [5], "image_size": [64, 96]}
    assert divide(_notebook(tmp_path), space) == ({"image_size": [64, 96]}, {"n_features": [5]})
    assert settable(_notebook(tmp_path))[:4] == ["dataset", "protocol", "compute", "image_size"]


@pytest.mark.parametrize("name", ["threshold", "alpha", "area"])
def test_what_makes_no_other_run_is_not_varied_and_the_message_says_what_to_do(name, tmp_path):
    notebook = _notebook(tmp_path)
    value = "quantile" if name == "threshold" else 0.1
    for given in ({"vary": {name: value}}, {"vary": {name: [value]}}, {"parameters": {name: [value]}}):
        with pytest.raises(
            InputError, match=f"^{name} makes no other run .* anomaly rethreshold changes threshold and alpha$"
        ):
            _sets(notebook, **given)
    assert _sets(notebook, {name: value})[0] == [{"protocol": {"validation_split": 0.2, name: value}}]
