"""The comparison with other tools: its page says what was measured, and each fact has its line."""

import copy
import csv
import importlib
import json
import subprocess
import sys
import textwrap

import psutil
import pytest
from tools.peers import facts, grid, page, tools, watch

from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.sweep.notebook import read_notebook

PAGE = (paths.ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
FIGURES = paths.ROOT / "results" / "peers.json"
#: Made up: "other" is slower and needs less memory, and has the higher AUROC with the second configuration alone.
MADE_UP = {
    "date": "2026-01-02",
    "data": "textures",
    "images": 30,
    "test_images": 96,
    "grid": [["Padim", {"layers": ["a"], "n_features": 30}], ["Patchcore", {"num_neighbors": 9}]],
    "rounds": 3,
    "shared_machine": False,
    "machine": {"cores": 2, "processor": "a processor", "gpu": None},
    "tools": {
        "this project": {
            "packages": {"ours": "1.0"},
            "seconds": [10.0, 30.0, 20.0],
            "memory": 3 * 2**30,
            "broken": [],
            "results": [{"image_AUROC": 0.9, "seconds": 1.0}, {"image_AUROC": 0.8, "seconds": 2.0}],
            "kill": {"after": 12.0, "left": 1, "again": 8.0, "status": 0, "complete": 2},
        },
        "other": {
            "packages": {"theirs": "2.0"},
            "seconds": [50.0, 50.0, 50.0],
            "memory": 2**30 * 3 // 2,
            "broken": [],
            "results": [{"image_AUROC": 0.9001, "seconds": 3.0}, {"image_AUROC": 0.85, "seconds": 4.0}],
            "kill": {"after": 30.0, "left": 0, "again": 50.0, "status": 0, "complete": 2},
        },
    },
    "facts": {
        "Reads paper": {
            "this project": {"answer": "no", "file": "ours/a.py", "line": 1},
            "other": {"answer": "yes: all kinds", "file": "theirs/b.py", "line": 22},
        }
    },
}


def _cells(text, first):
    return next(line for line in text.splitlines() if line.startswith(f"| {first} |")).strip("| ").split(" | ")


def test_the_page_shows_the_stored_figures_and_nothing_else():
    written = PAGE.partition(page.BEGIN)[2].partition(page.END)[0].strip()
    if FIGURES.exists():
        assert written == page.tables(json.loads(FIGURES.read_text(encoding="utf-8")))
    else:
        assert written == "Not measured yet: run `make compare-peers`."


def test_tables_are_medians_ratios_and_what_was_left_after_the_kill():
    text = page.tables(MADE_UP)
    assert _cells(text, "this project") == ["this project", "20", "1.0", "3.0", "1 of 2", "8 (40% of a whole run)"]
    assert _cells(text, "other") == ["other", "50", "2.5", "1.5", "0 of 2", "50 (100% of a whole run)"]
    assert _cells(text, "Padim, n_features=30")[1:] == ["0.900, 1.0 s", "0.900, 3.0 s"]
    assert _cells(text, "Reads paper")[2] == "yes: all kinds (`theirs/b.py:22`)"
    assert text.startswith("ours 1.0, theirs 2.0; textures, 30 images for training and 96 for testing")
    assert "medians of 3 rounds" in text and "Other programs" not in text
    assert "Other programs ran" in page.tables(MADE_UP | {"shared_machine": True})


@pytest.mark.parametrize(("status", "complete"), [(1, 1), (0, 1), (1, 2)])
def test_a_command_that_fails_after_the_kill_does_not_count_as_a_fast_one(status, complete):
    figures = copy.deepcopy(MADE_UP)
    figures["tools"]["other"]["kill"] |= {"again": 3.0, "status": status, "complete": complete}
    assert _cells(page.tables(figures), "other")[-1] == f"did not finish: {complete} of 2, status {status}"


@pytest.mark.slow
def test_how_a_command_ends_after_the_kill_is_stored(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "tools")
    compare_peers = importlib.import_module("compare_peers")
    # Takes a minute, and ends at once with status 3 when it is started again.
    command = ("sh", "-c", "[ -e begun ] && exit 3; touch begun; exec sleep 60")
    tool = tools.Tool("broken", {}, lambda place, images, given: None, command, lambda place, given: {0: {}})
    environment = watch.clean_environment()
    kill = compare_peers._kill(tool, tmp_path, tmp_path, grid.GRID, environment, {"seconds": [1.0]})
    assert (kill["left"], kill["complete"], kill["status"]) == (1, 1, 3)


def test_a_tool_that_breaks_down_is_begun_anew_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "tools")
    compare_peers = importlib.import_module("compare_peers")
    killed, whole = watch.Watched(7.0, 2**34, -9), watch.Watched(9.0, 2**30, 0)
    ends, results = [killed, whole], [{}, {0: {"image_AUROC": 0.9, "seconds": 1.0}}]

    def run(command, place, variables):
        (place / "output.txt").open("x").close()  # in a folder of its own
        return ends.pop(0)

    monkeypatch.setattr(compare_peers, "watch", run)
    tool = tools.Tool("other", {}, lambda place, images, given: None, ("none",), lambda place, given: results.pop(0))
    found = {"packages": {}, "seconds": [], "memory": 0, "broken": []}
    compare_peers._run(tool, tmp_path / "1", tmp_path, grid.GRID[:1], {}, found)
    assert (found["seconds"], found["memory"]) == ([9.0], 2**30), "those of the run that was whole"
    figures = copy.deepcopy(MADE_UP)
    assert "begun anew" not in page.tables(figures)
    figures["tools"]["other"]["broken"] = found["broken"]
    assert "begun anew: other after 7 s (status -9, 16.0 GiB, 0 results left)." in page.tables(figures)
    ends, results = [killed] * compare_peers.ATTEMPTS, [{}] * compare_peers.ATTEMPTS
    with pytest.raises(InputError, match="other ended with status -9"):
        compare_peers._run(tool, tmp_path / "2", tmp_path, grid.GRID[:1], {}, found)


