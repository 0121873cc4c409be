"""Kills of a process between two of its writes, wherever they are."""

import os
import sys
from collections.abc import Callable

from helpers.records import make_record
from training_code.records.reading import read_records
from training_code.records.store import RunStore

#: What Python says before it changes a file: https://docs.python.org/3/library/audit_events.html
WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "os.utime", "os.chmod")
KILLED = 9
RUN = "padim-resnet18-0123456789"


def killed_before(count: int, action: Callable[[], None]) -> bool:
    """Do ``action`` in another process that is killed before its write number ``count``, from 0; return whether it was.

    Opening a file for writing counts as one of its own, so that some kills leave files empty.
    """
    child = os.fork()
    if child == 0:
        left = count

        def step() -> None:
            nonlocal left
            if left == 0:
                os._exit(KILLED)
            left -= 1

        def look(event: str, arguments: tuple) -> None:
            opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in WRITES or opened:
                step()

        write = os.write  # of which Python says nothing
        os.write = lambda *arguments: (step(), write(*arguments))[1]
        try:
            sys.addaudithook(look)
            action()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), f"the process ended with {code}"
    return code == KILLED


def make_version(store: RunStore, version: int, run_id: str = RUN) -> None:
    """Make a run whose files all say which version they are of."""
    with store.locked(run_id), store.staging(run_id) as staging:
        for name in ("model.ckpt", "scores.csv"):
            (staging / name).write_text(str(version))
        (staging / "examples").mkdir()
        (staging / "examples" / "overview.png").write_text(str(version))
        store.note_stage(run_id, "testing")
        store.publish(staging, make_record(run_id, metrics={"image_AUROC": version / 10}))


def version_of(store: RunStore) -> int:
    """Return the version of the run, of which all files must be."""
    ((folder, record),), problems = read_records(store.results)
    assert not problems and folder == store.folder(RUN)
    found = {(folder / name).read_text() for name in ("model.ckpt", "scores.csv", "examples/overview.png")}
    assert found == {str(round(10 * record.metrics["image_AUROC"]))}, "a mixture"
    return int(found.pop())
