"""The folders of the sockets of kernels."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from training_code.notebooks import sockets


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.setattr(sockets, "_parents", lambda: [tmp_path])
    return tmp_path


@pytest.fixture
def gone():
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_folders_of_killed_processes_are_removed_at_the_next_start(parent, gone):
    with sockets.kernel_sockets() as config:
        (own,) = parent.iterdir()
        assert config.KernelManager.ip == f"{own}/socket" and str(os.getpid()) in own.name
        killed = parent / own.name.replace(str(os.getpid()), str(gone))
        killed.mkdir()
        (killed / "socket-1").touch()
        with sockets.kernel_sockets():
            assert not killed.exists() and own.exists()
    assert not list(parent.iterdir())


def test_what_may_belong_to_somebody_else_stays(parent, gone):
    others = [f"kernel-{gone}-00000000-abc", "kernel-abc", f"kernels-{gone}-abc", f"kernel-{os.getppid()}-abc"]
    for name in others:
        (parent / name).mkdir()
    sockets.remove_leftovers()
    assert sorted(path.name for path in parent.iterdir()) == sorted(others)


def test_a_process_that_took_over_the_number_keeps_nothing_alive(parent):
    folder = parent / f"kernel-{os.getpid()}-abc"
    folder.mkdir()
    os.utime(folder, (0, 0))  # before this process was started
    sockets.remove_leftovers()
    assert not folder.exists()


def test_a_path_of_a_socket_is_never_too_long(tmp_path, monkeypatch):
    for length in range(1, 120):
        monkeypatch.setattr(tempfile, "tempdir", "/" + "ä" * length)
        for folder in sockets._parents():
            assert len(os.fsencode(folder / f"kernel-4194304-{'0' * 8}-{'x' * 8}" / "socket-5")) <= 103
    assert sockets._parents() == [Path("/tmp")]
