"""Verdicts over MQTT: each is published once the broker has said that it has the one before."""

import json
import urllib.parse
from typing import Any

from paho.mqtt.client import Client, MQTTErrorCode
from paho.mqtt.enums import CallbackAPIVersion

from training_code.foundation.errors import InputError

# Seconds until a broker counts as out of reach, and between two signs of life.
_PATIENCE, _KEEP_ALIVE = 10, 60
_PORT = 1883


class MqttTopic:
    """A topic of a broker, which gets each verdict as JSON, at least once (quality of service 1).

    Parameters
    ----------
    address
        ``mqtt://host/topic``, with user and password before the host and a port behind it where they are needed.
    """

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self._topic = parts.path.lstrip("/")
        if not parts.hostname or not self._topic or any(sign in address for sign in "+#"):
            raise InputError(f"--sink {address} is no topic; valid: mqtt://host/topic, without + and #")
        self._place = parts.hostname, parts.port or _PORT
        self.name = f"mqtt://{self._place[0]}:{self._place[1]}/{self._topic}"  # without the password
        self._client = Client(CallbackAPIVersion.VERSION2)
        if parts.username:
            self._client.username_pw_set(
                urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
            )
        self._client.connect_timeout = _PATIENCE

    def send(self, number: int, verdict: dict[str, Any]) -> None:
        """Publish a verdict, and wait until the broker has it; an `OSError` where it does not say so."""
        if not self._client.is_connected():
            self._connect()
        sent = self._client.publish(self._topic, json.dumps({"number": number, **verdict}), qos=1)
        try:
            sent.wait_for_publish(_PATIENCE)
        except (RuntimeError, ValueError) as error:  # what paho raises of a connection that is lost
            self._disconnect()
            raise ConnectionError(f"the broker was lost: {error}") from error
        if not sent.is_published():
            self._disconnect()
            raise TimeoutError("the broker does not say that it has the verdict")

    def _connect(self) -> None:
        self._disconnect()
        self._client.connect(*self._place, keepalive=_KEEP_ALIVE)
        self._client.loop_start()

    def _disconnect(self) -> None:
        if self._client.loop_stop() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._client.disconnect()
