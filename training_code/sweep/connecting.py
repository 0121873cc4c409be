"""Connecting a process to Ray."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from training_code.foundation.errors import InputError

# How often Ray is started before that counts as failed.
_STARTS = 5


def start_ray(ray: Any, address: str | None, options: dict[str, Any]) -> None:
    """Connect to a cluster, or start Ray on this machine, again if it was too busy for it.

    Raises
    ------
    InputError
        If the cluster cannot be reached, or Ray does not start.
    """
    where = address or "on this machine"
    for attempt in range(1, _STARTS + 1):
        try:
            # Without an address Ray would join whatever cluster happens to run on this machine.
            ray.init(address=address or "local", **options)
            return
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"the Ray cluster {where} cannot be reached: {error}") from error
        except Exception as error:  # a plain one: Ray gives its processes 30 s to start
            ray.shutdown()
            if attempt == _STARTS:
                raise InputError(f"Ray did not start {where}, {_STARTS} times: {error}") from error


@contextlib.contextmanager
def own_handler_of_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM in place of Ray's, which end the process with status 15 while Ray starts, later 1."""
    own = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # raised by the handler that Ray sets first of all
        if callable(own):
            own(signal.SIGTERM, None)
        raise
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, own)
