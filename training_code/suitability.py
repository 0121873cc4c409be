"""Whether a fit has what it needs: memory, room on the disk, labelled defects. What is lacking is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training_code.data.dataset import Dataset
from training_code.data.division import Division
from training_code.data.sample import VALIDATION
from training_code.detectors.extent import Need
from training_code.detectors.spec import DetectorSpec
from training_code.foundation.errors import InputError
from training_code.foundation.files import free_space
from training_code.foundation.memory import readable

#: Parts with labelled defects that a detector needs which learns from them.
LEAST_LABELLED = 2


def check_memory(need: Need, detector: str, size: tuple[int, int], allowed: int, scratch: Path) -> None:
    """Refuse a fit that does not fit into the memory that it may take, or whose file does not fit onto the disk.

    Parameters
    ----------
    need
        Of the fit.
    detector
        Its name.
    size
        Height and width of the images in pixels.
    allowed
        Bytes of memory.
    scratch
        Where the file will lie, see `training_code.foundation.scratch`.

    Raises
    ------
    InputError
        If it does not fit.
    """
    if need.memory > allowed:
        raise InputError(
            f"{detector} needs {readable(need.memory)} at once for {readable(need.features)} of features at "
            f"{size[0]} × {size[1]} pixels, more than the {readable(allowed)} that it may take; valid: {need.instead}, "
            "or a larger memory_limit"
        )
    free = free_space(scratch)
    if need.disk > free:
        raise InputError(
            f"{detector} puts {readable(need.disk)} of features into a file in {scratch}, where {readable(free)} are "
            f"free; valid: {need.instead}, or a larger memory_limit"
        )


def check_labels(
    spec: DetectorSpec, arguments: Mapping[str, Any], dataset: Dataset, divided: Division, rule: str
) -> None:
    """Refuse a configuration or a rule for thresholds that needs labelled defects which a dataset does not have.

    Parameters
    ----------
    spec, arguments
        Of the configuration.
    dataset, divided
        The images, and how they are divided.
    rule
        That of the thresholds.

    Raises
    ------
    InputError
        If there are too few labelled defects.
    """
    name, learns = dataset.name, spec.learns_from_labels(arguments)
    how = f"put them into {VALIDATION}/<defect type>, or set labelled, which takes them out of the test set"
    if learns and not divided.learned:
        raise InputError(f"{spec.name} learns from labelled defects, and {name} has none: {how}")
    if learns and not any(sample.mask for sample in divided.learned):
        raise InputError(f"{spec.name} learns from labelled defects with masks, and those of {name} have none")
    groups = {dataset.groups[sample.path] for sample in [*divided.learned, *divided.labelled]}
    if learns and len(groups) < LEAST_LABELLED:
        raise InputError(
            f"{spec.name} needs at least {LEAST_LABELLED} parts with labelled defects, one to learn from while another "
            f"one is kept apart, and {name} has {len(groups)}"
        )
    if rule == "labelled" and not divided.labelled:
        raise InputError(f"threshold='labelled' needs labelled defects to judge by, and {name} has none: {how}")
