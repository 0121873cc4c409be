import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from training_code.foundation.errors import InputError
from training_code.sweep.file import Resources, Sweep, read_sweep


@pytest.fixture
def write(tmp_path):
    def make(name="sweep.yaml", **content):
        path = tmp_path / name
        path.write_text(yaml.safe_dump({"notebooks": [{"notebook": "10_train_padim"}]} | content))
        return path

    return make


def test_a_sweep_includes_others_and_its_parameters_count_more(write):
    write("base.yaml", parameters={"seed": 1, "image_size": 64})
    write("middle.yaml", include="base.yaml", notebooks=[], parameters={"seed": 2})
    sweep = read_sweep(write(include=["middle.yaml"], parameters={"image_size": 128}, timeout=5))
    assert [entry.parameters for entry in sweep.entries] == [{"seed": 2, "image_size": 128}, {"image_size": 128}]
    assert set(sweep.entries[0].shared) == {"seed", "image_size"} and sweep.timeout == 5


def test_parameters_of_an_entry_count_more_than_those_of_the_file(write):
    entry = {"notebook": "10_train_padim", "parameters": {"seed": 3}}
    (entry,) = read_sweep(write(parameters={"seed": 1, "image_size": 64}, notebooks=[entry])).entries
    assert entry.parameters == {"seed": 3, "image_size": 64} and entry.shared == ("image_size",)


def test_files_that_include_each_other_are_refused(write):
    write("base.yaml", include="sweep.yaml")
    with pytest.raises(InputError, match="base.yaml includes sweep.yaml, which includes it in turn"):
        read_sweep(write(include="base.yaml"))


def test_how_jobs_are_run_is_read(write):
    sweep = read_sweep(write(retries=2, group="backbone", resources={"cpus": 2, "gpus": 0.5, "memory": 8}))
    assert (sweep.retries, sweep.group, sweep.resources) == (2, "backbone", Resources(2, 0.5, 8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"include": True}, "include must be the name of a sweep file"),
        ({"include": "nowhere.yaml"}, "there is no sweep file .*nowhere.yaml; valid: .*sweep.yaml"),
        ({"retries": -1}, "retries=-1 must be a whole number, at least 0"),
        ({"group": "dataset"}, "unknown group in .* 'dataset'; valid: backbone"),
        ({"resources": {"cores": 2}}, r"unknown key in .* 'cores'; valid: cpus, gpus, memory"),
        ({"resources": {"gpus": 1.5}}, "gpus=1.5 must be at least 0, a part of one or a whole number"),
        ({"resources": {"memory": 0}}, "memory=0 must be GiB, above 0"),
        ({"resources": {"cpus": 0.5}}, "cpus=0.5 must be a whole number, at least 1"),
        ({"search": ["n_features"]}, "search must be names with values"),
    ],
)
def test_mistakes_are_named_with_what_is_valid(write, content, words):
    with pytest.raises(InputError, match=words):
        read_sweep(write(**content))


def _read(folder, text):
    path = Path(folder) / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return read_sweep(path)


PADIM = "notebooks: [{notebook: 10_train_padim}]\n"


@pytest.mark.parametrize(
    "name", ["007", "010", "2024", "2024_01", "2024-01-15", "1e3", "1.10", "0x1F", "no", "off", ".inf"]
)
def test_a_dataset_is_the_folder_of_the_name_that_is_written(tmp_path, name):
    (entry,) = _read(tmp_path, f"{PADIM}parameters: {{dataset: {name}, seed: 3}}").entries
    assert entry.parameters == {"dataset": name, "seed": 3}
    text = f"notebooks: [{{notebook: 10_train_padim, parameters: {{dataset: [{name}, b]}}}}]"
    assert _read(tmp_path, text).entries[0].parameters == {"dataset": [name, "b"]}


def test_a_dataset_of_an_included_file_is_taken_as_it_is_written(tmp_path):
    (tmp_path / "base.yaml").write_text(f"{PADIM}parameters: {{dataset: 007}}")
    (entry,) = _read(tmp_path, "include: base.yaml\nparameters: {results: 010}").entries
    assert entry.parameters == {"dataset": "007", "results": "010"}


ODD = ("007", "010", "2024", "2024_01", "2024-01-15", "1e3", "1e-1", "1.10", "0x1F", "0o17", "no", "off", ".inf", "+1")
#: Letters, digits and what numbers are written with, at most 12 of them; a name that is a flag or nothing needs quotes.
PLAIN = st.from_regex(r"[0-9a-zA-Z.][0-9a-zA-Z_.+-]{0,11}", fullmatch=True).filter(
    lambda text: text.lower() not in ("true", "false", "null")
)


