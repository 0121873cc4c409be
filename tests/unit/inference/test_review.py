"""People see what was corrected at a line: the last word on each part, and nothing that was taken back."""

import csv
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from helpers.corrections import file_part, make_ledger
from helpers.data import save, texture

from inference_code.review import main
from inference_code.station.schema import VERSIONS
from training_code.data.corrected import VERSION, read_corrected
from training_code.foundation import paths
from training_code.foundation.errors import run_command


@pytest.fixture
def station(tmp_path):
    image = save(tmp_path / "image.png", texture(np.random.default_rng(0)))
    ledger = make_ledger(tmp_path / "line")
    for name, verdict in (("a", "bad"), ("b", "good"), ("c", "bad"), ("d", "bad"), ("e", "unreadable")):
        file_part(ledger, name, verdict, {"top": (image, verdict == "bad")})
    ledger.correct(1, "bad", "Anna", 10.0)
    ledger.correct(2, "bad", "Boris", 20.0, "a crack\nbelow")
    ledger.correct(3, "good", "Boris", 30.0)
    ledger.correct(3, None, "Boris", 31.0)
    ledger.correct(1, "good", "Anna", 40.0, "a hair")
    ledger.correct(5, "good", "Anna", 50.0)
    return ledger.path.parent


def test_of_a_part_the_last_correction_counts_and_one_taken_back_is_gone(station):
    found = [(part.name, part.found, part.said, part.kind, part.person) for part in read_corrected(station)]
    assert found == [
        ("b", "good", "bad", "miss", "Boris"),
        ("a", "bad", "good", "false alarm", "Anna"),
        ("e", "unreadable", "good", "decided", "Anna"),
    ]


def test_the_command_lists_them_with_their_totals_and_in_a_file(station, tmp_path, capsys):
    assert run_command(main, [str(station), "--csv", str(tmp_path / "new" / "corrections.csv")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2] == "1 false alarms, 1 misses, 1 others that people judged"
    assert len(shown) == 6 and "a crack below" in shown[1]  # a note of two lines takes one
    with open(tmp_path / "new" / "corrections.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["part"], row["day"], row["that is"]) for row in rows][0] == ("b", "2026-11-26", "miss")
    assert rows[0]["note"] == "a crack\nbelow" and rows[1]["folder"] == "2026-11-26/a"


def test_what_strangers_wrote_is_no_formula_and_gives_the_terminal_no_orders(station, tmp_path, capsys):
    ledger = make_ledger(station)
    ledger.correct(4, "good", "\x1b[2JEve", 60.0, '=HYPERLINK("http://example.org")\x07')
    ledger.correct(5, "good", "-5", 61.0, "@SUM(A1)")
    assert run_command(main, [str(station), "--csv", str(tmp_path / "corrections.csv")]) == 0
    shown = capsys.readouterr().out
    assert "[2JEve" in shown and "\x1b" not in shown and "\x07" not in shown
    with open(tmp_path / "corrections.csv", newline="") as file:
        rows = {row["part"]: row for row in csv.DictReader(file)}
    assert rows["d"]["note"] == '\'=HYPERLINK("http://example.org")\x07' and rows["e"]["note"] == "'@SUM(A1)"
    assert rows["e"]["who"] == "-5" and rows["b"]["note"] == "a crack\nbelow"


def test_a_station_of_an_earlier_version_has_no_corrections_and_keeps_its_file(tmp_path, capsys):
    path = tmp_path / "station.sqlite"
    first = sqlite3.connect(path)
    for statement in VERSIONS[0]:
        first.execute(statement)
    first.commit()
    first.close()
    before = path.read_bytes()
    assert run_command(main, [str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 false alarms, 0 misses, 0 others that people judged\n"
    assert path.read_bytes() == before


def test_a_folder_of_no_station_and_a_damaged_file_are_named(tmp_path, capsys):
    assert run_command(main, [str(tmp_path)]) == 2
    assert "is no folder of a station: there is no station.sqlite in it" in capsys.readouterr().err
    (tmp_path / "station.sqlite").write_text("something else " * 100)
    assert run_command(main, [str(tmp_path)]) == 2
    assert "station.sqlite cannot be read: " in capsys.readouterr().err


@pytest.mark.slow
def test_the_list_is_there_without_torch(station):
    code = "import sys, inference_code.review as r; r.main(sys.argv[1:]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, station], check=True, cwd=paths.ROOT)


def test_the_table_is_written_over_nothing_that_a_station_keeps(station, tmp_path, capsys):
    for given in (station / "station.sqlite", station / "2026-11-26" / "a" / "top.png", tmp_path, "/dev/null"):
        assert run_command(main, [str(station), "--csv", str(given)]) == 2
        told = capsys.readouterr()
        assert told.out == "" and ("valid: a file elsewhere" in told.err or "is no file" in told.err)
    assert (station / "station.sqlite").read_bytes().startswith(b"SQLite format 3")
    assert len(read_corrected(station)) == 3


def test_a_ledger_of_a_later_version_is_told(station, capsys):
    assert VERSION == len(VERSIONS)
    with sqlite3.connect(station / "station.sqlite") as ledger:
        ledger.execute("PRAGMA user_version = 9")
    assert run_command(main, [str(station)]) == 2
    assert "is a ledger of version 9; valid: up to 2" in capsys.readouterr().err


def test_a_ledger_in_a_folder_that_cannot_be_written_is_read(station, tmp_path, monkeypatch):
    (tmp_path / "kept").mkdir()
    with sqlite3.connect(station / "station.sqlite") as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(station / "station.sqlite", tmp_path / "kept")
    really = sqlite3.connect

    class Refusing(sqlite3.Connection):
        def execute(self, *arguments):
            raise sqlite3.OperationalError("attempt to write a readonly database")

    def connect(address, **options):  # as where SQLite may not make its files beside the ledger
        return really(address, **options) if "immutable" in address else really(address, factory=Refusing, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert len(read_corrected(tmp_path / "kept")) == 3
