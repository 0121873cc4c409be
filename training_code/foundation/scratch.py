"""`ScratchFile`: a temporary file for what does not fit into memory."""

import errno
import os
import tempfile

from training_code.foundation.files import free_space
from training_code.foundation.memory import allowed, readable, scratch_folder


class ScratchFile:
    """A file without a name in the `scratch_folder`, which is gone with the object or the process.

    Parameters
    ----------
    holds
        What is kept in it, for the message when there is no room for it.
    expected
        Bytes that will be written, if they are known: then they are asked for at once.

    Raises
    ------
    OSError
        Here and later: if the disk is full; the message names what is needed and where.
    """

    def __init__(self, holds: str, expected: int = 0) -> None:
        self.holds, self.folder = holds, scratch_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        if expected > free_space(self.folder):
            raise self._too_full(expected)
        self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115  # open as long as the object
        self._expected = expected

    def write(self, place: int, content: memoryview) -> int:
        """Write bytes from ``place`` on; return where they end."""
        left = content.cast("B")
        while left:
            try:
                written = os.pwrite(self._file.fileno(), left, place)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise self._too_full(max(self._expected, place + len(left))) from error
            left, place = left[written:], place + written
        return place

    def read(self, place: int, into: memoryview) -> None:
        """Fill ``into`` with the bytes from ``place`` on."""
        left = into.cast("B")
        while left:
            count = os.preadv(self._file.fileno(), [left], place)
            if not count:
                raise OSError(f"a temporary file in {self.folder} ended before all that was written")
            left, place = left[count:], place + count

    def _too_full(self, size: int) -> OSError:
        return OSError(
            errno.ENOSPC,
            f"{self.folder} has no room for {readable(size)} of {self.holds}, which do not fit into the memory of the "
            f"run ({readable(allowed())}): make room, or raise memory_limit",
        )
