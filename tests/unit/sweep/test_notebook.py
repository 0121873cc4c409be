import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.sweep.cutting import Part, cut_out, part_of
from training_code.sweep.notebook import notebook_path, read_notebook

PARAMETERS = 'dataset: str = "textures"  # a folder\nratio: float = 0.1'
EXPERIMENT = "experiment = Experiment(dataset, seed=3)"
FIRST = 'experiment.run(Padim, backbone="resnet18", n_features=10)'
SECOND = "experiment.run(\n    Patchcore,\n    coreset_sampling_ratio=ratio,\n)"


def _write(folder: Path, *sources: str, parameters: str | None = PARAMETERS) -> Path:
    notebook = new_notebook()
    if parameters is not None:
        notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for source in sources:
        notebook.cells.append(new_markdown_cell(source) if source.startswith("#") else new_code_cell(source))
    nbformat.write(notebook, folder / "n.ipynb")
    return folder / "n.ipynb"


@pytest.fixture
def notebook(tmp_path):
    cells = ("%matplotlib inline", EXPERIMENT, "### First", FIRST, "### Second", SECOND, "experiment.table()")
    return read_notebook(_write(tmp_path, *cells))


def test_parameters_experiment_and_configurations_are_found(notebook):
    assert notebook.parameters == {"dataset": "textures", "ratio": 0.1}
    assert [cell.detector for cell in notebook.cells] == ["Padim", "Patchcore"]
    assert notebook.evaluate(notebook.experiment, {"dataset": "tiles"}) == {"dataset": "tiles", "seed": 3}
    assert notebook.evaluate(notebook.cells[0].arguments, {}) == {"backbone": "resnet18", "n_features": 10}
    assert notebook.evaluate(notebook.cells[1].arguments, {"ratio": 0.5}) == {"coreset_sampling_ratio": 0.5}


def test_a_job_runs_its_configuration_and_no_other(notebook):
    first = cut_out(notebook, [Part("run-1", notebook.cells[0])])
    assert [cell.source for cell in first.cells][-2:] == ["### First", FIRST]
    second = [cell.source for cell in cut_out(notebook, [Part("run-2", notebook.cells[1])]).cells]
    assert second == [PARAMETERS, "%matplotlib inline", EXPERIMENT, "### Second", SECOND]
    assert notebook.content.cells[3].source == "### First"


def test_varied_values_stand_in_the_cell_and_its_old_heading_is_gone(notebook):
    arguments = {"backbone": "resnet50", "layers": ["layer1"]}
    cells = cut_out(notebook, [Part("run-1", notebook.cells[0], arguments)]).cells
    assert cells[-1].source == "experiment.run(\n    Padim,\n    backbone='resnet50',\n    layers=['layer1'],\n)"
    assert "First" not in cells[-2].source


def test_a_job_keeps_the_heading_above_its_group_and_no_other_one(tmp_path):
    third = 'experiment.run(Padim, backbone="resnet18", n_features=20)'
    notebook = read_notebook(_write(tmp_path, EXPERIMENT, "### ResNet-18", FIRST, third, "### Others", SECOND))
    parts = [[cell.source for cell in cut_out(notebook, [Part("run", cell)]).cells] for cell in notebook.cells]
    assert parts == [
        [PARAMETERS, EXPERIMENT, "### ResNet-18", FIRST],
        [PARAMETERS, EXPERIMENT, "### ResNet-18", third],
        [PARAMETERS, EXPERIMENT, "### Others", SECOND],
    ]


def test_configurations_in_one_notebook_can_be_told_apart(notebook):
    one, two = notebook.cells
    parts = [Part("a", one), Part("b", two), Part("c", one, {"backbone": "resnet50"})]
    together = cut_out(notebook, parts)
    assert len({cell.id for cell in together.cells}) == len(together.cells) == 3 + 2 * 3
    sources = [cell.source for cell in part_of(together, "c").cells]
    assert len(sources) == 3 + 2 and "resnet50" in sources[-1] and EXPERIMENT in sources
    assert [cell.source for cell in part_of(together, "b").cells][-1] == SECOND


