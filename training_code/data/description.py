"""``dataset.yaml`` in the folder of a dataset: which folders hold its images, and how its masks are read."""

import os
from pathlib import Path
from typing import Any

from training_code.data.findings import FileFinding
from training_code.data.walk import check_apart
from training_code.foundation.errors import InputError, choices, suggestion, unknown
from training_code.foundation.yaml_files import as_plain, as_text, read_yaml

#: Describes folders that lie anywhere; the keys are the arguments of anomalib's `Folder`.
DESCRIPTION = "dataset.yaml"
DESCRIPTION_KEYS = ("normal_dir", "abnormal_dir", "normal_test_dir", "mask_dir")
#: Says in a description from which value on a pixel of a mask counts as defect.
MASK_THRESHOLD = "mask_threshold"
#: Lists in a description the folders whose images are not meant to be read.
IGNORED = "ignored_dirs"


def read_description(root: Path, readable: bool) -> tuple[dict[str, Any], list[FileFinding]]:
    """Return what the description of a dataset says, and findings about it.

    Parameters
    ----------
    root
        Folder of the dataset.
    readable
        Whether its folders have a layout that is read without a description; one of another program is skipped then.

    Raises
    ------
    InputError
        If the description is wrong.
    """
    path = root / DESCRIPTION
    if not path.is_file():
        return {}, []
    content = read_yaml(path)
    valid = (*DESCRIPTION_KEYS, MASK_THRESHOLD, IGNORED)
    content = content if isinstance(content, dict) else {}
    others = [key for key in content if key not in valid]
    if len(others) == len(content) and not any(suggestion(key, valid) for key in others) and readable:
        what = f"describes no dataset of this project and is not read; its keys would be {choices(valid)}"
        return {}, [FileFinding(path, "foreign description", what, "kept")]
    if content.get(DESCRIPTION_KEYS[0]) is None and not (
        content and {*content} <= {MASK_THRESHOLD, IGNORED} and readable
    ):
        raise InputError(f"{path} must have the key normal_dir with a folder; valid keys: {choices(valid)}")
    if others:
        raise unknown(f"key of {path}", others[0], valid)
    threshold = as_plain(content.get(MASK_THRESHOLD))
    if MASK_THRESHOLD in content and not (type(threshold) is int and 1 <= threshold <= 65535):
        raise InputError(f"{path}: {MASK_THRESHOLD} is {threshold!r}; valid: a whole number from 1 to 65535")
    names = content.get(IGNORED, [])
    names = [as_text(name) for name in names] if isinstance(names, list) else names
    if not (isinstance(names, list) and all(isinstance(name, str) and (root / name).is_dir() for name in names)):
        raise InputError(f"{path}: {IGNORED} is {names!r}; valid: a list of folders beside it")
    settled = {MASK_THRESHOLD: threshold, IGNORED: names}
    return content | {name: value for name, value in settled.items() if name in content}, []


def described_folders(path: Path, content: dict[str, Any]) -> tuple[Path, Path | None, Path | None, Path | None]:
    """Return the folders that a description names, relative ones from where it lies."""
    folders = []
    for key in DESCRIPTION_KEYS:
        folder = as_text(content.get(key))
        if folder is not None and not (isinstance(folder, str) and os.path.isdir(path.parent / folder)):
            raise InputError(f"{path}: there is no folder {folder!r} ({key})")
        folders.append(path.parent / folder if folder else None)
    check_apart({key: folder for key, folder in zip(DESCRIPTION_KEYS, folders, strict=True) if folder})
    normal, abnormal, normal_test, masks = folders
    return normal or path.parent, abnormal, normal_test, masks
