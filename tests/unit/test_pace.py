"""What keeps `make check` under a minute: nothing heavy is imported to collect tests, and slow tests are marked."""

import itertools
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from helpers import late_imports, pace

from training_code.foundation import paths

NUMBERS = itertools.count()  # each made-up library is imported once


def _run(marker=None, chosen="not slow"):
    """Pass a test of a twentieth of a second through the plugin, in a run of the tests that are ``chosen``."""
    option = SimpleNamespace(usepdb=False, markexpr=chosen)
    item = SimpleNamespace(config=SimpleNamespace(option=option), get_closest_marker=lambda name: name == marker)
    call = pace.pytest_runtest_call(item)
    next(call)
    time.sleep(0.05)
    call.send(None)


def test_a_test_that_takes_too_long_fails_unless_it_is_marked(monkeypatch):
    monkeypatch.setattr(pace, "PRESSURE", paths.ROOT / "nowhere")
    monkeypatch.setattr(pace, "_seconds", lambda wall, processor, contended: wall)
    monkeypatch.setattr(pace, "_slowness", lambda: 1.0)
    monkeypatch.setattr(pace, "LIMIT", 0.04)
    with pytest.raises(pytest.fail.Exception, match="took 0.[01] s, more than the 0 s of a test .* not marked slow"):
        _run()
    with pytest.raises(StopIteration):
        _run("slow")
    with pytest.raises(StopIteration):
        _run(chosen="")  # of the whole suite, where neighbors may have slowed it
    monkeypatch.setattr(pace, "LIMIT", 0.01)
    with pytest.raises(pytest.fail.Exception, match="not marked slow"):
        _run(chosen="")
    monkeypatch.setattr(pace, "_slowness", lambda: 20.0)
    with pytest.raises(StopIteration):
        _run()
    monkeypatch.setattr(pace, "LIMIT", 60)
    with pytest.raises(StopIteration):
        _run()


def test_the_limit_grows_as_a_known_piece_of_work_takes_longer_and_never_shrinks(monkeypatch):
    clock = iter([1.0, 1.0 + 5 * pace.PIECE, 2.0, 2.0 + pace.PIECE / 5])
    monkeypatch.setattr(pace.time, "process_time", lambda: next(clock))
    assert pace._slowness() == pytest.approx(5)
    assert pace._slowness() == 1


@pytest.mark.parametrize(
    ("wall", "processor", "contended", "seconds"),
    [
        (3.0, 0.1, 0.0, 3.0),  # it sleeps
        (3.0, 2.9, 0.0, 3.0),  # it computes
        (3.0, 0.5, 2.5, 0.5),  # another program has the processor
        (9.0, 3.0, 8.0, 3.0),  # both
        (1.5, 2.8, 0.0, 1.5),  # two threads
    ],
)
def test_what_other_programs_take_does_not_count(wall, processor, contended, seconds):
    assert pace._seconds(wall, processor, contended) == seconds


def test_where_nothing_tells_of_other_programs_processor_time_counts(monkeypatch):
    monkeypatch.setattr(pace, "PRESSURE", paths.ROOT / "nowhere")
    wall, _, contended = pace._read_clocks()
    assert wall == contended


@pytest.fixture
def collect(tmp_path, monkeypatch):
    """Return a function that executes a test module as if it were collected, beside a library that is made up."""
    library = tmp_path / f"library{next(NUMBERS)}"
    (library / "deep").mkdir(parents=True)
    (library / "__init__.py").write_text("NAMES = ['a', 'b']\nclass Network: pass\n")
    (library / "deep" / "__init__.py").write_text("VERSION = 3\n")
    monkeypatch.syspath_prepend(tmp_path)

    def execute(source):
        module = {"__name__": "test_made_up", "__file__": f"{late_imports.TESTS}/unit/test_made_up.py"}
        with monkeypatch.context() as patch:
            patch.setattr("builtins.__import__", late_imports._late_import)
            patch.setattr(late_imports, "_collecting", True)
            exec(source.replace("library", library.name), module)
        return module, library.name

    return execute


def test_imports_wait_for_the_first_test_and_then_are_where_the_module_kept_them(collect):
    module, library = collect("""
import os
import library.deep
from library import NAMES, Network as Other
from library import deep
CASES = {"first": [(Other, NAMES)]}
""")
    assert library not in sys.modules and module["os"] is os
    late_imports.import_now(module)
    real = sys.modules[library]
    assert module["Other"] is real.Network and module["CASES"] == {"first": [(real.Network, ["a", "b"])]}
    assert module[library].deep is module["deep"] is sys.modules[f"{library}.deep"]


def test_a_registry_is_imported_when_tests_are_parametrized_by_it(collect):
    module, _ = collect("""
from library import NAMES
from library.deep import VERSION
CASES = [name for name in NAMES if name != "a"] + NAMES
TEXT = f"{VERSION}, {VERSION + 1}"
""")
    assert module["CASES"] == ["b", "a", "b"] and module["TEXT"] == "3, 4"


def test_what_would_import_a_heavy_library_is_told_with_its_name(collect, monkeypatch):
    monkeypatch.setattr(late_imports, "HEAVY", {f"library{number}" for number in range(100)})
    with pytest.raises(pytest.UsageError, match="test_made_up.py uses Network while .* imports library"):
        collect("from library import Network\nclass Mine(Network): pass")
    with pytest.raises(pytest.UsageError, match="test_made_up.py uses NAMES while .* imports library"):
        collect("from library import NAMES\nCASES = list(NAMES)")


@pytest.mark.slow
def test_to_collect_all_tests_nothing_heavy_is_imported():
    code = (
        "import sys, pytest; from helpers.late_imports import HEAVY; "
        "status = pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider']); "
        "sys.exit(status or ' '.join(HEAVY & set(sys.modules)) or 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT / "tests")}
    collected = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, env=environment, capture_output=True)
    assert collected.returncode == 0, collected.stderr.decode()
