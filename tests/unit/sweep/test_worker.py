"""Leftovers of a killed worker are removed, and the runs that it had stored get their notebooks."""

import os
import socket
import subprocess
import sys

import nbformat
import pytest
from helpers.records import make_record
from nbformat.v4 import new_code_cell, new_notebook

from training_code.records.reading import write_record
from training_code.records.store import RunStore
from training_code.sweep.cutting import RUN_KEY
from training_code.sweep.worker import keep_leftovers


@pytest.fixture
def killed():
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _leave(store, pid, run_ids):
    """Write what a process of this machine was executing; return the notebook and its log."""
    folder = store.results / "executing"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run_ids[0]}.{socket.gethostname()}.{pid}.ipynb"
    cells = [new_code_cell("shared = 1")]
    cells += [new_code_cell(f"run = {run_id!r}", metadata={RUN_KEY: run_id}) for run_id in run_ids]
    nbformat.write(new_notebook(cells=cells), path)
    path.with_suffix(".log").write_text("killed")
    return path, path.with_suffix(".log")


def test_runs_that_were_stored_get_their_part_of_the_notebook(tmp_path, killed):
    store = RunStore(tmp_path)
    stored, kept = make_record(run_id="padim-1"), make_record(run_id="padim-2")
    for record in (stored, kept):
        store.folder(record.run_id).mkdir(parents=True)
        write_record(store.folder(record.run_id), record)
    (store.folder("padim-2") / "notebook.ipynb").write_text("its own")
    files = _leave(store, killed, ["padim-1", "padim-2", "padim-3"])
    keep_leftovers(store)
    assert not any(file.exists() for file in files)
    cells = nbformat.read(store.folder("padim-1") / "notebook.ipynb", as_version=4).cells
    assert [cell.source for cell in cells] == ["shared = 1", "run = 'padim-1'"]
    assert (store.folder("padim-2") / "notebook.ipynb").read_text() == "its own"
    assert not store.folder("padim-3").exists()


def test_half_written_notebooks_are_removed_and_those_of_living_processes_stay(tmp_path, killed):
    store = RunStore(tmp_path)
    half, _ = _leave(store, killed, ["padim-1"])
    half.write_text('{"cells": [')
    alive = _leave(store, os.getpid(), ["padim-2"])
    keep_leftovers(store)
    assert not half.exists() and all(file.is_file() for file in alive)
