"""Kernels of notebooks, forked from a process that has imported everything or started as new ones."""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from training_code.foundation import paths
from training_code.notebooks import KERNELS, sockets, warm
from training_code.notebooks.kernel import (
    KernelOptions,
    NotebookError,
    NotebookMemoryError,
    NotebookTimeoutError,
    execute_notebook,
)

pytestmark = pytest.mark.slow
PROBE = """
import json, os, sys
import matplotlib, torch
import training_code.experiment
from threadpoolctl import threadpool_info
print(json.dumps({
    "torch": torch.get_num_threads(),
    "threads": sorted((library["filepath"], library["num_threads"]) for library in threadpool_info()),
    "path": sys.path, "arguments": len(sys.argv), "folder": os.getcwd(), "backend": matplotlib.get_backend(),
    "variables": {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID" and name[0] != "_"},
    "code": training_code.__file__, "session": os.getsid(0) == os.getpid(), "cuda": torch.cuda.is_initialized(),
}))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that executes cells in a kernel and returns what they print."""

    def execute(*cells, timeout=None, **options):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        kernel = KernelOptions(**{"log": tmp_path / "kernel.log", **options})
        execute_notebook(notebook, tmp_path / "executed.ipynb", {}, timeout, kernel)
        executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
        return "".join(output.get("text", "") for cell in executed.cells for output in cell.outputs)

    return execute


@pytest.mark.parametrize("environment", [{}, {"OMP_NUM_THREADS": "3", "A": "b"}], ids=str)
def test_a_forked_kernel_finds_what_a_new_one_finds(run, environment):
    # Cells of a new process import first; what they find must not depend on it.
    forked, new = (json.loads(run(PROBE, start=start, environment=environment)) for start in ("warm", "fresh"))
    assert forked.pop("path") == new.pop("path")
    assert forked.pop("variables") == new.pop("variables")
    assert forked == new
    assert forked["code"] == str(paths.ROOT / "training_code" / "__init__.py")
    assert forked["folder"] == str(paths.NOTEBOOKS) and forked["session"] and not forked["cuda"]


def test_forked_kernels_draw_numbers_of_their_own(run):
    cell = "import random, numpy, torch; print(random.random(), numpy.random.rand(), float(torch.rand(1)))"
    one, two = run(cell).split(), run(cell).split()
    assert len(one) == 3 and not set(one) & set(two)


def test_a_forked_kernel_is_there_in_seconds(run):
    run("")
    start = time.perf_counter()
    run("import training_code.experiment")
    assert time.perf_counter() - start < 6  # a new process takes 6 to 15 s for that import alone


@pytest.mark.parametrize("start", KERNELS)
def test_how_a_kernel_ended_is_told(run, start, tmp_path):
    with pytest.raises(NotebookError, match="exit status 9"):
        run("import os; os._exit(9)", start=start)
    with pytest.raises(NotebookError, match="SIGSEGV"):
        run("import os, signal; os.write(1, b'last words'); os.kill(os.getpid(), signal.SIGSEGV)", start=start)
    assert "last words" in (tmp_path / "kernel.log").read_text()
    with pytest.raises(NotebookTimeoutError, match="longer than 2 s"):
        run("import time; time.sleep(60)", start=start, timeout=2)
    with pytest.raises(NotebookMemoryError, match=r"more than 1.5 GiB"):
        run("filled = b'x' * 2 * 2**30; import time; time.sleep(60)", start=start, memory=1.5)
    with pytest.raises(NotebookError, match="ZeroDivisionError"):
        run("1 / 0", start=start)


def test_a_kernel_is_gone_when_its_notebook_is(run, tmp_path):
    pid = int(run("import os; print(os.getpid())"))
    assert not psutil.pid_exists(pid)
    with pytest.raises(NotebookTimeoutError):
        run("import os; os.write(1, b'pid %d,' % os.getpid()); import time; time.sleep(60)", timeout=1)
    (pid,) = map(int, re.findall(r"pid (\d+),", (tmp_path / "kernel.log").read_text()))
    assert not psutil.pid_exists(pid)


def test_a_lost_zygote_is_replaced(run):
    run("")
    zygote = psutil.Process(int(run("import os; print(os.getppid())")))
    zygote.kill()
    zygote.wait(10)
    assert run("print(1 + 1)") == "2\n"


def test_where_nothing_can_be_forked_kernels_are_new_processes_and_that_is_said(run, monkeypatch, capsys):
    monkeypatch.setattr(warm, "_zygote", None)
    monkeypatch.setattr(warm, "_ZYGOTE", "training_code.no_such_module")
    assert run("print(2 + 2)") == "4\n"
    assert "none can be forked" in (said := capsys.readouterr().err) and "no_such_module" in said
    run("")
    assert "none can be forked" not in capsys.readouterr().err


def test_an_environment_that_is_too_large_to_hand_over_costs_only_the_fork(run, capsys):
    large = {"LARGE": "x" * 100_000, "TOO": "x" * 100_000}
    assert run("import os; print(len(os.environ['LARGE']))", environment=large) == "100000\n"
    assert "valid: up to" in capsys.readouterr().err