@given(PLAIN | st.sampled_from(ODD) | st.integers().map(str) | st.floats().map(str))
@settings(deadline=None, max_examples=100)
def test_a_name_is_the_text_that_is_written_wherever_a_name_is_expected(name):
    text = f"""
    parameters: {{dataset: {name}}}
    notebooks:
    - notebook: 11_train_patchcore
      parameters: {{protocol: {{normalization: {name}}}, compute: {{feature_store: [{name}]}}}}
      select: {{backbone: [{name}, b], layers: [[{name}]]}}
      exclude: {{backbone: {name}, dataset: [{name}], normalization: {name}}}
      vary: {{backbone: {name}, layers: [[{name}, b]], backbone_precision: [{name}]}}
    search: {{space: {{backbone: [{name}, b]}}}}
    """
    with tempfile.TemporaryDirectory() as folder:
        sweep = _read(folder, text)
    (entry,) = sweep.entries
    expected = {"protocol": {"normalization": name}, "compute": {"feature_store": [name]}}
    assert entry.parameters == {"dataset": name, **expected}
    assert entry.select == {"backbone": [name, "b"], "layers": [[name]]}
    assert entry.exclude == {"backbone": name, "dataset": [name], "normalization": name}
    assert entry.vary == {"backbone": name, "layers": [[name, "b"]], "backbone_precision": [name]}
    assert sweep.search == {"space": {"backbone": [name, "b"]}}


@given(st.integers(-(10**14), 10**14))
@settings(deadline=None, max_examples=20)
def test_a_number_is_a_number_however_it_is_written_wherever_one_is_expected(number):
    written = f"{'-' if number < 0 else ''}00{abs(number)}"
    text = f"""
    notebooks:
    - notebook: 11_train_patchcore
      parameters: {{seed: {written}, protocol: {{validation_split: {written}e-1}}}}
      select: {{num_neighbors: [{written}]}}
      exclude: {{seed: {written}, eval_batch_size: {written}}}
      vary: {{num_neighbors: {written}, image_size: [[{written}, 64]]}}
    search: {{space: {{num_neighbors: [{written}], coreset_sampling_ratio: {{low: {written}, high: 1e-1}}}}}}
    """
    with tempfile.TemporaryDirectory() as folder:
        sweep = _read(folder, text)
    (entry,) = sweep.entries
    assert entry.parameters == {"seed": number, "protocol": {"validation_split": float(f"{number}e-1")}}
    assert entry.select == {"num_neighbors": [number]}
    assert entry.exclude == {"seed": number, "eval_batch_size": number}
    assert entry.vary == {"num_neighbors": number, "image_size": [[number, 64]]}
    space = {"num_neighbors": [number], "coreset_sampling_ratio": {"low": number, "high": 0.1}}
    assert sweep.search == {"space": space}
    assert {type(entry.parameters["seed"]), type(entry.vary["num_neighbors"])} == {int}, "plain, as papermill takes it"


def test_a_parameter_of_a_users_notebook_is_what_its_annotation_says(tmp_path):
    cells = [
        ('dataset: str = "t"\nnote: str | None = None\nlimit: int = 3', ["parameters"]),
        ("experiment = Experiment(dataset)", []),
        ('experiment.run(Padim, backbone="007")', []),
    ]
    content = [{"cell_type": "code", "source": source, "metadata": {"tags": tags}} for source, tags in cells]
    (tmp_path / "own.ipynb").write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": content})
    )
    of_entry = "parameters: {note: 007, limit: 007}, select: {backbone: 007}"
    (entry,) = _read(tmp_path, f"notebooks: [{{notebook: {tmp_path}/own.ipynb, {of_entry}}}]").entries
    assert entry.parameters == {"note": "007", "limit": 7} and entry.select == {"backbone": "007"}


def test_a_sweep_file_of_a_number_is_included_by_its_name(tmp_path):
    (tmp_path / "007").write_text(PADIM)
    assert [entry.notebook for entry in _read(tmp_path, "include: 007").entries] == ["10_train_padim"]


