"""What a run was taught is there whole or not at all, whenever a process is killed, and the run stays as it is."""

import pytest
from helpers.kills import RUN, killed_before, make_version, version_of
from helpers.records import make_record

from training_code.records import leases
from training_code.records.reading import write_record
from training_code.records.store import RunStore


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 0.6)
    monkeypatch.setattr(leases, "_POLL", 0.05)
    store = RunStore(tmp_path / "results")
    make_version(store, 1)
    (store.folder(RUN) / "exports").mkdir()
    (store.folder(RUN) / "exports" / "model.onnx").write_text("of a user")
    return store


def _teach(store, words):
    store = RunStore(store.results)
    with store.locked(RUN), store.teaching(RUN) as place:
        (place / "images").mkdir()
        (place / "images" / "a.png").write_text(words)
        (place / "model.ckpt").write_text(words)
        write_record(place, make_record(RUN, metrics={"image_AUROC": 0.5}))


def _forget(store):
    store = RunStore(store.results)
    with store.locked(RUN):
        store.forget_taught(RUN)


def _taught(store):
    """Return what is taught, as all of its files say; None for nothing. The run is as it was trained."""
    assert version_of(store) == 1
    assert (store.folder(RUN) / "exports" / "model.onnx").read_text() == "of a user"
    place = store.folder(RUN) / "taught"
    if not place.exists():
        return None
    assert sorted(path.name for path in place.iterdir()) == ["images", "model.ckpt", "run.json"]
    (said,) = {(place / name).read_text() for name in ("model.ckpt", "images/a.png")}
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "action", "after"),
    [
        (None, lambda store: _teach(store, "one"), "one"),
        ("one", lambda store: _teach(store, "two"), "two"),
        ("one", _forget, None),
    ],
    ids=["taught", "taught again", "undone"],
)
def test_a_kill_leaves_what_was_before_or_what_comes_after(store, first, action, after):
    count = 0
    while True:
        _forget(store) if first is None else _teach(store, first)
        assert _taught(store) == first
        killed = killed_before(count, lambda: action(store))
        assert _taught(store) in (first, after)
        count += 1
        if not killed:
            break
    assert _taught(store) == after and count > 10
