"""The keys of the service, from a file."""

import os
import stat
from pathlib import Path

from training_code.foundation.errors import InputError

# Shorter ones can be guessed.
_SHORTEST_KEY = 16


def read_keys(path: Path) -> list[str]:
    """Return the keys in a file, one in each line; empty lines and those that begin with # are passed over.

    Raises
    ------
    InputError
        If there is none, or one is shorter than 16 characters or holds others than letters, digits and signs of ASCII;
        or if everybody on this machine may read or change the file.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file; valid: a file with a key in each line")
    if os.name == "posix" and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise InputError(f"{path} may be read or changed by everybody on this machine; chmod 600 {path} ends that")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise InputError(f"{path} holds no key; valid: one in each line")
    for number, key in enumerate(keys, 1):
        if len(key) < _SHORTEST_KEY or not all("!" <= character <= "~" for character in key):
            raise InputError(
                f"key {number} of {path} is not valid; valid: {_SHORTEST_KEY} or more letters, digits and signs"
            )
    return keys
