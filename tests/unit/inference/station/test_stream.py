"""Pages that are open: they get what changes, catch up after a break, and hold up neither the service nor its end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest
from helpers.station import make_station, put, work_off

from inference_code.service.frame import Access
from inference_code.service.limits import Limits
from inference_code.service.listening import open_door
from inference_code.service.server import make_server
from inference_code.station.page import beside, watching
from inference_code.station.page.app import make_station_app, station_page
from inference_code.station.page.beside import PageProcess
from training_code.foundation import paths

KEY = "a-key-of-32-characters-0123456789"


@pytest.fixture
def station(tmp_path):
    for name in ("inbox", "line"):
        (tmp_path / name).mkdir()
    found = make_station(tmp_path / "inbox", tmp_path / "line")
    yield found
    found.ledger.close()


def _judge(station, name, score=0.2):
    for view in (1, 2):
        put(station.inbox.folder, f"{name}_{view}.png", score)
    work_off(station)


@contextlib.contextmanager
def _served(folder, limits=None, keys=()):
    """Serve in a thread of this process; yield the server and its address."""
    limits = limits or Limits()
    with open_door("127.0.0.1", 0, None) as door:
        server = make_server(make_station_app(station_page(folder), limits, Access(keys)), limits, "")
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[door.listener])))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield server, door.address
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@contextlib.contextmanager
def _open(address, **headers):
    """Open a stream; yield an iterator of its events, each with its fields, and of its comments, each as None."""
    with (
        httpx.Client(base_url=address, trust_env=False, timeout=10, headers=headers) as client,
        client.stream("GET", "/station/events") as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _events(response.iter_lines())


def _events(lines):
    fields = {}
    for line in lines:
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields | {"state": json.loads(fields["data"])["state"]}
            fields = {}


def _next(events):
    return next(event for event in events if event)


def test_a_verdict_is_told_within_a_second_to_every_page(station):
    with _served(station.output) as (_, address), contextlib.ExitStack() as stack:
        pages = [stack.enter_context(_open(address)) for _ in range(8)]
        assert all(_next(page)["state"]["last"] is None for page in pages)
        begun = time.monotonic()
        _judge(station, "a", 0.7)
        for page in pages:
            found = _next(page)["state"]
            while found["last"] is None:
                found = _next(page)["state"]
            assert (found["last"]["name"], found["totals"]["bad"]) == ("a", 1)
        assert time.monotonic() - begun < 1


def test_a_page_that_comes_again_gets_what_it_missed_and_nothing_that_it_has(station):
    _judge(station, "a")
    with _served(station.output) as (_, address):
        with _open(address) as page:
            had = _next(page)["id"]
        with _open(address, **{"Last-Event-ID": had}) as page:
            assert next(page) is None, "nothing but a sign that it is there"
        _judge(station, "b", 0.9), _judge(station, "c")
    with _served(station.output) as (_, address), _open(address, **{"Last-Event-ID": had}) as page:  # a new service
        found = next(page)["state"]
        assert [part["name"] for part in found["bad"]] == ["b"] and found["last"]["name"] == "c"
        assert found["totals"]["good"] == 2


def test_a_service_that_was_restarted_tells_nothing_anew_to_a_page_that_has_it_all(station):
    _judge(station, "a")
    with _served(station.output) as (_, address), _open(address) as page:
        had = _next(page)["id"]
    with _served(station.output) as (_, address), _open(address, **{"Last-Event-ID": had}) as page:
        assert next(page) is None
        _judge(station, "b")
        assert _next(page)["state"]["last"]["name"] == "b"


def test_a_stream_goes_on_beyond_every_limit_of_time_and_ends_with_the_service(station, monkeypatch):
    monkeypatch.setattr(watching, "_HEARTBEAT", 0.2)
    with _served(station.output, Limits(seconds=0.3, head=0.3)) as (server, address), _open(address) as page:
        _next(page)
        begun = time.monotonic()
        while time.monotonic() - begun < 1:
            assert next(page) is None
        _judge(station, "a")
        assert _next(page)["state"]["last"]["name"] == "a"
        server.should_exit = True
        begun = time.monotonic()
        assert list(page) == [] and time.monotonic() - begun < 1.5


def test_pages_that_are_open_leave_connections_to_others(station, monkeypatch):
    monkeypatch.setattr(watching, "MOST_STREAMS", 3)
    with _served(station.output, Limits(connections=6)) as (_, address), contextlib.ExitStack() as stack:
        pages = [stack.enter_context(_open(address)) for _ in range(5)]
        assert list(pages[0]) and list(pages[1]), "the oldest ones end, with what they had got"
        for _ in range(10):
            assert httpx.get(f"{address}/station/state", trust_env=False, timeout=5).status_code == 200
        _judge(station, "a")
        assert all(_last_name(page) == "a" for page in pages[2:])


def _last_name(page):
    last = None
    while last is None:
        last = _next(page)["state"]["last"]
    return last["name"]


def test_a_stream_needs_the_key(station):
    with _served(station.output, keys=[KEY]) as (_, address):
        assert httpx.get(f"{address}/station/events", trust_env=False).status_code == 401
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            with _open(address, **headers) as page:
                assert _next(page)["state"]["station"] == "line"


@pytest.mark.slow
def test_the_page_beside_a_station_comes_again_when_it_dies_and_ends_with_the_station(station, capfd):
    _judge(station, "a")
    with open_door("127.0.0.1", 0, None) as door:
        with PageProcess(station.output, door) as page:
            first = page.pid
            assert _state(door.address)["last"]["name"] == "a"
            assert os.getpgid(first) == first != os.getpgid(0), "Ctrl-C is for the station only"
            os.kill(first, signal.SIGKILL)
            deadline = time.monotonic() + 10
            while page.pid == first and time.monotonic() < deadline:
                time.sleep(0.05)
            assert _state(door.address)["last"]["name"] == "a"
            second = page.pid
            begun = time.monotonic()
        assert time.monotonic() - begun < 5 and not _runs(first) and not _runs(second)
    said = capfd.readouterr()
    assert "the page ended with status -9; starting it again" in said.err
    assert f"{door.address}/station shows what the station does" in said.out


class Process:
    """A process of a page; ``lives`` in seconds, ``begins`` is called as it is started."""

    exitcode = 1

    def __init__(self, lives, begins=lambda: None):
        self._lives, self._begins = lives, begins
        self._ended = threading.Event()
        self.terminated = False

    def start(self):
        self._begins()

    def join(self, timeout=None):
        self._ended.wait(self._lives)

    def terminate(self):
        self.terminated = True
        self._ended.set()

    def is_alive(self):
        return False


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """Processes that the page beside a station has, one after the other; the page itself, and how long it waited."""
    monkeypatch.setattr(beside, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(beside, "_LONGEST_WAIT", 0.3)

    def begin(*processes):
        coming, waits = iter(processes), []
        monkeypatch.setattr(PageProcess, "_make", lambda self: next(coming))
        page = PageProcess(tmp_path, None)
        wait = page._ending.wait
        page._ending.wait = lambda seconds: waits.append(seconds) or wait(seconds)
        return page, waits

    return begin


def test_a_page_that_is_started_as_the_station_ends_is_ended_too(pages):
    starting = threading.Event()
    second = Process(60, lambda: (starting.set(), time.sleep(0.2)))
    with pages(Process(0), second)[0]:
        assert starting.wait(5)
    assert second.terminated


def test_a_page_that_could_not_be_started_is_started_later(pages, capsys):
    def refused():
        raise OSError(12, "Cannot allocate memory")

    there = threading.Event()
    page, waits = pages(Process(0), Process(60, refused), Process(60, there.set))
    with page:
        assert there.wait(5)
    assert waits == [0.01, 0.02]
    assert (
        "the page could not be started ([Errno 12] Cannot allocate memory); starting it again"
        in capsys.readouterr().err
    )


def test_the_wait_for_a_page_grows_until_one_has_lived_for_a_while(pages):
    there = threading.Event()
    page, waits = pages(Process(0), Process(0), Process(0.4), Process(60, there.set))
    with page:
        assert there.wait(5)
    assert waits == [0.01, 0.02, 0.01]


@pytest.mark.slow
def test_the_page_beside_a_station_that_is_killed_ends_as_well(station):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from inference_code.service.listening import open_door\n"
        "from inference_code.station.page.beside import PageProcess\n"
        "if __name__ == '__main__':\n"
        "    with open_door('127.0.0.1', 0, None) as door, PageProcess(Path(sys.argv[1]), door) as page:\n"
        "        print(page.pid, flush=True)\n"
        "        time.sleep(60)\n"
    )
    program = station.output / "program.py"
    program.write_text(code)
    command = [sys.executable, program, station.output]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(paths.ROOT)}, stdout=subprocess.PIPE, text=True
    )
    pid = int(process.stdout.readline())
    assert "shows what the station does" in process.stdout.readline()
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _state(address):
    """Return the state as soon as the service answers."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return httpx.get(f"{address}/station/state", trust_env=False, timeout=20).json()
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
