import hashlib
import os

import pytest

from training_code.foundation.files import atomic_path, digest, sha256, write_text


def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_the_temporary_file_has_the_suffix_that_writers_look_at(tmp_path):
    with atomic_path(tmp_path / "new" / "model.safetensors") as temporary:
        assert temporary.suffix == ".safetensors"
        temporary.write_bytes(b"x")
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == b"x"


def test_sha256_and_digest(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