def test_a_stored_result_is_replaced_where_that_was_asked_for(notebook):
    cell = cut_out(notebook, [Part("a", notebook.cells[0], rerun=True)]).cells[-1]
    assert cell.source == "experiment.run(Padim, backbone='resnet18', n_features=10, rerun=True)"
    varied = cut_out(notebook, [Part("a", notebook.cells[0], {"n_features": 3}, True)]).cells[-1]
    assert varied.source.endswith("    n_features=3,\n    rerun=True,\n)")


def test_a_search_asks_for_varied_anomalies_in_the_cell_of_a_run_and_they_are_no_argument_of_its_detector(notebook):
    cell = cut_out(notebook, [Part("a", notebook.cells[0], varied_anomalies=True)]).cells[-1]
    assert cell.source == "experiment.run(Padim, backbone='resnet18', n_features=10, varied_anomalies=True)"
    written = notebook.text.replace("n_features=10", "n_features=10, varied_anomalies=True")
    notebook.path.write_text(written)
    assert written != notebook.text and read_notebook(notebook.path).cells[0].arguments.keys() == {
        "backbone",
        "n_features",
    }


@pytest.mark.parametrize(
    ("sources", "parameters", "words"),
    [
        ((EXPERIMENT, FIRST), None, "no cell tagged 'parameters'"),
        ((EXPERIMENT,), PARAMETERS, "no training notebook"),
        ((FIRST,), PARAMETERS, "no training notebook"),
        ((EXPERIMENT, FIRST), "a = 1\nb = 2 * a", r"'b = 2 \* a'; only names set to literals"),
        ((EXPERIMENT, FIRST), "import os", "'import os'; only names set to literals"),
        ((EXPERIMENT, "experiment.run(Padim, **options)"), PARAMETERS, r"called with \*\*"),
        ((EXPERIMENT, 'experiment.run("Padim")'), PARAMETERS, "cell 3 must name its detector first"),
        ((EXPERIMENT, f"{FIRST}\n{FIRST}"), PARAMETERS, "cell 3 calls experiment.run more than once"),
        ((EXPERIMENT, "experiment.run(Padim"), PARAMETERS, "cell 3 is not valid Python"),
    ],
)
def test_a_notebook_that_a_sweep_could_not_know_is_refused(tmp_path, sources, parameters, words):
    with pytest.raises(InputError, match=words):
        read_notebook(_write(tmp_path, *sources, parameters=parameters))


def test_an_argument_that_is_computed_is_refused(tmp_path):
    notebook = read_notebook(_write(tmp_path, EXPERIMENT, "experiment.run(Padim, n_features=5 * 20)"))
    with pytest.raises(InputError, match=r"n_features=5 \* 20 is neither a literal nor .*\(dataset, ratio\)"):
        notebook.evaluate(notebook.cells[0].arguments, notebook.parameters)


def test_a_missing_notebook_is_named_with_the_ones_that_there_are(tmp_path):
    _write(tmp_path, EXPERIMENT, FIRST)
    with pytest.raises(InputError, match="no notebook .*other.ipynb; valid: n"):
        read_notebook(tmp_path / "other.ipynb")
    (tmp_path / "bad.ipynb").write_text("{")
    with pytest.raises(InputError, match="is not a notebook"):
        read_notebook(tmp_path / "bad.ipynb")


MAGICS = (
    "%matplotlib inline\nimport os",
    "%%bash\nfor f in *; do echo $f; done",
    "%%html\n<b>experiment.run(Padim)</b>",
    "%%writefile x.py\nexperiment.run(Padim, a=b)",
    "files = !ls",
    "files = %sx ls",
    "os.path?",
    "??os.path",
    "if True:\n    !ls\n    %time 1 + 1",
    "!ls \\\n  -l",
    "left = (10\n  % 3)",
    "await something()",
)


def test_cells_in_what_only_ipython_understands_are_left_alone(tmp_path):
    notebook = read_notebook(_write(tmp_path, *MAGICS, EXPERIMENT, FIRST))
    assert [cell.index for cell in notebook.cells] == [len(MAGICS) + 2]
    sources = [cell.source for cell in cut_out(notebook, [Part("run", notebook.cells[0])]).cells]
    assert sources == [PARAMETERS, *MAGICS, EXPERIMENT, FIRST]


