"""The commands of docs/tutorial.md, run in their order as a reader would, on the embedded boards."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers.commands import commands
from training_code.data.demo import EMBEDDED
from training_code.foundation import paths

PAGE = paths.ROOT / "docs" / "tutorial.md"
#: The file of the repository that it sweeps over.
SWEEP = "sweeps/boards.yaml"
#: A photograph of a bad part that lies among the good ones.
STRAY = "PHOTOS/good/IMG_9999.png"
#: Not run: installs gigabytes.
LEFT_OUT = "make environment"


@dataclass(frozen=True)
class Step:
    """A step of the tutorial."""

    number: int
    title: str
    commands: tuple[str, ...]


def read_steps() -> list[Step]:
    """Return the steps of the page."""
    found = re.split(r"^## (\d+)\. (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    steps = []
    for number, title, text in zip(found[::3], found[1::3], found[2::3], strict=True):
        lines = tuple(line for line in commands(text) if line != LEFT_OUT)
        steps.append(Step(int(number), title, lines))
    return steps


class Reader:
    """Someone who goes through the tutorial in a folder of their own.

    Parameters
    ----------
    home
        The folder, which is made.
    good, bad
        How many photographs they have.
    image_size
        What they set in the sweep file; None for what stands there.
    """

    def __init__(self, home: Path, good: int = 72, bad: int = 23, image_size: int | None = None) -> None:
        self.home = home
        sweep = (paths.ROOT / SWEEP).read_text(encoding="utf-8")
        if image_size is not None:
            sweep = re.sub(r"image_size: \d+", f"image_size: {image_size}", sweep)
        (home / SWEEP).parent.mkdir()
        (home / SWEEP).write_text(sweep)
        boards = EMBEDDED["pcb"](home / "embedded")
        photographs = sorted(boards.glob("t*/good/*")), sorted(boards.glob("test/m*/*"))
        for name, chosen, count in zip(("good", "bad"), photographs, (good, bad), strict=True):
            for number, path in enumerate(chosen[:count]):
                self._put(path, f"PHOTOS/{name}/IMG_{number:04}.png")
                if number < 4:
                    self._put(path, f"NEW_IMAGES/{name}_{number}.png")
        self._put(photographs[1][bad], STRAY)
        for part, views in enumerate((("good", "good"), ("good", "bad"), ("bad", "good"), ("good", "good"))):
            for view, kind in enumerate(views, 1):
                self._put(home / f"NEW_IMAGES/{kind}_{part}.png", f"INBOX/board-{part + 17}_{view}.png")

    def _put(self, photograph: Path, name: str) -> None:
        (self.home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, self.home / name)

    def follow(self, step: Step, meanwhile: Callable[[str], object]) -> str:
        """Do what a step says, and return what the commands print; ``meanwhile`` gets the address of a service."""
        return "".join(self._run(command, meanwhile) for command in step.commands)

    def _run(self, command: str, meanwhile: Callable[[str], object]) -> str:
        program, *arguments = (STRAY if word == "IMAGE" else word for word in shlex.split(command, comments=True))
        assert program == ".venv/bin/anomaly", command
        told = {"cwd": self.home, "env": self._environment(), "text": True}
        full = [sys.executable, "-W", "ignore", "-m", "inference_code.cli", *arguments]
        if arguments[0] == "serve":
            return _serve([*full, "--port", "0"], told, meanwhile)
        done = subprocess.run(full, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **told)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return f"$ {command}\n{done.stdout}"

    def _environment(self) -> dict[str, str]:
        return os.environ | {"ANOMALY_HOME": str(self.home), "PYTHONPATH": str(paths.ROOT), "PYTHONUNBUFFERED": "1"}


def _serve(command: list[str], told: dict, meanwhile: Callable[[str], object]) -> str:
    with subprocess.Popen(command, stdout=subprocess.PIPE, **told) as process:
        line = process.stdout.readline()
        found = re.match(r"(http://\S+) serves ", line)
        try:
            assert found, f"the service said {line!r}"
            meanwhile(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return line
