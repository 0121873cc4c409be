"""Copying a subset of a tree of images and keeping its hierarchy: for instance only the good images of a folder.

``python -m training_code.data.good_data_extractor SRC DST --pattern "*good*" --suffix _line2`` does it.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from tqdm import tqdm

from training_code.data.walk import check_apart, find_files, find_images, find_unread_images
from training_code.foundation.errors import InputError, choices, run_command
from training_code.foundation.files import atomic_path


def extract(
    source: Path,
    destination: Path,
    patterns: Sequence[str] = ("*",),
    extensions: Sequence[str] = (),
    suffix: str = "",
) -> int:
    """Copy the images below ``source`` that match, keeping the hierarchy and the times of files; return how many.

    Parameters
    ----------
    source
        The tree; never changed.
    destination
        Where the copies go. Copies of an earlier call are written again, other files are left alone.
    patterns
        Shell patterns; a file is taken if one matches its path from ``source`` or its name, in any case.
    extensions
        Endings of names that are taken, in any case, with their dot; every image if there are none.
    suffix
        Put behind the name of each copy, before its ending.

    Raises
    ------
    InputError
        If nothing matches, or the source and the destination lie in one another.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> source, destination = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    >>> for name in ("line1_good", "line1_bad", "line2_good"):
    ...     Image.new("L", (8, 8)).save(source / f"{name}.png")
    >>> extract(source, destination, patterns=["*good*"], suffix="_new")
    2
    >>> sorted(path.name for path in destination.iterdir())
    ['line1_good_new.png', 'line2_good_new.png']
    """
    if not source.is_dir():
        raise InputError(f"there is no folder {source}")
    check_apart({"source": source, "destination": destination})
    if "/" in suffix or "\\" in suffix:
        raise InputError(f"suffix={suffix!r} must be a part of a name, without slashes")
    endings = {ending.lower() if ending.startswith(".") else f".{ending.lower()}" for ending in extensions}
    named = (path for path in find_files(source) if path.suffix.lower() in endings)
    files = sorted(named) if endings else find_images(source)
    chosen = [path for path in files if _matches(path.relative_to(source), patterns)]
    if not chosen:
        kind = f"files in {source} that end in {choices(sorted(endings))}" if endings else f"images in {source}"
        raise InputError(f"none of {len(files)} {kind} matches {choices(patterns)}")
    targets = {
        path: destination / path.relative_to(source).with_name(f"{path.stem}{suffix}{path.suffix}") for path in chosen
    }
    for path, target in tqdm(targets.items(), unit="image", disable=None):
        with atomic_path(target) as temporary:
            shutil.copy2(path, temporary)
    return len(targets)


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    names = (path.as_posix().lower(), path.name.lower())
    return any(fnmatch(name, pattern.lower()) for name in names for pattern in patterns)


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training_code.data.good_data_extractor", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SRC", help="a tree of images; never changed")
    parser.add_argument("destination", type=Path, metavar="DST", help="folder for the copies")
    parser.add_argument("--pattern", action="append", metavar="PATTERN", help="take what matches, such as */good/*")
    parser.add_argument("--extension", action="append", metavar=".EXT", help="take these kinds (default: all images)")
    parser.add_argument("--suffix", default="", help="put behind the name of each copy")
    options = parser.parse_args(arguments)
    extensions = options.extension or ()
    count = extract(options.source, options.destination, options.pattern or ["*"], extensions, options.suffix)
    print(f"{count} images in {options.destination}")
    if not extensions and (others := find_unread_images(options.source)):
        print(
            f"skipped {len(others)} files with other extensions and the content of images, first {next(iter(others))}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
