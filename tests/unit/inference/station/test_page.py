"""The page of a station: what it shows is what the ledger says, and what people say of parts is kept."""

import io
import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import PurePosixPath

import pytest
from fastapi.testclient import TestClient
from helpers.station import Bright, make_station, put, put_image, work_off
from PIL import Image

from inference_code.service.frame import Access
from inference_code.service.limits import Limits
from inference_code.station.inbox import Photograph
from inference_code.station.ledger import Ledger
from inference_code.station.page import routes
from inference_code.station.page.app import make_station_app, station_page
from inference_code.station.page.line import Line
from inference_code.station.page.routes import FILES, LANGUAGES, STATIC
from inference_code.station.reading import Reader
from inference_code.station.schema import FOUND, LEDGER, UNREADABLE, VERSIONS
from inference_code.verdicts import Verdict
from training_code.foundation import paths
from training_code.foundation.errors import InputError

KEY = "a-key-of-32-characters-0123456789"
NOON = time.mktime((2026, 11, 26, 12, 0, 0, 0, 0, -1))
HOUR = 3600


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "line 3").mkdir()
    return tmp_path / "line 3"


@pytest.fixture
def ledger(folder):
    with_ledger = Ledger(folder / LEDGER)
    yield with_ledger
    with_ledger.close()


@pytest.fixture
def client(folder, ledger):
    with _client(folder) as client:
        yield client


def _client(folder, *keys):
    app = make_station_app(station_page(folder), Limits(), Access(keys))
    return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)


def _judge(ledger, name, verdict, judged=NOON, views=None):
    part = ledger.open_part(name, f"day/{name}", judged)
    for view, state, abnormal in views or [("1", FOUND, False), ("2", FOUND, False)]:
        place = f"day/{name}/{name}_{view}.png"
        number = ledger.enter(Photograph(PurePosixPath(place), 1, 1), part, view, state, place, judged)
        ledger.note(number, state, {"abnormal": abnormal, "scaled": 0.7 if abnormal else 0.2})
    ledger.judge(part, Verdict(verdict, "", 0.5), judged)
    return part


def _content(folder, now=NOON):
    return Line(folder, clock=lambda: now).look().content


def test_the_day_is_counted_by_hour_and_by_view_and_earlier_days_are_not(folder, ledger):
    _judge(ledger, "yesterday", "bad", NOON - 24 * HOUR)
    _judge(ledger, "a", "good", NOON - 2 * HOUR)
    _judge(ledger, "b", "bad", NOON - 2 * HOUR + 10, [("1", FOUND, True), ("2", FOUND, False)])
    _judge(ledger, "c", "unreadable", NOON, [("1", FOUND, False), ("2", UNREADABLE, None)])
    content = _content(folder)
    assert content["totals"] == {"good": 1, "bad": 1, "incomplete": 0, "unreadable": 1}
    assert content["hours"] == [{"hour": 10, "good": 1, "bad": 1}, {"hour": 12, "unreadable": 1}]
    assert content["views"] == [{"view": "1", "good": 2, "bad": 1}, {"view": "2", "good": 2, "unreadable": 1}]
    assert [part["name"] for part in content["bad"]] == ["b", "yesterday"] and content["last"]["name"] == "c"
    assert content["last"]["time"] == "12:00:00" and content["day"] == "2026-11-26" and content["drift"] == []


def test_counts_that_grow_are_those_of_a_page_that_begins_now_and_midnight_begins_anew(folder, ledger):
    now = NOON
    line = Line(folder, clock=lambda: now)
    assert line.look().content["last"] is None
    for number in range(30):
        _judge(
            ledger, f"p{number}", "bad" if number % 7 == 0 else "good", NOON + number, [("1", FOUND, number % 7 == 0)]
        )
        if number % 4 == 0:
            line.look()
    assert line.look() == Line(folder, clock=lambda: now).look()
    assert line.look().content["totals"]["bad"] == 5
    now = NOON + 13 * HOUR
    assert sum(line.look().content["totals"].values()) == 0 and line.look().content["day"] == "2026-11-27"


