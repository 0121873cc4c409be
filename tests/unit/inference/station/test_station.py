"""Parts at a line: each is judged once, no photograph is lost, and the ledger says what lies in the folders."""

import errno
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers.station import make_station, put, work_off

from inference_code.station import filing, running, station
from inference_code.station.alarms import stored
from inference_code.station.grouping import ByFolder, Expected, InTurn
from inference_code.station.inbox import Photograph
from inference_code.station.ledger import Ledger
from inference_code.station.metrics import station_metrics
from inference_code.station.schema import VERSIONS, WAITING, Correction
from inference_code.station.watches import SHARE
from training_code.foundation import paths
from training_code.foundation.errors import InputError


class Clock:
    """Seconds that a test moves on; the present ones at first, since files have them."""

    def __init__(self):
        self.now = time.time() + 10

    def __call__(self):
        return self.now


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def _verdicts(output):
    return {path.parent.name: json.loads(path.read_text()) for path in output.glob("*/*/verdict.json")}


def _originals(output):
    return sorted(path.name for path in output.glob("*/*/*_*.png"))


def test_two_views_become_a_part_with_a_verdict_and_its_photographs_move_to_its_folder(inbox, output):
    put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.7), put(inbox, "b_1.png", 0.1), put(inbox, "b_2.png", 0.3)
    one = make_station(inbox, output)
    work_off(one)
    found = _verdicts(output)
    assert {name: (verdict["verdict"], verdict["reason"]) for name, verdict in found.items()} == {
        "a": ("bad", "2"),
        "b": ("good", ""),
    }
    assert found["a"]["score"] == 0.7 and found["a"]["rule"]["name"] == "any"
    views = {view["view"]: view for view in found["a"]["photographs"]}
    assert views["2"]["file"] == "a_2.png" and views["2"]["abnormal"] and views["2"]["overlay"] == "2.overlay.png"
    assert _originals(output) == ["a_1.png", "a_2.png", "b_1.png", "b_2.png"] and not list(inbox.iterdir())
    assert one.ledger.totals() == {"good": 1, "bad": 1, "incomplete": 0, "unreadable": 0} and one.idle


def test_a_part_that_lacks_a_view_is_never_good_and_what_comes_later_is_late(inbox, output):
    clock, said = Clock(), []
    one = make_station(inbox, output, clock=clock, say=said.append)
    put(inbox, "a_1.png", 0.2)
    work_off(one)
    assert not _verdicts(output), "it still waits"
    clock.now += 6
    work_off(one)
    assert _verdicts(output)["a"]["verdict"] == "incomplete"
    assert _verdicts(output)["a"]["reason"] == "did not come: 1 of 2 views"
    put(inbox, "a_2.png", 0.9), put(inbox, "a_1.png", 0.9)
    clock.now += 1
    work_off(one)
    states = {view["file"]: view["state"] for view in _verdicts(output)["a"]["photographs"]}
    assert states == {"a_1.png": "found", "late_a_2.png": "late", "doubled_a_1.png": "doubled"}
    assert _verdicts(output)["a"]["verdict"] == "incomplete" and one.ledger.totals()["incomplete"] == 1
    assert (next(output.glob("*/a")) / "a_1.png").read_text() == "0.2", "the first one was not written over"
    assert "a_2.png: a was judged before it came" in said


def test_a_view_that_came_while_no_station_was_there_is_waited_for(inbox, output):
    clock = Clock()
    put(inbox, "a_1.png", 0.2)
    first = make_station(inbox, output, clock=clock)
    work_off(first)
    first.ledger.close()
    clock.now += 100
    second = make_station(inbox, output, clock=clock, settle=2.0)
    put(inbox, "a_2.png", 0.2)
    os.utime(inbox / "a_2.png", (clock.now, clock.now))
    work_off(second)
    assert not _verdicts(output), "it is not complete yet"
    clock.now += 2
    work_off(second)
    assert _verdicts(output)["a"]["verdict"] == "good"


def test_a_bad_view_makes_a_part_bad_although_another_one_is_missing(inbox, output):
    clock = Clock()
    one = make_station(inbox, output, clock=clock)
    put(inbox, "a_1.png", 0.9)
    work_off(one)
    clock.now += 6
    work_off(one)
    assert _verdicts(output)["a"]["verdict"] == "bad"