def test_numbers_stay_numbers_where_they_are_meant(tmp_path):
    text = (
        "notebooks:\n- notebook: 12_train_cflow\n  vary: {max_epochs: [010], fiber_sampling_ratio: 1e-1}\nretries: 02"
    )
    sweep = _read(tmp_path, f"{text}\nparameters: {{seed: 007, validation_split: 1e-1, feature_store: off}}")
    assert sweep.retries == 2 and sweep.entries[0].vary == {"max_epochs": [10], "fiber_sampling_ratio": 0.1}
    assert sweep.entries[0].parameters == {"seed": 7, "validation_split": 0.1, "feature_store": "off"}
    values = [*sweep.entries[0].parameters.values(), *sweep.entries[0].vary.values()]
    assert {type(value) for value in values} == {int, float, str, list}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parameters: {results: ~}", "sweep.yaml: results=None of 10_train_padim.ipynb must be text"),
        ("parameters: {dataset: true}", "dataset=True of 10_train_padim.ipynb must be text, in quotes if need be"),
        ("parameters: {dataset: [a, [b]]}", r"dataset=\['b'\] of 10_train_padim.ipynb must be text"),
        ("parameters: {dataset: [[a, b]]}", r"must be text: datasets that one detector is trained on are 'a\+b'"),
        ("parameters: {seed: 1, seed: 2}", "sweep.yaml, line 2: the key 'seed' is given twice"),
        ("parameters: 0", "parameters must be names with values, found 0"),
        ("resources: []", r"resources must be names with values, found \[\]"),
        ("resources: {memory: .inf}", "memory='.inf' must be GiB, above 0"),
        ("resources: {memory: .nan}", "memory='.nan' must be GiB, above 0"),
        ("timeout: 1e3", "timeout=1000.0 must be a whole number of seconds"),
        ("retries: yes", "retries='yes' must be a whole number, at least 0"),
        ("notebook: x", r"unknown key in .*sweep.yaml 'notebook' \(did you mean 'notebooks'\?\)"),
    ],
)
def test_a_value_of_another_kind_is_one_sentence(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        _read(tmp_path, f"{PADIM}{text}")


def test_a_flag_is_true_or_false(tmp_path):
    text = "notebooks: [{notebook: 15_train_autoencoders, parameters: {grayscale: %s}}]"
    assert _read(tmp_path, text % "[true, false]").entries[0].parameters == {"grayscale": [True, False]}
    with pytest.raises(InputError, match="grayscale='no' of 15_train_autoencoders.ipynb must be true or false"):
        _read(tmp_path, text % "no")


def test_what_is_left_empty_is_none(tmp_path):
    sweep = _read(tmp_path, f"{PADIM}parameters:\nresources:\ninclude:\ngroup:\nsearch:\ntimeout:")
    assert (sweep.resources, sweep.group, sweep.search, sweep.timeout) == (Resources(), None, None, None)


def test_links_that_go_in_circles_are_no_file(tmp_path):
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    with pytest.raises(InputError, match="a.yaml cannot be read"):
        _read(tmp_path, "include: a.yaml")


WORDS = [
    "notebooks",
    "parameters",
    "include",
    "timeout",
    "resources",
    "dataset",
    "select",
    "vary",
    "search",
    "notebook",
]
WORDS += [
    "10_train_padim",
    "sweep.yaml",
    "007",
    "~",
    ".nan",
    "1e999",
    "2024-01-15",
    "no",
    "true",
    "1",
    "-1",
    "''",
    "x" * 300,
]
WORDS += [": ", ":\n  ", "\n", "\n- ", "\n  - ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ", "!!str "]
VALUES = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 1.5, "", "a", "10_train_padim", "~user/x", "a/b", "sweep.yaml", "x" * 300, "2020-01-01"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("include", "parameters", "notebooks", "timeout", "retries", "resources", "group", "search")
ENTRIES = st.lists(
    st.dictionaries(st.sampled_from(["notebook", "parameters", "select", "exclude", "vary"]), VALUES), max_size=2
)
SWEEPS = st.fixed_dictionaries(
    {"notebooks": ENTRIES | VALUES}, optional={key: VALUES for key in KEYS if key != "notebooks"}
)


@given(st.lists(st.sampled_from(WORDS), max_size=30).map("".join) | SWEEPS.map(yaml.safe_dump) | st.text(max_size=40))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_sweep_or_one_sentence(text):
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert isinstance(_read(folder, text.encode(errors="replace").decode()), Sweep)
        except InputError as error:
            assert folder in str(error) and "\n" not in str(error)
