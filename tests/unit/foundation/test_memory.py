"""How much memory a run may take."""

import resource
import subprocess
import sys

import pytest

from training_code.foundation import memory
from training_code.foundation.memory import GIB, allowed, allowing, available_memory, memory_limit, readable


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 24 GiB whose control groups are folders of the test."""
    (tmp_path / "meminfo").write_text(f"MemTotal:       {24 * 2**20} kB\nMemFree:  1 kB\n")
    (tmp_path / "cgroup").write_text("0::/batch/job\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    (tmp_path / "groups/batch/job").mkdir(parents=True)
    available_memory.cache_clear()
    yield tmp_path
    available_memory.cache_clear()


def test_without_a_limit_a_run_takes_60_percent_of_the_machine(machine):
    assert memory_limit(None) == pytest.approx(0.6 * 24 * GIB, abs=1)


def test_what_a_person_allows_holds(machine):
    assert memory_limit(1.5) == 1.5 * GIB


def test_what_is_allowed_holds_in_the_block_and_not_behind_it(machine):
    with allowing(GIB), allowing(2 * GIB):
        assert allowed() == 2 * GIB
    assert allowed() == memory_limit(None)


def test_the_smallest_group_above_the_process_decides(machine):
    (machine / "groups/batch/memory.max").write_text(f"{8 * GIB}\n")
    (machine / "groups/batch/job/memory.max").write_text("max\n")
    assert available_memory() == 8 * GIB


def test_groups_of_version_1_count_too(machine):
    (machine / "cgroup").write_text("5:cpu,cpuacct:/other\n3:memory:/job\n")
    (machine / "groups/memory/job").mkdir(parents=True)
    (machine / "groups/memory/job/memory.limit_in_bytes").write_text(f"{2 * GIB}\n")
    assert available_memory() == 2 * GIB


def test_a_limit_of_the_process_counts():
    code = "from training_code.foundation.memory import available_memory; print(available_memory())"
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (2 * GIB, 2 * GIB))  # noqa: E731
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit, check=True)
    assert int(run.stdout) == 2 * GIB


def test_sizes_are_written_as_a_person_writes_them():
    assert [readable(size) for size in (1.26 * GIB, 68 * GIB, 512 * 2**20)] == ["1.3 GiB", "68 GiB", "512 MiB"]