def test_an_unreadable_view_is_looked_at_again_when_it_changes_and_otherwise_told(inbox, output):
    clock = Clock()
    one = make_station(inbox, output, clock=clock)
    for part in "ab":
        put(inbox, f"{part}_1.png", 0.2), put(inbox, f"{part}_2.png", "cut sh")
    work_off(one)
    assert not _verdicts(output)
    (inbox / "a_2.png").write_text("0.6")
    work_off(one)
    assert _verdicts(output)["a"]["verdict"] == "bad"
    clock.now += 6
    work_off(one)
    assert _verdicts(output)["b"]["verdict"] == "unreadable"
    assert _verdicts(output)["b"]["reason"] == "cannot be read: 2"
    assert [view.get("error") for view in _verdicts(output)["b"]["photographs"]][1].startswith("could not convert")
    assert len(_originals(output)) == 4


def test_a_name_that_tells_no_part_is_told_and_kept(inbox, output):
    said = []
    one = make_station(inbox, output, expected=Expected.of("1,2"), say=said.append)
    put(inbox, "nothing.png", 0.2), put(inbox, "a_7.png", 0.2)
    work_off(one)
    assert sorted(path.name for path in output.glob("*/unknown/*")) == ["a_7.png", "nothing.png"]
    assert "nothing.png: its name tells no part and view" in said
    assert "a_7.png: 7 is no view; valid: 1, 2" in said
    assert not any(one.ledger.totals().values())


def test_a_name_stands_for_a_new_part_once_its_time_is_over(inbox, output):
    clock = Clock()
    one = make_station(inbox, output, clock=clock)
    for _ in range(2):
        put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.2)
        work_off(one)
        clock.now += 3601
    assert one.ledger.totals()["good"] == 2 and len(_originals(output)) == 4
    assert len({path.parent for path in output.glob("*/*/verdict.json")}) == 2


def test_photographs_are_put_together_in_turn_and_a_restart_goes_on_with_the_open_part(inbox, output):
    way = {"grouping": InTurn(), "expected": Expected.of("top,side")}
    for number, score in enumerate((0.1, 0.2, 0.9)):
        os.utime(put(inbox, f"x_{number}.png", score), (number, number))
    first = make_station(inbox, output, **way)
    work_off(first)
    first.ledger.close()
    put(inbox, "x_3.png", 0.1)
    work_off(make_station(inbox, output, **way))
    found = _verdicts(output)
    assert {name: verdict["verdict"] for name, verdict in found.items()} == {"000001": "good", "000002": "bad"}
    assert [view["view"] for view in found["000002"]["photographs"]] == ["top", "side"]


def test_a_folder_is_a_part(inbox, output):
    put(inbox, "board 17/top.png", 0.1), put(inbox, "board 17/side.png", 0.1)
    work_off(make_station(inbox, output, grouping=ByFolder(), expected=Expected.of("top,side")))
    assert _verdicts(output)["board_17"]["part"] == "board 17"
    assert sorted(path.name for path in output.glob("*/board_17/*.png")) == [
        "side.overlay.png",
        "side.png",
        "top.overlay.png",
        "top.png",
    ]


def test_a_file_that_is_still_written_is_not_taken(inbox, output):
    clock = Clock()
    clock.now -= 10
    one = make_station(inbox, output, clock=clock, settle=1.0)
    with open(inbox / "a_1.png", "w") as file:
        file.write("0.")
        file.flush()
        for _ in range(3):
            clock.now += 0.4
            file.write("1")
            file.flush()
            os.utime(inbox / "a_1.png", (clock.now, clock.now))
            assert not one.step()
    clock.now += 1.1
    assert one.step()
    os.utime(put(inbox, "a_2.png", 0.1), (1, 1))  # renamed in, last changed long ago
    assert one.step()


def test_a_file_that_another_program_hides_while_it_writes_is_left_alone(inbox, output):
    for name in (".a_1.png", "a_1.png.part", "a_1.png.tmp"):
        (inbox / name).write_text("0.1")
    one = make_station(inbox, output)
    assert not one.step() and len(list(inbox.iterdir())) == 3


