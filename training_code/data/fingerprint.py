"""The fingerprint of a dataset: what its images, masks and labels are, whatever they are called."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from training_code.data.facts import Facts
from training_code.data.region_of_interest import RegionOfInterest
from training_code.data.sample import TRAIN, Sample


def fingerprint(
    samples: Collection[Sample],
    facts: Mapping[Path, Facts],
    groups: Mapping[Path, str],
    mask_threshold: int | None,
    region: RegionOfInterest | None = None,
) -> str:
    """Return the SHA-256 over the content of all images, masks, references and labels, whatever their names and order.

    It includes which training images are of one group, since groups decide what is held out; a dataset in which each
    training image is a group of its own has the same fingerprint as one without groups.

    Parameters
    ----------
    samples
        The images, divided as the folder of the dataset says.
    facts
        Of all files.
    groups
        Of each image.
    mask_threshold
        The folder's threshold for masks, None where the content of each mask decides what it marks.
    region
        What of all images is looked at; None for all of them.
    """
    entries = sorted(
        "/".join(
            [
                sample.split,
                sample.defect_type,
                facts[sample.path].sha256,
                facts[sample.mask].sha256 if sample.mask else "",
                *([facts[sample.reference].sha256] if sample.reference else []),
                *(f"{box}" for box in sample.boxes),
            ]
        )
        for sample in samples
    )
    trained = [sample.path for sample in samples if sample.split == TRAIN]
    sizes = Counter(groups[path] for path in trained)
    members: dict[str, list[str]] = defaultdict(list)
    for path in trained:
        if sizes[group := groups[path]] > 1:
            members[group].append(facts[path].sha256)
    entries += sorted(f"group/{'/'.join(sorted(group))}" for group in members.values())
    if mask_threshold:
        entries.append(f"mask_threshold/{mask_threshold}")
    if region is not None:
        entries.append(f"region/{region.sha256}")
    return hashlib.sha256("\n".join(entries).encode(errors="surrogateescape")).hexdigest()
