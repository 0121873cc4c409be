"""A station at work: step after step, through disks that are full for a while."""

import errno
import sqlite3
import sys
import time
from collections.abc import Callable

from inference_code.station.station import Station


def run(station: Station, poll: float, once: bool, pause: Callable[[float], None] = time.sleep) -> None:
    """Take steps until Ctrl-C, or until nothing waits where that is asked for by ``once``.

    A full disk, or a folder that cannot be reached, is told once and waited for.

    Parameters
    ----------
    poll
        Seconds between two looks at the inbox while nothing comes.
    pause
        Waits for seconds.
    """
    trouble = None
    while True:
        try:
            busy = station.step()
            if trouble is not None:
                trouble = None
                print("going on", file=sys.stderr)
            if once and not busy and station.idle:
                return
        except (OSError, sqlite3.OperationalError) as error:
            if not _passes(error):
                raise
            busy = False
            if str(error) != trouble:
                trouble = str(error)
                print(f"error: {error}; trying again", file=sys.stderr)
        if not busy:
            pause(poll)


def _passes(error: Exception) -> bool:
    """Return whether an error may pass by itself: a full disk, or one that cannot be reached for a while."""
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in ("full", "locked", "disk I/O", "unable to open"))
    waits = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES, errno.EROFS)
    return isinstance(error, OSError) and error.errno in waits