def test_a_new_verdict_costs_neither_a_scan_of_the_ledger_nor_verdicts_that_were_read(folder, ledger, monkeypatch):
    for number in range(50):
        _judge(ledger, f"p{number}", "bad" if number == 3 else "good")
    line = Line(folder, clock=lambda: NOON)
    line.look()
    _judge(ledger, "new", "bad")
    asked, rows = [], Reader.rows

    def explained(self, query, *values):
        asked.append((query, [row[3] for row in rows(self, f"EXPLAIN QUERY PLAN {query}", *values)]))
        found = rows(self, query, *values)
        assert len(found) <= 12, query
        return found

    monkeypatch.setattr(Reader, "rows", explained)
    assert line.look().content["totals"]["bad"] == 2
    line.look()  # nothing has changed
    assert len([query for query, _ in asked if "data_version" in query]) == 2
    assert len([query for query, _ in asked if "FROM parts WHERE number > ?" in query]) == 2, "one, and then none"
    plans = [step for query, plan in asked for step in plan]
    assert not [step for step in plans if re.match(r"SCAN (parts|photographs|p)\b", step)], plans
    monkeypatch.undo()
    first = Reader(folder / LEDGER)
    plan = [
        row[3] for row in first.rows("EXPLAIN QUERY PLAN SELECT number FROM parts WHERE judged >= 5 ORDER BY judged")
    ]
    first.close()
    assert plan == ["SEARCH parts USING INDEX parts_by_time (judged>?)"]


def test_what_people_say_is_kept_with_name_and_time_and_can_be_taken_back(client, ledger):
    part = _judge(ledger, "a", "bad")
    before = time.time()
    answer = client.post("/station/parts/1/correction", json={"verdict": "good", "person": " Anna "})
    assert answer.status_code == 200
    said = answer.json()["correction"]
    assert (said["verdict"], said["person"]) == ("good", "Anna")
    (kept,) = ledger.corrections()
    assert (kept.part, kept.verdict, kept.person) == (part, "good", "Anna") and before <= kept.at <= time.time()
    assert client.get("/station/parts/1").json()["correction"]["person"] == "Anna"
    answer = client.post("/station/parts/1/correction", json={"verdict": None, "person": "Boris"})
    assert answer.json()["correction"] is None
    assert [(each.verdict, each.person) for each in ledger.corrections()] == [("good", "Anna"), (None, "Boris")]


def test_the_day_tells_how_many_verdicts_people_changed_the_last_word_counts(folder, ledger):
    parts = [
        _judge(ledger, name, verdict) for name, verdict in (("a", "bad"), ("b", "bad"), ("c", "good"), ("d", "bad"))
    ]
    for part, verdict in zip(parts, ("good", "good", "bad", "bad"), strict=True):
        ledger.correct(part, verdict, "Anna", NOON)
    ledger.correct(parts[1], None, "Anna", NOON)
    assert _content(folder)["corrected"] == {"good": 1, "bad": 1}


