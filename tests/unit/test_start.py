"""A folder to work in, made by a command."""

import pytest
from helpers.repository import project_files

from training_code import start
from training_code.foundation import paths
from training_code.foundation.errors import InputError


def test_a_new_folder_has_the_notebooks_and_sweep_files_of_the_project(tmp_path, capsys):
    assert start.main([str(tmp_path / "new")]) == 0
    for path in project_files("notebooks/*") + project_files("sweeps/*"):
        assert (tmp_path / "new" / path.relative_to(paths.CODE)).read_bytes() == path.read_bytes()
    assert (tmp_path / "new" / "data").is_dir()
    assert f"cd {tmp_path / 'new'}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["notebooks", "sweeps"])
def test_what_a_person_has_changed_is_never_replaced(name, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("changed")
    with pytest.raises(InputError, match=f"{name} is there already, and is not replaced"):
        start.start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mine").read_text() == "changed"
