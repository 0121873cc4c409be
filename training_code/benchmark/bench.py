"""What measurements share: the images, a folder for temporary files, and new processes."""

import itertools
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_code.benchmark.images import copy_images


@dataclass
class Bench:
    """The images, and a folder for temporary files."""

    data: str
    scratch: Path

    def in_new_process(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``work`` returns in a new process, whose memory nothing else has used."""
        os.environ["TQDM_DISABLE"] = "1"  # no progress bars in the new process
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(work, *arguments).result()

    def images(self, count: int) -> Path:
        """Return a folder with that many training images, or all there are."""
        folder = self.scratch / f"images-{count}"
        return folder if folder.is_dir() else copy_images(self.data, count, folder)

    def fresh(self) -> Path:
        """Return the path of a folder that does not exist yet."""
        return self.scratch / f"fresh-{next(_NUMBERS)}"


_NUMBERS = itertools.count()