@pytest.mark.parametrize("where", ["write_verdict", "move"])
def test_a_disk_that_is_full_for_a_while_loses_nothing(inbox, output, monkeypatch, capsys, where):
    put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.2)
    one, right, pauses = make_station(inbox, output), getattr(station, where), []

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def pause(_):
        pauses.append(1)
        if len(pauses) > 3:
            monkeypatch.setattr(station, where, right)

    monkeypatch.setattr(station, where, full)
    running.run(one, 0.0, once=True, pause=pause)
    assert _verdicts(output)["a"]["verdict"] == "good" and len(_originals(output)) == 2
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1 and "going on" in said


def test_a_ledger_that_does_not_fit_onto_the_disk_is_tried_again(inbox, output, capsys):
    one = make_station(inbox, output)
    (pages,) = one.ledger._connection.execute("PRAGMA page_count").fetchone()
    one.ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(200):
        put(inbox, f"{'x' * 60}{number}_1.png", 0.2), put(inbox, f"{'x' * 60}{number}_2.png", 0.2)

    def pause(_):
        one.ledger._connection.execute("PRAGMA max_page_count = 100000")

    running.run(one, 0.0, once=True, pause=pause)
    assert "full" in capsys.readouterr().err
    assert one.ledger.totals()["good"] == 200 and len(_originals(output)) == 400


def test_a_photograph_that_was_moved_before_a_kill_is_found_at_its_place(inbox, output, monkeypatch):
    put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.2)
    one = make_station(inbox, output)
    monkeypatch.setattr(Ledger, "note_moved", _killed)
    with pytest.raises(KeyboardInterrupt):
        work_off(one)
    monkeypatch.undo()
    put(inbox, "a_1.png", 0.8)  # another one under its name
    second = make_station(inbox, output)
    work_off(second)
    assert (next(output.glob("*/a")) / "a_1.png").read_text() == "0.2"
    assert (next(output.glob("*/a")) / "doubled_a_1.png").read_text() == "0.8"
    assert second.ledger.totals()["good"] == 1


def test_between_two_disks_a_photograph_is_copied_before_it_is_removed(inbox, output, monkeypatch):
    def another_disk(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.2)
    one = make_station(inbox, output)
    with monkeypatch.context() as patch:
        patch.setattr(filing.os, "rename", another_disk)
        patch.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            work_off(one)
    assert len(list(inbox.iterdir())) == 2
    work_off(make_station(inbox, output))
    assert not list(inbox.iterdir()) and _originals(output) == ["a_1.png", "a_2.png"]


def _killed(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", ".hidden", "a" * 300, "ü b", "CON"])
def test_a_part_of_any_name_stays_in_the_folder(inbox, output, name):
    one = make_station(inbox, output, grouping=ByFolder(), expected=Expected.of("1"))
    part = one._opened(name, 0.0)
    folder = output / part.folder
    assert folder.resolve().is_relative_to(output.resolve()) and len(Path(part.folder).parts) == 2
    folder.mkdir(parents=True)


def test_a_file_that_is_no_ledger_is_told(output):
    output.mkdir()
    (output / "station.sqlite").write_text("something else " * 100)
    with pytest.raises(InputError, match="station.sqlite cannot be used as a ledger"):
        Ledger(output / "station.sqlite")
    other = sqlite3.connect(output / "other.sqlite")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(InputError, match="version 99; valid: up to 2"):
        Ledger(output / "other.sqlite")


def test_a_ledger_of_the_first_version_keeps_its_verdicts_and_takes_corrections(output):
    output.mkdir()
    first = sqlite3.connect(output / "station.sqlite")
    for statement in VERSIONS[0]:
        first.execute(statement)
    first.execute(
        "INSERT INTO parts (name, folder, opened, judged, verdict, number) VALUES ('a', 'd/a', 1, 2, 'bad', 1)"
    )
    first.execute("PRAGMA user_version = 1")
    first.commit()
    first.close()
    ledger = Ledger(output / "station.sqlite")
    assert ledger.totals()["bad"] == 1
    ledger.correct(1, "good", "Anna", 3.0, "a hair")
    assert ledger.corrections() == [Correction(1, 1, "good", "Anna", 3.0, "a hair")]
    again = Ledger(output / "station.sqlite")
    assert again.totals()["bad"] == 1 and len(again.corrections()) == 1


def test_no_step_goes_through_the_whole_ledger_and_no_count_through_whole_rows(inbox, output, monkeypatch):
    put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.2), put(inbox, "b_1.png", 0.2)
    one, plans, queried = make_station(inbox, output), {}, Ledger._all

    def explained(self, query, *values):
        plans[query] = [row[3] for row in queried(self, f"EXPLAIN QUERY PLAN {query}", *values)]
        return queried(self, query, *values)

    monkeypatch.setattr(Ledger, "_all", explained)
    work_off(one)
    one.ledger.totals(time.time())
    assert len(plans) > 8
    few = r"SCAN \w+ USING (COVERING )?INDEX (sources|unfiled|open_parts)$"  # of what is open only
    scans = {step for plan in plans.values() for step in plan if re.match("SCAN (parts|photographs)", step)}
    assert not {step for step in scans if not re.match(few, step)}
    plans.clear()
    station_metrics(one.ledger)
    counts = [step for query, (step, *_) in plans.items() if "count(*)" in query]
    assert len(counts) == 3 and all("COVERING INDEX" in step for step in counts), counts
    one.ledger.close()