SCRIPT = """
import sys
from pathlib import Path
import nbformat
from training_code.notebooks.kernel import execute_notebook
cell = "import os, time; os.write(1, b'pids %d %d,' % (os.getpid(), os.getppid())); time.sleep(60)"
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
execute_notebook(notebook, Path(sys.argv[1]), {})
"""


def test_a_kernel_and_its_zygote_end_when_whoever_started_them_is_killed(tmp_path):
    output = tmp_path / "output.txt"
    with open(output, "w") as file:
        environment = warm.kernel_environment()
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "executed.ipynb")]
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    deadline = time.monotonic() + 120
    while not (found := re.search(r"pids (\d+) (\d+),", output.read_text())):
        assert process.poll() is None and time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)
    kernel, zygote = map(int, found.groups())
    assert psutil.Process(zygote).ppid() == process.pid
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in (kernel, zygote)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    left = [
        folder for parent in ("/tmp", tempfile.gettempdir()) for folder in Path(parent).glob(f"kernel-{process.pid}-*")
    ]
    assert left
    sockets.remove_leftovers()
    assert not any(folder.exists() for folder in left)


@pytest.mark.parametrize("start", KERNELS)
def test_a_notebook_without_metadata_runs_with_the_kernel_that_is_given(tmp_path, start):
    cells = [
        nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(a)"),
    ]
    output = tmp_path / "{a} {b" / "executed.ipynb"  # braces mean something to papermill
    execute_notebook(nbformat.v4.new_notebook(cells=cells), output, {"a": 7}, kernel=KernelOptions(start))
    executed = nbformat.read(output, as_version=4)
    assert executed.cells[-1].outputs[0].text == "7\n" and executed.metadata["language_info"]["name"] == "python"


@pytest.mark.parametrize("start", KERNELS)
def test_a_kernel_has_the_code_of_whoever_starts_it(run, start, tmp_path, monkeypatch):
    (tmp_path / "other" / "training_code").mkdir(parents=True)
    (tmp_path / "other" / "training_code" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    cell = "import sys, training_code; print(training_code.__file__); print(sys.executable)"
    expected = [str(paths.ROOT / "training_code" / "__init__.py"), sys.executable]
    assert run(cell, start=start).split() == expected
    assert run(cell, start=start, environment={"PYTHONPATH": str(tmp_path / "other")}).split() == expected


def test_a_kernel_has_the_interpreter_of_whoever_starts_it(run, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "of the user", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    assert run("import sys; print(sys.executable)", start="fresh") == f"{sys.executable}\n"


@pytest.mark.parametrize("start", KERNELS)
def test_kernels_start_where_the_temporary_folder_has_a_long_name(run, start, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert run("print(1)", start=start) == "1\n"
    monkeypatch.setattr(sockets, "_parents", lambda: [])  # nor a short one
    assert run("print(2)", start=start) == "2\n"


def test_a_cell_that_ends_the_kernel_costs_what_comes_after_it(run):
    for _ in range(3):  # the kernel may take its time
        assert run("print(1)", "exit()") == "1\n"
    with pytest.raises(NotebookError, match=r"a cell ended the kernel, as exit\(\) does"):
        run("print(1)", "exit()", "import time; time.sleep(5)", "print(2)")


def test_of_what_a_cell_prints_without_end_the_first_and_the_last_part_are_kept(run, tmp_path):
    flood = "for number in range(40_000): print(number, 'x' * 1000)"
    printed = run(flood, "print('after')")
    first, sentence, last = re.fullmatch(r"(?s)(.*)\n(\[[\d,]+ bytes [^]]*\])\n(.*)", printed).groups()
    assert first.startswith("0 xxx") and last.endswith("x\nafter\n") and "39999 xxx" in last
    lines = sum(len(f"{number} ") + 1001 for number in range(40_000))
    left_out = int(sentence.split()[0][1:].replace(",", ""))
    assert left_out == lines - len(first) - len(last.removesuffix("after\n"))
    with pytest.raises(NotebookError) as error:
        run("'y' * 10_000_000", "raise ValueError('z' * 10_000_000)")
    assert len(str(error.value)) < 5000 and str(error.value).startswith("ValueError: zzz")
    assert (tmp_path / "executed.ipynb").stat().st_size < 3_000_000


CONFIGURATIONS = """
from training_code.experiment import Experiment
experiment = Experiment({dataset!r}, image_size=64, seed=3, results={results!r})
lite = {{"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}}
experiment.run("Padim", **lite, n_features=10)
experiment.run("Patchcore", **lite, coreset_sampling_ratio=0.2)
experiment.run("Cflow", **lite, max_epochs=2, coupling_blocks=2)
experiment.run("Draem", width=0.05, max_epochs=1)
"""


def test_forked_and_new_kernels_give_the_same_scores_to_the_bit(run, tmp_path, tiny_dataset):
    for start in KERNELS:
        cell = CONFIGURATIONS.format(dataset=str(tiny_dataset), results=str(tmp_path / start))
        run(cell, start=start, environment={"OMP_NUM_THREADS": "2"})
    scores = {
        start: {file.parent.name: file.read_bytes() for file in (tmp_path / start).glob("runs/*/scores.csv")}
        for start in KERNELS
    }
    assert len(scores["warm"]) == 4 and scores["warm"] == scores["fresh"]
