"""Verdicts reach a sink in their order, none is left out, and one that is out of reach holds nothing up."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.station import make_station, put, work_off

from inference_code.station import mqtt, sinks
from inference_code.station.sinks import Courier, LinesFile, open_sink
from training_code.foundation.errors import InputError


@pytest.fixture
def judged(tmp_path):
    """A station that has judged five parts."""
    (tmp_path / "inbox").mkdir()
    for number in range(5):
        put(tmp_path / "inbox", f"p{number}_1.png", 0.1), put(tmp_path / "inbox", f"p{number}_2.png", number / 5)
    station = make_station(tmp_path / "inbox", tmp_path / "output")
    work_off(station)
    return station


class Receiver:
    """A web server that keeps what it gets, and refuses while it is told to."""

    def __init__(self):
        self.got, self.asked, self.refuses = [], 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked += 1
                if outer.refuses:
                    outer.refuses -= 1
                    self.send_response(503)
                else:
                    outer.got.append((int(self.headers["Idempotency-Key"]), body["part"]))
                    self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/verdicts"


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def _bring(sink, station):
    with Courier(sink, station.ledger.path, station.output):
        deadline = time.monotonic() + 10
        while station.ledger.delivered(sink.name) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)


def test_an_address_that_refuses_for_a_while_gets_every_verdict_in_order(judged, receiver, monkeypatch, capsys):
    monkeypatch.setattr(sinks, "_POLL", 0.01)
    receiver.refuses = 3
    _bring(open_sink(receiver.address), judged)
    order = [part.name for part in sorted(judged.ledger.filed_after(0, 9), key=lambda part: part.number)]
    assert receiver.got == list(enumerate(order, 1)) and receiver.asked == 8
    assert capsys.readouterr().err.count("503") == 1, "the same trouble is told once"
    _bring(open_sink(receiver.address), judged)
    assert len(receiver.got) == 5, "what was delivered is not sent again"


def test_a_file_gets_each_verdict_once_also_after_a_kill(judged, tmp_path):
    path = tmp_path / "lines.jsonl"
    _bring(open_sink(str(path)), judged)
    whole = path.read_text()
    assert [json.loads(line)["number"] for line in whole.splitlines()] == [1, 2, 3, 4, 5]
    # Killed after a line, and while the next one was written; the ledger knows of neither.
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:20])
    judged.ledger.note_delivered(LinesFile(path).name, 2)
    _bring(open_sink(str(path)), judged)
    assert path.read_text() == whole


class Broker:
    """A broker of MQTT 3.1.1 that keeps what is published, and breaks off the first connections."""

    def __init__(self, breaks_off=0):
        self.got, self.breaks_off = [], breaks_off
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"mqtt://user:secret@127.0.0.1:{self._listener.getsockname()[1]}/line/verdicts"
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self._listener.close()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                self._serve(connection, stream)

    def _serve(self, connection, stream):
        while kind := stream.read(1):
            length, shift = 0, 0
            while True:
                (digit,) = stream.read(1)
                length |= (digit & 127) << shift
                shift += 7
                if digit < 128:
                    break
            body = stream.read(length)
            if kind[0] >> 4 == 1:  # CONNECT
                assert body[-6:] == b"secret"
                connection.sendall(b"\x20\x02\x00\x00")
            elif kind[0] >> 4 == 3:  # PUBLISH
                if self.breaks_off:
                    self.breaks_off -= 1
                    return
                end = 2 + int.from_bytes(body[:2])
                assert body[2:end] == b"line/verdicts" and kind[0] & 6 == 2, "quality of service 1"
                self.got.append(json.loads(body[end + 2 :])["number"])
                connection.sendall(b"\x40\x02" + body[end : end + 2])
            elif kind[0] >> 4 == 14:  # DISCONNECT
                return


@pytest.mark.slow
def test_a_broker_that_breaks_off_gets_every_verdict_in_order(judged, monkeypatch, capsys):
    monkeypatch.setattr(sinks, "_POLL", 0.01)
    monkeypatch.setattr(mqtt, "_PATIENCE", 1)
    broker = Broker(breaks_off=2)
    try:
        _bring(open_sink(broker.address), judged)
    finally:
        broker.close()
    assert list(dict.fromkeys(broker.got)) == [1, 2, 3, 4, 5]
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("given", ["mqtt://host", "mqtt://host/a/#", "mqtt:///topic"])
def test_a_topic_that_cannot_be_is_told(given):
    with pytest.raises(InputError, match=r"is no topic; valid: mqtt://host/topic"):
        open_sink(given)


@pytest.mark.parametrize("content", ['{"my": "settings"}', "notes", '{"number": 1}\nnotes'])
def test_a_file_of_somebody_else_without_an_end_of_line_is_left_alone(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(InputError, match="settings.json holds lines that no station wrote"):
        open_sink(str(tmp_path / "settings.json"))
    assert (tmp_path / "settings.json").read_text() == content


def test_a_line_that_was_not_finished_is_written_again(tmp_path):
    (tmp_path / "lines.jsonl").write_text('{"number": 1, "part": "a"}\n{"numb')
    sink = open_sink(str(tmp_path / "lines.jsonl"))
    sink.send(2, {"part": "b"})
    assert (tmp_path / "lines.jsonl").read_text() == '{"number": 1, "part": "a"}\n{"number": 2, "part": "b"}\n'


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="mine.csv holds lines that no station wrote"):
        open_sink(str(tmp_path / "mine.csv"))
    assert (tmp_path / "mine.csv").read_text() == "a,b\n1,2\n"


def test_a_file_of_a_user_who_is_not_there_is_told():
    with pytest.raises(InputError, match="~nobody-at-all/lines.jsonl begins with a user that this machine does not"):
        open_sink("~nobody-at-all/lines.jsonl")


@pytest.mark.parametrize("given", ["ftp://host/x", "http://"])
def test_an_address_that_nothing_can_be_sent_to_is_told(given):
    with pytest.raises(InputError, match="neither a file nor an address"):
        open_sink(given)
