"""What lies in the cache is what was put there, or nothing: whatever happened to the files meanwhile."""

import os
import subprocess
import sys
import time
from multiprocessing import Process
from types import SimpleNamespace

import pytest
import torch

from training_code.foundation.cache import LIMIT_VARIABLE, CostToMake, TensorCache, content_key
from training_code.foundation.errors import InputError

KEY = "ab" * 32


def _files(cache):
    return sorted(path for path in cache.folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_as_they_were(tmp_path, dtype):
    cache = TensorCache(tmp_path)
    tensors = {"a": torch.arange(12).reshape(3, 4).to(dtype).T, "b": torch.zeros(0, 2, dtype=dtype)}
    assert cache.get(KEY) is None
    assert cache.put(KEY, tensors)
    found = cache.get(KEY)
    assert set(found) == {"a", "b"}
    for name, tensor in found.items():
        assert tensor.dtype == dtype and torch.equal(tensor, tensors[name])


@pytest.mark.parametrize("harm", ["cut", "flipped", "emptied", "text"])
def test_a_damaged_file_counts_as_missing_and_is_written_again(tmp_path, harm):
    cache = TensorCache(tmp_path)
    cache.put(KEY, {"a": torch.arange(1000.0)})
    (path,) = _files(cache)
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[-100] ^= 1
    path.write_bytes({"cut": content[:-9], "flipped": content, "emptied": b"", "text": b"hello"}[harm])
    assert cache.get(KEY) is None
    assert cache.put(KEY, {"a": torch.arange(1000.0)})
    assert torch.equal(cache.get(KEY)["a"], torch.arange(1000.0))


def test_the_least_recently_used_goes_first_and_the_limit_holds(tmp_path):
    cache = TensorCache(tmp_path, limit=100_000)
    keys = [f"{number:064x}" for number in range(40)]
    now = time.time()
    for age, key in enumerate(keys):
        cache.put(key, {"a": torch.full((2000,), float(age))})  # 8 kB each
        path = cache._path(key)
        if path.exists():
            os.utime(path, (now - 10_000 + age, now - 10_000 + age))
        assert age == 0 or cache.get(keys[0]) is not None  # being read keeps it
    assert sum(path.stat().st_size for path in _files(cache)) <= 100_000 + 100_000 / 50 + 8_500
    assert cache.get(keys[-1]) is not None and cache.get(keys[1]) is None


def test_what_is_cheap_to_make_again_goes_first_however_lately_it_was_used(tmp_path):
    cache = TensorCache(tmp_path, limit=100_000)
    kinds = [CostToMake.SELECTED, CostToMake.FEATURES, CostToMake.DECODED]
    keys = {
        (kind, number): f"{index:02x}" * 32
        for index, (kind, number) in enumerate((k, n) for k in kinds for n in range(4))
    }
    now = time.time()
    for age, ((kind, _), key) in enumerate(keys.items()):
        cache.put(key, {"a": torch.zeros(1900)}, kind)  # 8 kB each, the most expensive ones first
        os.utime(cache._path(key), (now - 1000 + age, now - 1000 + age))

    def left(kind):
        return sum(cache._path(keys[kind, number]).exists() for number in range(4))

    cache.put("f0" * 32, {"a": torch.zeros(5000)})  # 20 kB
    assert [left(kind) for kind in kinds] == [4, 4, 1] and not cache._path(keys[CostToMake.DECODED, 0]).exists()
    cache.put("f1" * 32, {"a": torch.zeros(6000)})
    assert [left(kind) for kind in kinds] == [4, 1, 0] or [left(kind) for kind in kinds] == [4, 2, 0]
    for key in keys.values():
        found = cache.get(key)
        assert found is None or found["a"].shape == (1900,)


def test_what_nobody_used_for_a_week_goes_before_what_is_used(tmp_path):
    cache = TensorCache(tmp_path, limit=100_000)
    cache.put("aa" * 32, {"a": torch.zeros(10_000)})
    cache.put("bb" * 32, {"a": torch.zeros(10_000)}, CostToMake.DECODED)
    long_ago = time.time() - 8 * 86400
    os.utime(cache._path("aa" * 32), (long_ago, long_ago))
    cache.put("cc" * 32, {"a": torch.zeros(10_000)}, CostToMake.FEATURES)
    assert [cache.get(key * 32) is None for key in ("aa", "bb", "cc")] == [True, False, False]


def test_the_capacity_is_the_limit_or_half_of_what_would_be_free_without_the_entries(tmp_path, monkeypatch):
    assert TensorCache(tmp_path / "not made yet", limit=100_000).capacity() == 100_000
    cache = TensorCache(tmp_path, limit=100_000)
    cache.put(KEY, {"a": torch.zeros(5000)})
    taken = _files(cache)[0].stat().st_size
    for free, expected in ((10**9, 100_000), (30_000, (taken + 30_000) // 2), (0, taken // 2)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert cache.capacity() == expected


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    cache = TensorCache(tmp_path, limit=100)
    assert not cache.put(KEY, {"a": torch.zeros(1000)}) and not _files(cache)


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("")
    cache = TensorCache(tmp_path / "file" / "below")
    assert not cache.put(KEY, {"a": torch.zeros(3)}) and cache.get(KEY) is None


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training_code.foundation.cache.save_file", full)
    cache = TensorCache(tmp_path)
    assert not cache.put(KEY, {"a": torch.zeros(3)}) and not _files(cache)


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_no_entry_and_its_remains_are_swept(tmp_path):
    script = (
        "import sys, time, torch, training_code.foundation.cache as c\n"
        "save = c.save_file\n"
        "def slow(*args):\n"
        "    save(*args); print('written', flush=True); time.sleep(60)\n"
        "c.save_file = slow\n"
        f"c.TensorCache(__import__('pathlib').Path({str(tmp_path)!r})).put({KEY!r}, {{'a': torch.zeros(10)}})\n"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    cache = TensorCache(tmp_path)
    (left,) = _files(cache)
    assert cache.get(KEY) is None and left.suffix == ".tmp"
    os.utime(left, (1, 1))
    cache.put(KEY, {"a": torch.ones(10)})
    assert not left.exists() and torch.equal(cache.get(KEY)["a"], torch.ones(10))


def _write(folder, number):
    cache = TensorCache(folder, limit=200_000)
    for round_ in range(60):
        key = f"{round_ % 30:064x}"
        cache.put(key, {"a": torch.full((2000,), float(round_ % 30))})
        found = cache.get(f"{(round_ * 7) % 30:064x}")
        assert found is None or torch.equal(found["a"], torch.full((2000,), float((round_ * 7) % 30)))


def test_processes_that_write_the_same_entries_at_once_do_not_disturb_each_other(tmp_path):
    processes = [Process(target=_write, args=(tmp_path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert all(path.suffix == ".safetensors" for path in _files(TensorCache(tmp_path)))


def test_content_tells_tensors_apart_and_layout_does_not():
    tensor = torch.arange(12.0).reshape(3, 4)
    keys = {content_key(other) for other in (tensor, tensor + 1, tensor.double(), tensor.reshape(4, 3), -0.0 * tensor)}
    assert len(keys) == 5
    assert content_key(tensor.T.contiguous().T) == content_key(tensor)


@pytest.mark.parametrize("text", ["-1", "much", "nan", "inf"])
def test_a_wrong_limit_is_refused(monkeypatch, text):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(InputError, match=f"{LIMIT_VARIABLE}='{text}' is no size; valid: a number of GiB"):
        TensorCache()


def test_the_limit_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert TensorCache().limit == 2**29
