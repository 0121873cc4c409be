import errno
import hashlib
import os
import subprocess

import pytest
import torch

from training_code.foundation.files import atomic_path, digest, sha256, write_text


def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_is_told_where_torch_tells_a_place_in_its_file(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        (disk / "model.ckpt").write_bytes(b"old")
        with pytest.raises(OSError, match="no room on the disk of .*disk for model.ckpt: make room") as caught:
            with atomic_path(disk / "model.ckpt", sync=False) as temporary:
                torch.save({"weight": torch.zeros(2**21)}, temporary)
        assert caught.value.errno == errno.ENOSPC and isinstance(caught.value.__cause__, RuntimeError)
        assert os.listdir(disk) == ["model.ckpt"] and (disk / "model.ckpt").read_bytes() == b"old"
    finally:
        # Later where it is busy: the traceback of torch still has its file open.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


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
