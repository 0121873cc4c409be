"""MVTec AD and everything in its layout, one category or a folder of many.

P. Bergmann, M. Fauser, D. Sattlegger, C. Steger, "MVTec AD: A Comprehensive Real-World Dataset for Unsupervised Anomaly
Detection", CVPR 2019. Masks are called ``NAME_mask.png`` or ``NAME.png``.
"""

from pathlib import Path

from training_code.data.adapters.copying import Target, defect_type_of, read_mask
from training_code.data.layout import find_samples
from training_code.errors import InputError


def prepare_mvtec(source: Path, target: Target) -> None:
    """Bring one category, or each category below ``source`` into a folder of its own."""
    if (source / "train").is_dir():
        prepare_category(source, target)
        return
    categories = sorted(folder for folder in source.iterdir() if (folder / "train").is_dir())
    if not categories:
        raise InputError(f"{source} is no dataset in the layout of MVTec AD: there is no folder train in it or below")
    for category in categories:
        prepare_category(category, Target(target.root / category.name, target.link))


def prepare_category(source: Path, target: Target) -> None:
    """Bring one category into ``target``."""
    samples, findings = find_samples(source)
    if refused := [finding for finding in findings if finding.treatment == "refused"]:
        raise InputError(f"{refused[0].path} {refused[0].what}")
    for sample in samples:
        defect_type = defect_type_of(sample.defect_type)
        folder = source / sample.split
        below = sample.path.relative_to(folder).parts[1:] if sample.path.is_relative_to(folder) else [sample.path.name]
        path = target.add(sample.path, sample.split, defect_type, "_".join(below))
        if sample.mask:
            target.add_mask(read_mask(sample.mask), path)
