"""Runs are published whole, and locks of processes that are gone are taken over, on any machine."""

import os
import threading
import time

import pytest
from filelock._marker import OwnerRecord, encode_marker
from helpers.kills import RUN, killed_before, make_version, version_of
from helpers.records import make_record

from training_code.records import leases
from training_code.records.leases import LostLeaseError
from training_code.records.reading import read_records
from training_code.records.store import RunStore


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 0.6)
    monkeypatch.setattr(leases, "_POLL", 0.05)
    return RunStore(tmp_path / "results")


def _foreign(store: RunStore, host: str = "elsewhere") -> os.PathLike:
    """Write the lease of a process on another machine."""
    path = store.results / "locks" / f"{RUN}.lease"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_marker(OwnerRecord(7, host, "lease", "t" * 32, leases.LEASE, 1)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_kill_between_any_two_writes_loses_mixes_and_blocks_nothing(store, again):
    count = 0
    if again:
        make_version(store, 1)
    while killed_before(count, lambda: make_version(store, 2)):
        runs, _ = read_records(store.results)
        assert (version_of(store) if runs else 0) in ({1, 2} if again else {0, 2}), count
        began = time.monotonic()
        make_version(store, 1)
        assert version_of(store) == 1 and time.monotonic() - began < 2 * leases.LEASE + 1, "blocked"
        store.sweep_up()
        names = {path.name for path in (store.results / "runs").iterdir()}
        assert names == {RUN} and not list((store.results / "locks").glob("*.stage.json"))
        if not again:
            for path in (store.folder(RUN), *store.results.glob("locks/*")):
                _remove(path)
        count += 1
    assert count > 15 and version_of(store) == 2


def _remove(path):
    for inner in sorted(path.rglob("*"), reverse=True) if path.is_dir() else ():
        inner.rmdir() if inner.is_dir() else inner.unlink()
    path.rmdir() if path.is_dir() else path.unlink()


def test_what_a_person_put_into_the_folder_of_a_run_stays_when_it_is_made_again(store):
    make_version(store, 1)
    folder = store.folder(RUN)
    (folder / "note.txt").write_text("looked at by hand")
    (folder / "exported").mkdir()
    (folder / "exported" / "model.onnx").write_text("x")
    (folder / "tensorboard").mkdir()
    make_version(store, 2)
    assert version_of(store) == 2 and not (folder / "tensorboard").exists(), "it was the older run's"
    assert (folder / "note.txt").read_text() == "looked at by hand"
    assert (folder / "exported" / "model.onnx").read_text() == "x"


def test_intermediate_files_of_training_are_not_published(store):
    with store.locked(RUN), store.staging(RUN) as staging:
        (staging / "engine" / "Padim").mkdir(parents=True)
        (staging / "notes.tmp").write_text("x")
        store.publish(staging, make_record(RUN))
    assert [path.name for path in store.folder(RUN).iterdir()] == ["run.json"]


def test_other_users_may_read_a_published_run(store):
    before = os.umask(0o022)
    try:
        make_version(store, 1)
    finally:
        os.umask(before)
    assert store.folder(RUN).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"filelock/2\npid=", b"7\nelsewhere\n", b"\xff\xfe"])
def test_the_lock_of_a_kill_between_open_and_write_is_taken_over(store, content):
    path = _foreign(store)
    path.write_bytes(content)
    assert store.is_locked(RUN), "it may be somebody who is just about to write it"
    deadline = time.monotonic() + 5
    while store.is_locked(RUN) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not store.is_locked(RUN)


def test_the_lock_of_a_machine_that_is_gone_is_taken_over_by_a_process_that_only_asks(store, capsys):
    _foreign(store)
    began = time.monotonic()
    assert store.is_locked(RUN) and store.holder(RUN) == "process 7 on elsewhere"
    while store.is_locked(RUN):
        time.sleep(0.05)
    assert leases.LEASE <= time.monotonic() - began < 5
    _foreign(store)
    make_version(store, 1)
    assert "is being made by process 7 on elsewhere; waiting for it" in capsys.readouterr().out
    assert version_of(store) == 1


@pytest.mark.slow
def test_the_lock_of_a_machine_that_works_on_the_run_is_left_alone(store):
    path, stop = _foreign(store), threading.Event()

    def beat():
        while not stop.wait(0.1):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        deadline = time.monotonic() + 3 * leases.LEASE
        while time.monotonic() < deadline:
            assert store.is_locked(RUN)
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()


def test_a_process_that_was_frozen_publishes_nothing_over_the_one_that_took_its_run_over(store):
    make_version(store, 1)
    with pytest.raises(LostLeaseError, match="taken over by another process"):
        with store.locked(RUN), store.staging(RUN) as staging:
            (store.results / "locks" / f"{RUN}.lease").unlink()
            other = RunStore(store.results)
            make_version(other, 2)
            (staging.parent / staging.name).mkdir(exist_ok=True)
            store.publish(staging, make_record(RUN, metrics={"image_AUROC": 0.3}))
    assert version_of(store) == 2


def test_leftovers_of_kills_are_removed_and_runs_in_progress_stay(store):
    make_version(store, 1)
    runs, old = store.results / "runs", time.time() - 7200
    (runs / ".draem-1.abcd").mkdir()
    for path, age in ((runs / RUN / ".run.abcd.tmp.json", old), (runs / RUN / ".run.beef.tmp.json", time.time())):
        path.write_text("half")
        os.utime(path, (age, age))
    with RunStore(store.results).locked("padim-2"):
        (runs / ".padim-2.abcd").mkdir()
        store.sweep_up()
    assert sorted(path.name for path in runs.iterdir()) == [".padim-2.abcd", RUN]
    assert [path.name for path in (runs / RUN).glob(".*")] == [".run.beef.tmp.json"]
    assert version_of(store) == 1


def test_a_failure_replaces_no_result_and_a_result_every_failure(store):
    failure = make_record(RUN, status="failed", metrics={}, error="x")
    with store.locked(RUN):
        store.write_failure(failure)
    assert store.record(RUN).status == "failed" and store.stored(RUN) is None
    make_version(store, 1)
    with store.locked(RUN):
        store.write_failure(failure)
    assert version_of(store) == 1