@pytest.mark.parametrize(
    ("number", "said", "status"),
    [
        (2, {"verdict": "good", "person": "Anna"}, 404),
        (2**62, {"verdict": "good", "person": "Anna"}, 422),
        (1, {"verdict": "fine", "person": "Anna"}, 422),
        (1, {"verdict": "good", "person": "  "}, 422),
        (1, {"verdict": "good"}, 422),
        (1, {"person": "Anna"}, 422),
        (1, {"verdict": "good", "person": "Anna", "by": "x"}, 422),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_kept(client, ledger, number, said, status):
    _judge(ledger, "a", "bad")
    answer = client.post(f"/station/parts/{number}/correction", json=said)
    assert answer.status_code == status and isinstance(answer.json()["detail"], str)
    assert ledger.corrections() == []


def test_a_station_that_writes_holds_up_no_page_and_a_correction_says_that_it_was_not_kept(
    client, folder, ledger, monkeypatch
):
    _judge(ledger, "a", "bad")
    monkeypatch.setattr(routes, "_PATIENCE", 0.1)
    with ledger.changing():
        ledger.open_part("b", "day/b", NOON)
        assert client.get("/station/state").json()["last"]["name"] == "a"
        answer = client.post("/station/parts/1/correction", json={"verdict": "good", "person": "Anna"})
        assert answer.status_code == 503 and "nothing was kept" in answer.json()["detail"]
    assert client.post("/station/parts/1/correction", json={"verdict": "good", "person": "Anna"}).status_code == 200


@pytest.mark.parametrize("kind", [InputError, sqlite3.OperationalError, sqlite3.DatabaseError, PermissionError])
def test_a_ledger_that_cannot_be_opened_for_a_correction_is_told_without_its_path(
    client, folder, ledger, monkeypatch, kind
):
    _judge(ledger, "a", "bad")

    def refuse(path, patience):
        raise kind(f"{path} cannot be used as a ledger: database is locked")

    monkeypatch.setattr(routes, "Ledger", refuse)
    answer = client.post("/station/parts/1/correction", json={"verdict": "good", "person": "Anna"})
    assert answer.status_code == 503
    assert answer.json() == {"detail": "nothing was kept, since the ledger cannot be changed now"}


@pytest.fixture
def shown(tmp_path, folder):
    """A part that a station has judged, with its pictures."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    put_image(inbox, "a_1.png", 0.2), put_image(inbox, "a_2.png", 0.9)
    station = make_station(inbox, folder, viewer=Bright())
    work_off(station)
    yield station
    station.ledger.close()


def test_pictures_are_found_by_part_and_view_and_made_smaller(folder, shown):
    with _client(folder) as client:
        for kind in ("photograph", "overlay"):
            for size, width in (("small", 64), ("large", 64)):
                answer = client.get("/station/parts/1/picture", params={"view": "2", "kind": kind, "size": size})
                image = Image.open(io.BytesIO(answer.content))
                assert answer.status_code == 200 and image.format == "JPEG" and image.size == (width, 48)
                assert image.getpixel((25, 21))[0] > 200 and image.getpixel((2, 2))[0] < 60
        Image.new("L", (3000, 1500)).save(next(folder.glob("*/a/a_1.png")))
        answer = client.get("/station/parts/1/picture", params={"view": "1", "size": "small"})
        assert Image.open(io.BytesIO(answer.content)).size == (320, 160)


def test_no_other_file_is_shown_whatever_is_asked_for_and_whatever_the_ledger_says(tmp_path, folder, shown):
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    place = next(folder.glob("*/a/a_1.png"))
    with _client(folder) as client:
        asks = [
            {"view": view, "kind": kind}
            for view in ("../../../secret", "3", "", "\0")
            for kind in ("photograph", "overlay")
        ]
        asks += [{"view": "1", "kind": "../secret.png"}, {"view": "1", "size": "huge"}, {}]
        for parameters in asks:
            answer = client.get("/station/parts/1/picture", params=parameters)
            assert answer.status_code in (404, 422) and "secret" not in answer.json()["detail"].replace("../secret", "")
        for path in ("/station/../secret.png", "/station/%2e%2e/secret.png", f"/station/parts/{secret}/picture"):
            assert client.get(path, params={"view": "1"}).status_code in (404, 422)
        place.unlink()
        place.symlink_to(secret)
        assert client.get("/station/parts/1/picture", params={"view": "1"}).status_code == 404
        with sqlite3.connect(folder / LEDGER) as connection:
            connection.execute("UPDATE photographs SET place = '../secret.png' WHERE view = '2'")
        connection.close()
        assert client.get("/station/parts/1/picture", params={"view": "2"}).status_code == 404


def test_with_keys_only_the_files_of_the_page_need_none(folder, ledger):
    _judge(ledger, "a", "good")
    with _client(folder, KEY) as client:
        for path in ("/station/state", "/station/events", "/station/parts/1", "/station/parts/1/picture?view=1"):
            assert client.get(path).status_code == 401, path
        assert client.post("/station/parts/1/correction", json={"verdict": "bad", "person": "A"}).status_code == 401
        for path in (*FILES, "/", "/health", "/ready"):
            assert client.get(path).status_code == 200, path
        assert client.get("/station/state", headers={"X-API-Key": KEY}).json()["last"]["name"] == "a"
    assert ledger.corrections() == []


def test_without_keys_pages_of_strangers_can_neither_read_nor_correct(client, ledger):
    _judge(ledger, "a", "good")
    strange = {"Origin": "https://inspection.example"}
    assert client.get("/station/state", headers=strange).status_code == 403
    said = {"verdict": "bad", "person": "A"}
    assert client.post("/station/parts/1/correction", json=said, headers=strange).status_code == 403
    assert client.get("/station/state", headers={"Host": "inspection.example"}).status_code == 403
    assert ledger.corrections() == []


def test_the_page_loads_nothing_from_elsewhere(client):
    for path, name in FILES.items():
        answer = client.get(path)
        assert answer.text == (STATIC / name).read_text(encoding="utf-8")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert not re.search(r"https?://|//[a-z]+\.", re.sub(r"^\s*//.*$", "", answer.text, flags=re.M)), path
    assert {path.name for path in STATIC.iterdir()} == set(FILES.values())


def test_all_languages_have_the_same_words_and_the_page_uses_no_others():
    words = {name: json.loads((STATIC / f"{name}.json").read_text(encoding="utf-8")) for name in LANGUAGES}
    english = words["en"]
    for name, own in words.items():
        assert list(own) == list(english), name
        for key, text in own.items():
            assert text and set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[key])), (name, key)
    page, script = ((STATIC / f"station.{kind}").read_text(encoding="utf-8") for kind in ("html", "js"))
    used = set(re.findall(r'data-(?:word|label)="(\w+)"', page)) | set(re.findall(r'say\("(\w+)"', script))
    used |= {word for pair in re.findall(r'say\(\w+ \? "(\w+)" : "(\w+)"', script) for word in pair}
    assert used <= set(english)
    assert re.search(r"LANGUAGES = \{ en: .*, de: .*, ru: .* \}", (STATIC / "words.js").read_text(encoding="utf-8"))


def test_a_ledger_may_come_later_be_replaced_and_be_none(folder):
    line = Line(folder, clock=lambda: NOON)
    assert line.look().content["trouble"] == "missing"
    with _client(folder) as client:
        assert client.get("/station/state").json()["trouble"] == "missing"
        assert client.get("/station/parts/1").status_code == 503 and client.get("/ready").status_code == 503
        for name in ("first", "second"):
            (folder / LEDGER).rename(folder / "old") if name == "second" else None
            ledger = Ledger(folder / LEDGER)
            _judge(ledger, name, "good")
            ledger.close()
            assert line.look().content["last"]["name"] == name
        assert client.get("/ready").status_code == 200
        (folder / LEDGER).unlink()
        (folder / LEDGER).write_text("something else, which is long enough to be looked at " * 40)
        found = line.look().content
        assert found["trouble"] == "unreadable" and str(folder) not in found["detail"]
        (folder / LEDGER).unlink()
        assert line.look().content["trouble"] == "missing" and not (folder / LEDGER).exists()


def test_a_ledger_of_the_first_version_is_shown_and_corrected(folder):
    connection = sqlite3.connect(folder / LEDGER, isolation_level=None)
    for statement in VERSIONS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO parts (name, folder, opened, judged, verdict, number) VALUES ('a', 'a', 1, ?, 'bad', 1)", (NOON,)
    )
    connection.close()
    assert _content(folder)["last"]["name"] == "a"
    with _client(folder) as client:
        said = {"verdict": "good", "person": "Anna"}
        assert client.post("/station/parts/1/correction", json=said).json()["correction"]["verdict"] == "good"


def test_a_verdict_of_a_station_at_work_is_shown_before_its_photographs_are_moved(tmp_path, folder):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    put(inbox, "a_1.png", 0.2), put(inbox, "a_2.png", 0.7)
    station = make_station(inbox, folder)
    station.step()
    last = Line(folder).look().content["last"]
    assert (last["name"], last["verdict"]) == ("a", "bad")
    assert [(view["view"], view["abnormal"]) for view in last["views"]] == [("1", False), ("2", True)]
    assert list(inbox.iterdir()), "they are moved at the next step"
    station.ledger.close()


@pytest.mark.slow
def test_a_service_of_a_station_alone_imports_no_torch():
    code = (
        "import sys, inference_code.serve, inference_code.station.page.beside, inference_code.station.page.app; "
        "sys.exit(bool({'torch', 'anomalib', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=False).returncode == 0
