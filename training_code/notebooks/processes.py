"""Whether the process that left something behind is still there."""

import psutil


def is_alive(pid: int, written: float) -> bool:
    """Return whether the process that wrote something is still there, and not another one of the same number.

    Parameters
    ----------
    written
        When it wrote that, in seconds since the epoch.
    """
    try:
        process = psutil.Process(pid)
        # File systems and the kernel count time in steps of their own.
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # another user's, for instance: it is there
        return True