def test_a_step_does_not_take_longer_because_many_parts_wait(inbox, output):
    def statements(parts):
        """Return how often the ledger is asked in two steps that look at 16 of these photographs."""
        for number in range(parts):
            put(inbox, f"p{parts}-{number}_1.png", 0.2), put(inbox, f"p{parts}-{number}_2.png", 0.2)
        one, asked = make_station(inbox, output), []
        one.step()
        one.ledger._connection.set_trace_callback(asked.append)
        one.step(), one.step()
        one.ledger._connection.set_trace_callback(None)
        work_off(one)
        assert one.idle and one.ledger.totals()["good"] >= parts
        one.ledger.close()
        return len(asked)

    assert statements(100) <= statements(30) + 5


@pytest.mark.parametrize("query", ["looked_at", "last_opened", "unreadable", "to_move", "to_file", "waiting"])
def test_what_a_step_asks_of_a_backlog_costs_no_more_than_its_length(tmp_path, query):
    def instructions(parts):
        """Return hundreds of instructions of SQLite's machine for a query with so many parts of two views waiting."""
        ledger, hundreds = Ledger(tmp_path / f"{parts}.sqlite"), []
        with ledger.changing():
            for number in range(parts):
                part = ledger.open_part(f"p{number}", f"p{number}", 0.0)
                for view in "12":
                    photograph = Photograph(tmp_path / f"p{number}_{view}.png", 1, 1)
                    ledger.enter(photograph, part, view, WAITING, photograph.source.name, 0.0)
        ledger._connection.set_progress_handler(lambda: hundreds.append(1), 100)
        getattr(ledger, query)(*[16] * (query == "waiting"))
        ledger.close()
        return len(hundreds)

    assert instructions(800) <= 5 * max(1, instructions(200))


@pytest.mark.slow
def test_a_station_that_is_killed_ten_times_judges_every_part_once_and_loses_no_photograph(inbox, output, tmp_path):
    generator, parts = random.Random(0), 120
    command = [sys.executable, paths.ROOT / "tests" / "helpers" / "station.py", inbox, output, tmp_path / "lines.jsonl"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(paths.ROOT), str(paths.ROOT / "tests")))}
    waiting = [(f"p{number}_{view}.png", 0.9 * (number % 3 == view)) for number in range(parts) for view in (1, 2)]
    generator.shuffle(waiting)
    for kill in range(10):
        for name, score in waiting[kill::10]:
            put(inbox, name, score)
        process = subprocess.Popen([*command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (output / "station.sqlite").exists():
            time.sleep(0.01)
        time.sleep(0.3 + generator.uniform(0, 0.5))
        process.kill()
        process.wait()
    subprocess.run([*command], env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)
    ledger = Ledger(output / "station.sqlite")
    verdicts = [json.loads(path.read_text()) for path in output.glob("*/*/verdict.json")]
    assert Counter(verdict["part"] for verdict in verdicts) == {f"p{number}": 1 for number in range(parts)}
    assert dict(Counter(verdict["verdict"] for verdict in verdicts)) == {
        verdict: count for verdict, count in ledger.totals().items() if count
    }
    assert len(_originals(output)) == 2 * parts and not [path for path in inbox.iterdir() if path.suffix == ".png"]
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(1, parts + 1))
    assert {line["part"]: line["verdict"] for line in lines} == {one["part"]: one["verdict"] for one in verdicts}
    assert stored(ledger)["reading", SHARE].steps == parts, "watches have counted each part once"