def test_where_another_tool_is_better_the_page_says_so():
    sentence = next(line for line in page.tables(MADE_UP).splitlines() if line.startswith("Where others"))
    found = ["other took 50% of the memory", "other had the higher image AUROC 1 of 2 times", "reads paper (other)"]
    assert sentence == f"Where others are better: {'; '.join(found)}."


def test_only_the_tables_of_the_page_are_written(tmp_path):
    copy = tmp_path / "peers.md"
    copy.write_text(PAGE)
    page.write(MADE_UP, copy)
    page.write(MADE_UP, copy)
    written = copy.read_text()
    assert written.partition(page.BEGIN)[0] == PAGE.partition(page.BEGIN)[0]
    assert written.partition(page.END)[2] == PAGE.partition(page.END)[2]
    assert written.count("| this project | 20 |") == 1


@pytest.mark.parametrize("tool", ["this project", "anomalib by hand", "anomalib benchmark", "imgad"])
def test_every_question_has_an_answer_of_each_tool_whose_line_is_there(tool):
    if tool == "imgad" and not tools.ENVIRONMENT.is_dir():
        folder = None  # imgad is installed by `make compare-peers` alone
    else:
        folder = tools.package_folder(tool)
    for answers in facts.FACTS.values():
        answer, file, text = answers[tool]
        assert answer.split(":")[0] in ("yes", "no", "in part")
        assert folder is None or facts.find_line(folder / file, text) > 0


def test_a_line_that_is_gone_stops_the_comparison(tmp_path):
    (tmp_path / "a.py").write_text("one\ntwo\n")
    assert facts.find_line(tmp_path / "a.py", "two") == 2
    with pytest.raises(ValueError, match="no longer has 'three'"):
        facts.find_line(tmp_path / "a.py", "three")


def test_our_notebook_has_a_cell_for_each_configuration(tmp_path):
    grid.write_own(tmp_path, tmp_path / "images", grid.GRID)
    cells = read_notebook(tmp_path / "grid.ipynb").cells
    assert [cell.detector for cell in cells] == [name for name, _ in grid.GRID]


def test_results_of_the_pipeline_are_in_the_order_of_the_grid(tmp_path):
    given = [("Padim", {}), ("Patchcore", {}), ("Padim", {})]
    for name, values in {"Padim": (0.1, 0.3), "Patchcore": (0.2,)}.items():
        place = tmp_path / name / "runs" / "benchmark" / "2026"
        place.mkdir(parents=True)
        with open(place / "results.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["image_AUROC", "job_duration"])
            writer.writeheader()
            writer.writerows({"image_AUROC": value, "job_duration": 1} for value in values)
    found = tools.pipeline_results(tmp_path, given)
    assert {number: row["image_AUROC"] for number, row in found.items()} == {0: 0.1, 1: 0.2, 2: 0.3}


@pytest.mark.slow
def test_a_command_is_killed_with_all_that_it_has_started(tmp_path):
    script = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    print(child.pid, flush=True)
    time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    watched = watch.watch(command, tmp_path, watch.clean_environment(), kill_after=2)
    assert watched.status is None and watched.seconds < 30
    child = int((tmp_path / "output.txt").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_memory_is_the_sum_over_all_processes(tmp_path):
    holds = "import time; held = b'x' * 100_000_000; time.sleep(2)"
    script = f"import subprocess, sys\nfor _ in range(2): child = subprocess.Popen([sys.executable, '-c', {holds!r}])\n"
    watched = watch.watch([sys.executable, "-c", script + "child.wait()"], tmp_path, watch.clean_environment())
    assert watched.status == 0 and 200_000_000 < watched.memory < 350_000_000


@pytest.mark.slow
def test_the_comparison_says_what_it_takes_before_anything_is_measured():
    command = [sys.executable, str(paths.ROOT / "tests" / "tools" / "compare_peers.py"), "--configurations", "9"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.strip().endswith("valid: 2 or more images, 1 or more rounds, 1 to 5 configurations")
