"""The golden sample that each image is compared with: a file for all of them, or a folder in which names decide."""

from pathlib import Path

from inference_code.sources.frames import Frame
from training_code.data.references import ReferencesByName
from training_code.data.walk import find_images, is_image
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices


class GoldenSamples:
    """The references of frames.

    Parameters
    ----------
    place
        A file, or a folder in which each image has the reference of its path below ``root`` or of its name.
    root
        The folder or file that the frames come from.

    Raises
    ------
    InputError
        If there is no such file or folder, or no image in it.
    """

    def __init__(self, place: str, root: str) -> None:
        self.place, self.root = paths.expanded(place), paths.expanded(root)
        if self.place.is_dir():
            files = find_images(self.place)
        elif self.place.is_file() and is_image(self.place):
            files = [self.place]
        else:
            raise InputError(f"--reference is {place!r}; valid: an image, or a folder of images")
        if not files:
            raise InputError(f"--reference: {place} holds no image")
        self._names = ReferencesByName(files, self.place if self.place.is_dir() else self.place.parent)
        self._alone = files[0] if len(files) == 1 else None

    def of(self, frame: Frame) -> Path:
        """Return the reference of a frame.

        Raises
        ------
        InputError
            If it has none or several.
        """
        if self._alone:
            return self._alone
        if not isinstance(frame.image, Path):
            raise InputError(f"{frame.name} has frames without names; valid for --reference: one image for all of them")
        found = self._names.find(frame.image, self.root)
        if not found:
            raise InputError(f"{frame.name} has no reference of its name in {self.place}")
        if len(found) > 1:
            names = choices(path.relative_to(self.place).as_posix() for path in found)
            raise InputError(f"{frame.name} has several references of its name in {self.place}: {names}")
        return found[0]
