"""The service as people start it: a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training_code.foundation import paths


@contextmanager
def serve(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start ``python -m inference_code.serve``; yield the process and its address once it answers.

    The port is one that is free, unless the arguments say another one.
    """
    command = [sys.executable, "-m", "inference_code.serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=paths.ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        found = re.match(r"(http://\S+) serves ", line)
        assert found, f"{command} said {line!r}"
        yield process, found[1]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
