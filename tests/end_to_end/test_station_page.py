"""The page of a station in a browser: what is found is seen and heard, what is said is kept, breaks are survived."""

import contextlib
import json
import re
import signal
import sqlite3
import threading
import time

import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.serving_process import serve
from helpers.station import Bright, make_station, put_image, work_off

from inference_code.serve import main
from inference_code.station.alarms import alarms
from inference_code.station.chart import Panel, chart
from inference_code.station.ledger import Ledger
from inference_code.station.schema import LEDGER
from inference_code.station.watches import Watch
from training_code.foundation.errors import run_command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
KEY = "key-of-the-line-0123456789"
#: Notes each tone that the page plays.
HEAR = (
    "window.heard = []; const start = OscillatorNode.prototype.start;"
    "OscillatorNode.prototype.start = function (...when)"
    "{ heard.push(this.frequency.value); start.apply(this, when); };"
)


@pytest.fixture
def line(tmp_path):
    """A station at work in a thread; what is returned puts a part into its inbox."""
    inbox, output = tmp_path / "inbox", tmp_path / "line 3"
    inbox.mkdir()
    station, ending = make_station(inbox, output, viewer=Bright()), threading.Event()

    def work():
        while not ending.is_set():
            station.step() or ending.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()

    def part(name, score):
        put_image(inbox, f"{name}_1.png", 0.2), put_image(inbox, f"{name}_2.png", score)

    yield output, part
    ending.set()
    thread.join()
    station.ledger.close()


def _judged(output, name):
    """Wait for a verdict; return when it was made, in seconds since the epoch."""
    deadline = time.monotonic() + 20
    with sqlite3.connect(output / LEDGER) as connection:
        while time.monotonic() < deadline:
            rows = connection.execute("SELECT judged FROM parts WHERE name = ? AND judged", (name,)).fetchall()
            if rows:
                break
            time.sleep(0.01)
    connection.close()
    return rows[0][0]


def _seen(page, name, verdict):
    """Wait until a part is shown; return when that was, in seconds since the epoch."""
    page.wait_for_function(
        "([name, verdict]) => document.getElementById('name').textContent === name"
        " && document.getElementById('part').dataset.verdict === verdict",
        arg=[name, verdict],
        polling=20,
    )
    return time.time()


def _corrections(output):
    with sqlite3.connect(output / LEDGER) as connection:
        rows = connection.execute("SELECT part, verdict, person, at FROM corrections ORDER BY id").fetchall()
    connection.close()
    return rows


