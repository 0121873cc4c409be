"""MVTec AD and everything in its layout, one category or a folder of many.

P. Bergmann, M. Fauser, D. Sattlegger, C. Steger, "MVTec AD: A Comprehensive Real-World Dataset for Unsupervised Anomaly
Detection", CVPR 2019. Masks are called ``NAME_mask.png`` or ``NAME.png``.
"""

from pathlib import Path

from training_code.data.adapters.copying import Target
from training_code.data.groups import read_groups
from training_code.data.layout import find_samples
from training_code.data.pairing import folded
from training_code.foundation.errors import InputError

# Kinds of findings about the source that are told; the others are found later for the whole source, or in the copy.
_TOLD = ("misplaced", "mask without image", "no image", "excluded")


def prepare_mvtec(source: Path, target: Target) -> None:
    """Bring one category, or each category below ``source`` into a folder of its own."""
    prepare_categories(source, target, "train", "in the layout of MVTec AD")


def prepare_categories(source: Path, target: Target, training: str, layout: str) -> None:
    """Bring ``source`` into ``target`` if it has the folder ``training``, otherwise each folder below that has it."""
    for folder, category in category_folders(source, target, training, layout):
        _prepare_category(folder, category)


def category_folders(source: Path, target: Target, inside: str, layout: str) -> list[tuple[Path, Target]]:
    """Return ``source`` if it has the folder ``inside``, otherwise each folder below that has it, with its target.

    Raises
    ------
    InputError
        If there is no such folder; ``layout`` says what the source is not.
    """
    if (source / inside).is_dir():
        return [(source, target)]
    folders = sorted(folder for folder in source.iterdir() if (folder / inside).is_dir())
    if not folders:
        raise InputError(f"{source} is no dataset {layout}: there is no folder {inside} in it or one below")
    return [(folder, target.category(folder.name)) for folder in folders]


def _prepare_category(source: Path, target: Target) -> None:
    found = find_samples(source)
    if refused := [finding for finding in found.findings if finding.treatment == "refused"]:
        raise InputError(f"{refused[0].path} {refused[0].what}")
    target.findings.extend(f for f in found.findings if f.kind in _TOLD)
    for mask in found.good_masks:
        target.check_good(mask)
    images = [sample.path for sample in [*found.samples, *found.excluded]]
    groups = found.groups or read_groups(source, images)
    for sample in found.samples:
        parts = sample.path.relative_to(source).parts if sample.path.is_relative_to(source) else ()
        below = parts[2:] if parts and folded(parts[0]) == sample.split else [sample.path.name]
        path = target.add(sample.path, sample.split, sample.defect_type, "_".join(below), groups.get(sample.path))
        if sample.mask:
            target.add_mask(target.read_mask(sample.mask, found.mask_threshold), path)
