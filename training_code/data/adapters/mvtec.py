"""MVTec AD and everything in its layout, one category or a folder of many.

P. Bergmann, M. Fauser, D. Sattlegger, C. Steger, "MVTec AD: A Comprehensive Real-World Dataset for Unsupervised Anomaly
Detection", CVPR 2019. Masks are called ``NAME_mask.png`` or ``NAME.png``.
"""

from pathlib import Path

from training_code.data.adapters.copying import Target, read_mask
from training_code.data.layout import find_samples
from training_code.foundation.errors import InputError


def prepare_mvtec(source: Path, target: Target) -> None:
    """Bring one category, or each category below ``source`` into a folder of its own."""
    prepare_categories(source, target, "train", "in the layout of MVTec AD")


def prepare_categories(source: Path, target: Target, training: str, layout: str) -> None:
    """Bring ``source`` into ``target`` if it has the folder ``training``, otherwise each folder below that has it."""
    if (source / training).is_dir():
        _prepare_category(source, target)
        return
    categories = sorted(folder for folder in source.iterdir() if (folder / training).is_dir())
    if not categories:
        raise InputError(f"{source} is no dataset {layout}: there is no folder {training} in it or one below")
    for category in categories:
        _prepare_category(category, Target(target.root / category.name, target.link))


def _prepare_category(source: Path, target: Target) -> None:
    samples, findings = find_samples(source)
    if refused := [finding for finding in findings if finding.treatment == "refused"]:
        raise InputError(f"{refused[0].path} {refused[0].what}")
    for sample in samples:
        folder = source / sample.split
        below = sample.path.relative_to(folder).parts[1:] if sample.path.is_relative_to(folder) else [sample.path.name]
        path = target.add(sample.path, sample.split, sample.defect_type, "_".join(below))
        if sample.mask:
            target.add_mask(read_mask(sample.mask), path)
