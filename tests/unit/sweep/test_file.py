import pytest
import yaml

from training_code.foundation.errors import InputError
from training_code.sweep.file import Resources, read_sweep


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
        ({"include": 3}, "include must be the name of a sweep file"),
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
