"""Where verdicts are sent beside the folder of the station: a file, an address on the web, a topic of MQTT."""

import json
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from inference_code.station.filing import VERDICT
from inference_code.station.ledger import Ledger
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.program import missing_extra

# Verdicts that are read from the ledger at a time.
_AT_ONCE = 100
# Seconds until an address counts as out of reach; between two looks at the ledger; and the longest wait after failures.
_PATIENCE, _POLL, _LONGEST_WAIT = 10, 0.2, 60
# With what each line of a file begins, one that was not finished, too.
_BEGINNING = b'{"number": '


class Sink(Protocol):
    """Takes verdicts, one after the other."""

    name: str

    def send(self, number: int, verdict: dict[str, Any]) -> None:
        """Send a verdict; it may come again if the station was killed before it knew that it had been sent.

        Raises
        ------
        OSError
            If it cannot be sent now.
        """
        ...


class LinesFile:
    """A file that gets a line of JSON for each verdict, each once."""

    def __init__(self, path: Path) -> None:
        self.name, self.path = f"file:{path}", path
        self._last = self._read_last()

    def send(self, number: int, verdict: dict[str, Any]) -> None:
        """Append a verdict, unless it is there already."""
        if number <= self._last:
            return
        line = json.dumps({"number": number, **verdict}, ensure_ascii=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # a line that was not finished, when the disk was full or at a kill
                    file.truncate(self._end_of_lines())
            file.write(line.encode())
        self._last = number

    def _end_of_lines(self) -> int:
        return self.path.read_bytes().rfind(b"\n") + 1

    def _read_last(self) -> int:
        """Return the number in the last line that was finished; whatever else is there belongs to somebody."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return 0
        whole = [line for line in lines if line.endswith(b"\n")]
        rest = lines[-1] if len(whole) < len(lines) else b""
        try:
            if rest[: len(_BEGINNING)] != _BEGINNING[: len(rest)]:
                raise ValueError("the beginning of no verdict")
            return int(json.loads(whole[-1])["number"]) if whole else 0
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.path} holds lines that no station wrote; valid: a file of its own") from None


class Webhook:
    """An address that gets each verdict as the JSON of a POST request, with its number as ``Idempotency-Key``."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self.name = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
        self._address = address

    def send(self, number: int, verdict: dict[str, Any]) -> None:
        """Send a verdict; any answer but one of success is an `OSError`."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(number)}
        body = json.dumps({"number": number, **verdict}).encode()
        request = urllib.request.Request(self._address, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=_PATIENCE):
            pass


def open_sink(given: str) -> Sink:
    """Return the sink that an option names: ``http://``, ``https://`` or ``mqtt://`` and an address, or a file.

    Raises
    ------
    InputError
        If it is none of these, names a user that is not here, or the package for MQTT is not installed.
    """
    if "://" not in given:
        return LinesFile(paths.expanded(given).absolute())
    parts = urllib.parse.urlsplit(given)
    if parts.scheme == "mqtt":
        return _open_topic(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"--sink {given} is neither a file nor an address that begins with http://, https:// or mqtt://"
        )
    return Webhook(given)


def _open_topic(given: str) -> Sink:
    try:
        # Here, since it comes with an extra that other sinks go without.
        from inference_code.station.mqtt import MqttTopic
    except ModuleNotFoundError as error:
        if sentence := missing_extra(error):
            raise InputError(sentence) from None
        raise
    return MqttTopic(given)


class Courier:
    """Brings verdicts to a sink in their order, in a thread of its own; what fails is tried again until it succeeds.

    Parameters
    ----------
    sink
        Gets them.
    ledger
        The file; the courier opens it itself.
    output
        The folder of the station, with the verdicts.
    """

    def __init__(self, sink: Sink, ledger: Path, output: Path) -> None:
        self._sink, self._path, self._output = sink, ledger, output
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"courier to {sink.name}", daemon=True)

    def __enter__(self) -> "Courier":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Bring what can be brought at once, and end."""
        self._ending.set()
        self._thread.join(_PATIENCE + _POLL)

    def _run(self) -> None:
        ledger, wait, trouble = Ledger(self._path), _POLL, ""
        while True:
            ending = self._ending.is_set()
            try:
                brought = self._bring(ledger)
                wait, trouble = _POLL, ""
            except (OSError, ValueError) as error:
                brought, wait = False, min(2 * wait, _LONGEST_WAIT)
                if str(error) != trouble:
                    trouble = str(error)
                    print(f"error: {self._sink.name}: {trouble}; trying again", file=sys.stderr)
                if ending:
                    break
            if ending and not brought:
                break
            if not brought:
                self._ending.wait(wait)
        ledger.close()

    def _bring(self, ledger: Ledger) -> bool:
        parts = ledger.filed_after(ledger.delivered(self._sink.name), _AT_ONCE)
        for part in parts:
            verdict = json.loads((self._output / part.folder / VERDICT).read_text(encoding="utf-8"))
            assert part.number is not None
            self._sink.send(part.number, verdict)
            ledger.note_delivered(self._sink.name, part.number)
        return bool(parts)
