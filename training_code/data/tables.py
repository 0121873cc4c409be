"""Tables that users put beside the images of a dataset."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from training_code.data.pairing import composed
from training_code.foundation.errors import InputError, choices


def read_rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """Return the rows of a CSV file below its header, which must be ``columns``; the first one is line 2 of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or has other columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if tuple(header) != tuple(columns):
        raise InputError(f"{path} has the columns {choices(header) or 'none'}; valid: {choices(columns)}")
    return rows


class ImagesByName:
    """The images of a dataset as tables name them: by their paths from its folder, in any form of their letters.

    Parameters
    ----------
    root
        Folder of the dataset; images that lie elsewhere are named by their whole path.
    images
        The images.
    """

    def __init__(self, root: Path, images: Iterable[Path]) -> None:
        self._root = root
        self._images = {composed(name): image for image in images for name in (self.name_of(image), str(image))}

    def name_of(self, image: Path) -> str:
        """Return how a table names an image."""
        return image.as_posix().removeprefix(f"{self._root.as_posix().rstrip('/')}/")

    def find(self, name: str) -> Path | None:
        """Return the image of a name, which may have been written on Windows; None if there is none."""
        return self._images.get(composed(name)) or self._images.get(composed(name.replace("\\", "/")))
