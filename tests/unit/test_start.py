"""A folder to work in, made by a command."""

import shutil

import pytest
from helpers.repository import project_files

from training_code import start
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command


@pytest.fixture
def installed(monkeypatch):
    """The package as pip installs it, apart from a repository; its files are those of the repository."""
    monkeypatch.setattr(paths, "PACKAGED", paths.CODE)
    monkeypatch.setattr(paths, "is_installed", lambda: True)


def test_a_new_folder_has_the_notebooks_and_sweep_files_of_the_project(installed, tmp_path, capsys):
    assert start.main([str(tmp_path / "new")]) == 0
    for path in project_files("notebooks/*") + project_files("sweeps/*"):
        assert (tmp_path / "new" / path.relative_to(paths.CODE)).read_bytes() == path.read_bytes()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"notebooks", "sweeps", "data"}
    assert f"cd {tmp_path / 'new'}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["notebooks", "sweeps"])
def test_what_a_person_has_changed_is_never_replaced(installed, name, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("changed")
    with pytest.raises(InputError, match=f"{name} is there already, and is not replaced"):
        start.start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mine").read_text() == "changed"


def test_in_a_repository_whose_own_notebooks_are_read_no_others_are_copied(tmp_path, capsys):
    assert run_command(start.main, [str(tmp_path / "new")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"work in {paths.ROOT}, with the variable ANOMALY_HOME={tmp_path / 'new'} if data and results" in said.err
    assert not (tmp_path / "new").exists()


def test_a_start_that_is_interrupted_leaves_nothing_that_stops_the_next_one(installed, monkeypatch, tmp_path):
    copy = shutil.copytree

    def stops(source, place, **options):
        if source.name == "sweeps":
            raise KeyboardInterrupt
        return copy(source, place, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copytree", stops)
        start.start(tmp_path)
    assert list(tmp_path.iterdir()) == []
    # A kill leaves what was copied until then.
    (tmp_path / start._UNFINISHED / "notebooks").mkdir(parents=True)
    (tmp_path / start._UNFINISHED / "notebooks" / "half.ipynb").write_text("{")
    start.start(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "sweeps", "data"}
    assert not (tmp_path / "notebooks" / "half.ipynb").exists()


def test_a_folder_of_a_user_who_is_not_there_is_told_in_a_sentence(installed, capsys):
    assert run_command(start.main, ["~nobody-at-all/x"]) == 2
    said = "error: ~nobody-at-all/x begins with a user that this machine does not know; valid: ./~nobody-at-all/x"
    assert capsys.readouterr().err.strip() == said