@pytest.mark.parametrize(
    "before", ["%%time\n", "\n%%capture output\n", "%%time\n%%capture\n", "!ls\n", "%time 1 + 1\n"]
)
def test_a_configuration_beside_a_magic_is_found(tmp_path, before):
    (cell,) = read_notebook(_write(tmp_path, EXPERIMENT, before + FIRST)).cells
    assert (cell.detector, set(cell.arguments)) == ("Padim", {"backbone", "n_features"})


def test_a_configuration_in_another_language_is_none(tmp_path):
    with pytest.raises(InputError, match="no training notebook"):
        read_notebook(_write(tmp_path, EXPERIMENT, f"%%script false\n{FIRST}"))


def test_magics_among_the_parameters_set_nothing(tmp_path):
    parameters = f"%matplotlib inline\n{PARAMETERS}"
    assert read_notebook(_write(tmp_path, EXPERIMENT, FIRST, parameters=parameters)).parameters["ratio"] == 0.1
    for wrong in ("files = !ls", "a = b = 1"):
        with pytest.raises(InputError, match="only names set to literals"):
            read_notebook(_write(tmp_path, EXPERIMENT, FIRST, parameters=wrong))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("z_v1.2", paths.NOTEBOOKS / "z_v1.2.ipynb"),
        ("z_v1.2.ipynb", paths.NOTEBOOKS / "z_v1.2.ipynb"),
        ("10_train_padim", paths.NOTEBOOKS / "10_train_padim.ipynb"),
        ("notebooks/10_train_padim", paths.NOTEBOOKS / "10_train_padim.ipynb"),
        ("notebooks/10_train_padim.ipynb", paths.NOTEBOOKS / "10_train_padim.ipynb"),
        ("mine/10_train_padim.ipynb", paths.ROOT / "mine" / "10_train_padim.ipynb"),
        ("/mine/v1.2", Path("/mine/v1.2.ipynb")),
        ("~nobody-of-this-name/a", paths.ROOT / "~nobody-of-this-name" / "a.ipynb"),
    ],
)
def test_a_name_leads_to_the_notebook_of_that_name_and_no_other(name, path):
    assert notebook_path(name) == path


def test_a_value_must_be_text_or_a_flag_where_the_parameter_is(tmp_path):
    parameters = 'a: str = "x"\nb: str | None = None\nc = "y"\nd: bool = True\ne = False\nf: float = 1.0\ng = None'
    notebook = read_notebook(_write(tmp_path, EXPERIMENT, FIRST, parameters=parameters))
    expected = [notebook.expected(name) for name in "abcdefgh"]
    assert expected == [(str,), (str, type(None)), (str,), (bool,), (bool,), (), (), ()]


@pytest.mark.parametrize(
    "content", ["[1]", '{"nbformat": 4, "cells": [{}]}', "[" * 10_000, '{"nbformat": 4, "cells": 3}', ""]
)
def test_a_file_that_holds_something_else_is_no_notebook(tmp_path, content):
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(InputError, match="n.ipynb is not a notebook"):
        read_notebook(tmp_path / "n.ipynb")


def test_a_name_that_no_file_can_have_is_no_notebook(tmp_path):
    with pytest.raises(InputError, match="there is no notebook"):
        read_notebook(tmp_path / f"{'x' * 300}.ipynb")


@pytest.mark.parametrize(
    "metadata", [{}, {"metadata": {}}, {"metadata": {"kernelspec": None}, "nbformat_minor": 2}], ids=str
)
def test_a_notebook_is_complete_where_an_editor_left_out_what_a_job_does_not_need(tmp_path, metadata):
    sources = {PARAMETERS: {"tags": ["parameters"]}, EXPERIMENT: {}, FIRST: {"tags": None}}
    cells = [{"cell_type": "code", "source": [source], "metadata": tags} for source, tags in sources.items()]
    (tmp_path / "n.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells, **metadata}), encoding="utf-8-sig")
    notebook = read_notebook(tmp_path / "n.ipynb")
    job = cut_out(notebook, [Part("run", notebook.cells[0])])
    nbformat.write(job, tmp_path / "job.ipynb")
    assert [cell.source for cell in nbformat.read(tmp_path / "job.ipynb", as_version=4).cells] == [*sources]
    assert "kernelspec" not in job.metadata
