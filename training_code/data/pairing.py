"""Pairing images with their masks by name: never by position, and whatever form or case the letters have."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from training_code.data.findings import FileFinding
from training_code.data.walk import find_images, relative_name

# What the name of a mask may have after the name of its image.
_WORD = re.compile(r"(?<=[^/])[-_.\x20](masks?|labels?|gt|ground_?truth)$", re.IGNORECASE)


def without_word(name: str) -> str:
    """Return the name of the image that a mask belongs to, both without ending: ``a`` for ``a_mask``."""
    return _WORD.sub("", name)


def composed(name: str) -> str:
    """Return a name in Unicode's composed form: macOS decomposes an ``é``, other systems do not."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name in Unicode's composed form, with its case folded."""
    return composed(composed(name).casefold())


#: How names are compared, the most exact way first.
FORMS: tuple[Callable[[str], str], ...] = (str, composed, folded)


def find_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the folder in ``root`` with the first of the names that exists, compared as `FORMS` say."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    for name in names:
        for form in FORMS:
            for folder in folders:
                if form(folder.name) == form(name):
                    return folder
    return None


def pair_masks(
    images: Sequence[Path], folder: Path, mask_folder: Path | None
) -> tuple[dict[Path, Path], list[FileFinding]]:
    """Pair each image below ``folder`` with the mask of its name below ``mask_folder``.

    A mask has the name of its image, or that name with a word such as ``_mask`` behind it; it lies in the folder of the
    same name, or at the top. Names that are exactly the same have priority.
    """
    if mask_folder is None or not mask_folder.is_dir():
        return {}, []
    masks = find_images(mask_folder)
    top = [mask for mask in masks if mask.parent == mask_folder]
    pairs: dict[Path, Path] = {}
    findings: list[FileFinding] = []
    taken: set[Path] = set()
    for form in FORMS:
        for candidates, image_folder in ((masks, folder), (top, None)):
            waiting = {image: form(_key(image, image_folder)) for image in images if image not in pairs}
            offered = {mask: form(_key(mask, mask_folder)) for mask in candidates if mask not in taken}
            found, odd = _match(waiting, offered)
            pairs |= found
            findings += odd
            taken |= {*found.values(), *(finding.path for finding in odd)}
    unused = [mask for mask in masks if mask not in taken]
    return pairs, findings + [
        FileFinding(mask, "mask without image", "is a mask without an image", "skipped") for mask in unused
    ]


def _key(path: Path, folder: Path | None) -> str:
    """Return a file's name without its ending, with the folders that lead there from ``folder``."""
    name = path.name if folder is None else relative_name(path, folder)
    return name.removesuffix(path.suffix)


def _match(images: Mapping[Path, str], masks: Mapping[Path, str]) -> tuple[dict[Path, Path], list[FileFinding]]:
    """Pair images and masks by their keys; more than one of either for a key becomes a finding."""
    names = set(images.values())
    by_key: dict[str, list[Path]] = defaultdict(list)
    for mask, key in masks.items():
        # The mask a_label of an image a_label does not belong to an image a.
        for name in {key, key if key in names else without_word(key)}:
            by_key[name].append(mask)
    pairs: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    findings = []
    for image, key in images.items():
        if key not in by_key:
            continue
        mask, *others = by_key[key]
        for other in others:
            what = f"is a second mask of {image.name}, beside {mask.name}"
            findings.append(FileFinding(other, "ambiguous mask", what, "refused"))
        if mask in owners:
            what = f"is the mask of two images, {owners[mask].name} and {image.name}; give each its own"
            findings.append(FileFinding(mask, "ambiguous mask", what, "refused"))
        pairs[image], owners[mask] = mask, image
    return pairs, findings