def _wait_for_corrections(output, count):
    deadline = time.monotonic() + 10
    while len(_corrections(output)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return _corrections(output)


def test_a_bad_part_is_shown_and_heard_within_a_second_and_a_correction_is_kept(line):
    output, part = line
    part("a", 0.2)
    with serve("--station", output) as (_, address), open_page(f"{address}/station") as (page, asked):
        page.add_init_script(HEAR)
        page.reload()
        _seen(page, "a", "good")
        page.wait_for_selector("#unlock:visible")
        page.click("#unlock")
        page.wait_for_selector("#unlock", state="hidden")
        part("b", 0.9)
        assert _seen(page, "b", "bad") - _judged(output, "b") < 1
        assert page.evaluate("heard") == [880, 587, 880, 587]
        page.wait_for_function(
            "() => [...document.querySelectorAll('#pictures img')].map((one) => one.naturalWidth).join() === '64,64,64'"
        )
        assert page.locator("#word").inner_text() == "BAD" and page.locator("#why").inner_text() == "Found in: 2"
        assert page.locator("#bad-count").inner_text() == "1" and page.locator("#good-count").inner_text() == "1"

        page.wait_for_timeout(500)  # less than that, and nobody can have meant this part
        page.click("#was-good")  # asks for the name first, of the part that was meant
        assert page.evaluate("document.activeElement.id") == "person" and _corrections(output) == []
        page.keyboard.type("Анна")
        before = time.time()
        page.keyboard.press("Enter")
        ((number, verdict, person, at),) = _wait_for_corrections(output, 1)
        assert (number, verdict, person) == (2, "good", "Анна") and before - 1 < at <= time.time()
        page.wait_for_selector("#bad .corrected")
        page.keyboard.press("u")
        assert _wait_for_corrections(output, 2)[1][1:3] == (None, "Анна")
        page.keyboard.press("ArrowLeft")
        _seen(page, "a", "good")
        page.keyboard.press("b")
        assert _wait_for_corrections(output, 3)[2][:3] == (1, "bad", "Анна")

        page.keyboard.press("m")
        part("c", 0.9)
        page.wait_for_function("() => document.getElementById('bad').children.length === 2")
        assert page.locator("#name").inner_text() == "a", "somebody is looking at it"
        assert len(page.evaluate("heard")) == 4, "muted"
        page.keyboard.press("Escape")
        _seen(page, "c", "bad")
        page.locator("#bad button").nth(1).click()
        _seen(page, "b", "bad")
        page.reload()
        assert page.locator("#person").input_value() == "Анна"
        _seen(page, "c", "bad")
        part("d", 0.9)
        _seen(page, "d", "bad")
        page.keyboard.press("g")  # at the moment of the change, of the part before
        assert _wait_for_corrections(output, 4)[3][:2] == (3, "good")
        assert {re.sub(r"(http://[^/]+|blob:).*", r"\1", each) for each in asked} <= {address, "data:,", "blob:"}


def test_a_page_goes_on_by_itself_after_the_service_was_restarted_and_tells_what_it_missed(line):
    output, part = line
    part("a", 0.2)
    with serve("--station", output) as (process, address), open_page(f"{address}/station") as (page, _):
        _seen(page, "a", "good")
        page.evaluate("window.same = true")
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0 and time.monotonic() - begun < 5, "an open page does not hold up the end"
        page.wait_for_selector("#lost:visible")
        assert "OUT OF TOUCH" in page.locator("#lost").inner_text()
        part("b", 0.9), part("c", 0.2)
        _judged(output, "b"), _judged(output, "c")
        with serve("--station", output, "--port", address.rpartition(":")[2]):
            _seen(page, "b", "bad")
            page.wait_for_selector("#lost", state="hidden")
            assert page.locator("#good-count").inner_text() == "2" and page.evaluate("window.same")
            _seen(page, "c", "good")


def test_the_picture_of_an_alarm_is_asked_for_until_it_is_there_and_then_no_more(line):
    output, part = line
    with contextlib.closing(Ledger(output / LEDGER)) as ledger:
        watch = Watch("one", 500, alarm=1, text="photographs are 28% brighter")
        ledger.keep_watch("run/brightness", json.dumps(vars(watch)), 1_790_000_000.0)
        (alarm,) = alarms(ledger)
    picture = output / alarm["picture"]
    with serve("--station", output) as (_, address), open_page(f"{address}/station") as (page, asked):
        page.wait_for_selector("#drift article:not([data-picture])")  # it is not drawn yet
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(chart("bright", [Panel("brightness", [0.0, 0.5, 1.0], [2.0])]))
        part("a", 0.2)
        page.wait_for_function("() => document.querySelector('#drift img')?.naturalWidth > 0")
        page.evaluate("document.querySelector('#drift article').same = true")
        before = len([each for each in asked if "/drift/" in each])
        for name in "bcd":
            part(name, 0.9)
            _seen(page, name, "bad")
        assert page.evaluate("document.querySelector('#drift article').same") is True
        assert len([each for each in asked if "/drift/" in each]) == before
        page.select_option("#language", "de")
        page.wait_for_function("() => document.querySelector('#drift span').textContent.startsWith('seit')")


def test_a_correction_that_is_answered_when_another_ledger_is_there_is_told_as_kept(tmp_path):
    inbox, output, held = tmp_path / "inbox", tmp_path / "line", []
    inbox.mkdir()
    put_image(inbox, "a_1.png", 0.2), put_image(inbox, "a_2.png", 0.2)
    station = make_station(inbox, output, viewer=Bright())
    work_off(station)
    station.ledger.close()
    with serve("--station", output) as (_, address), open_page(f"{address}/station") as (page, _):
        _seen(page, "a", "good")
        page.fill("#person", "Anna")
        page.locator("#person").blur()
        page.route("**/correction", lambda route: held.append(route))
        page.keyboard.press("b")
        for file in output.glob(f"{LEDGER}*"):
            file.unlink()
        Ledger(output / LEDGER).close()
        page.wait_for_selector("#part[data-verdict=none]")
        held[0].fulfill(json={"number": 1, "name": "a", "correction": None})
        page.wait_for_selector("#message:not(:empty)")
        assert page.locator("#message.wrong").count() == 0


def test_with_a_key_the_page_asks_for_it_once_and_languages_follow_the_browser(line, tmp_path):
    output, part = line
    part("a", 0.9)
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    keys.chmod(0o600)
    with serve("--station", output, "--api-key-file", keys) as (_, address), open_page(address) as (page, _):
        page.wait_for_selector("#key-form:visible")
        assert page.url.endswith("/station"), "a service of a station alone begins with its page"
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        _seen(page, "a", "bad")
        page.wait_for_function("() => document.querySelector('#pictures img').naturalWidth === 64")
        page.select_option("#language", "de")
        page.wait_for_function("() => document.getElementById('word').textContent === 'SCHLECHT'")
        page.reload()
        page.wait_for_function("() => document.getElementById('word').textContent === 'SCHLECHT'")
        context = page.context.browser.new_context(locale="ru-RU")
        russian = context.new_page()
        russian.goto(f"{address}/station")
        russian.wait_for_selector("text=Ключ API")


def test_a_folder_that_is_not_there_and_nothing_to_serve_are_told_before_anything_is_loaded(tmp_path, capsys):
    assert run_command(main, ["--station", str(tmp_path / "no"), "--port", "0"]) == 2
    assert "is no folder; valid: what anomaly station has as --output" in capsys.readouterr().err
    assert run_command(main, ["--port", "0"]) == 2
    assert "no detector is given; valid: " in capsys.readouterr().err
