"""What teaching begins with: a run that can be taught, its images, and photographs that it has not seen."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training_code.data.dataset import Dataset
from training_code.data.inspection import inspect_file
from training_code.data.sample import LABELLED, TEST, TRAIN, VALIDATION, Sample
from training_code.data.taught import groups_beside
from training_code.detectors.registry import DETECTORS, get_detector
from training_code.foundation.clock import now
from training_code.foundation.errors import InputError, choices
from training_code.foundation.files import content_hash
from training_code.preparation import Conditions, read_conditions
from training_code.records.linking import copy
from training_code.records.reading import read_record
from training_code.records.record import CHECKPOINT, Record
from training_code.records.taught import IMAGES, TaughtImage


def teachable(folder: Path, run_id: str) -> Record:
    """Return the record of a run that can be taught; raise an `InputError` for others."""
    record = read_anyhow(folder)
    if record is None or record.status != "ok":
        raise InputError(f"{run_id} did not end well: {record.status if record else 'it is unfinished'}")
    takes_in = get_detector(record.detector).takes_in
    if takes_in is None:
        can = choices(name for name, spec in DETECTORS.items() if spec.takes_in)
        raise InputError(f"{record.detector} cannot be taught without being trained anew; valid: runs of {can}")
    checkpoint = folder / CHECKPOINT
    why = None
    if folder.name != run_id:
        why = "it was made by an earlier version; run it again"
    elif record.dataset.references:
        why = "it compares images with golden samples, and a taught photograph has none"
    elif record.calibration is None:
        why = "it has no thresholds that could be calibrated again"
    elif not checkpoint.is_file() or record.checkpoint is None or content_hash(checkpoint) != record.checkpoint.sha256:
        why = f"{checkpoint} is not the file that it wrote; run it again"
    elif takes_in == "patches" and "radius" not in record.training:
        why = "it was made before records said how far patches are from the memory bank; run it again"
    if why is not None:
        raise InputError(f"{run_id} cannot be taught: {why}")
    return record


def conditions_of(record: Record) -> Conditions:
    """Return the conditions under which a run was made, with its dataset as it is now.

    Raises
    ------
    InputError
        If the dataset is not there, or its images are not those of the run.
    """
    identity = record.identity
    protocol = {name: getattr(identity.protocol, name) for name in identity.protocol.names()}
    compute = {name: getattr(record.options, name) for name in record.options.names()}
    conditions = read_conditions(record.dataset.folder, seed=identity.seed, protocol=protocol, compute=compute)
    if conditions.dataset.fingerprint != identity.dataset_fingerprint:
        raise InputError(
            f"the images in {record.dataset.folder} are not those that {record.run_id} was made with, by which its "
            "thresholds would be calibrated again; valid: the dataset as it was"
        )
    return dataclasses.replace(conditions, protocol=identity.protocol)


def weight_of(record: Record, earlier: Record | None, asked: int | None) -> int:
    """Return how many times each taught image counts, of before and now; ``earlier`` is the taught detector, if any."""
    if asked not in (None, 1) and get_detector(record.detector).takes_in != "sums":
        raise InputError(f"weight={asked} is for sums, and {record.detector} keeps patches; valid: 1")
    before = None if earlier is None or earlier.taught is None else earlier.taught.weight
    if before is not None and asked not in (None, before):
        raise InputError(
            f"weight={asked} is not that of the photographs that {record.run_id} was taught before, and all of them "
            f"count alike; valid: {before}, or any after anomaly teach {record.run_id} --undo"
        )
    return before or asked or 1


def gather(
    before: Path, place: Path, photographs: Mapping[Path, str], datasets: Sequence[Dataset]
) -> dict[Path, TaughtImage]:
    """Put all images that are taught into a folder: those of before, and photographs; return what is known of them.

    ``datasets`` are that of the run and others, none of which may call a photograph defective.
    """
    place.mkdir()
    earlier = read_anyhow(before)
    known = earlier.taught.images if earlier is not None and earlier.taught is not None else ()
    images: dict[Path, TaughtImage] = {}
    for image in known:
        copy(before / IMAGES / image.name, place / image.name)
        images[place / image.name] = image
    trained = {datasets[0].facts[sample.path].sha256 for sample in datasets[0].select(TRAIN)}
    labelled = [(each, sample) for each in datasets for sample in each.samples if sample.abnormal]
    defective = {each.facts[sample.path].sha256: sample for each, sample in labelled}
    seen, moment = trained | {image.sha256 for image in images.values()}, now()
    for path, part in photographs.items():
        facts = inspect_file(path)
        if facts.problem:
            raise InputError(f"{path} {facts.problem}")
        if shown := defective.get(facts.sha256):
            raise InputError(f"{path} is to be taught as good, and {shown.path}, which is the same, shows a defect")
        if facts.sha256 in seen:
            continue
        seen.add(facts.sha256)
        name = f"{facts.sha256[:16]}{path.suffix.lower()}"
        shutil.copyfile(path, place / name)
        images[place / name] = TaughtImage(facts.sha256, name, str(path), part, moment)
    if len(images) == len(known):
        raise InputError(f"all {len(photographs)} photographs are trained on or taught already; valid: other ones")
    return images


@dataclass(frozen=True)
class Kept:
    """A dataset without what must not judge a taught detector.

    Attributes
    ----------
    dataset
        Without the test images that show what is taught, and without such good images beside the training images,
        on which thresholds would rest.
    left
        How many test images that are.
    groups
        The group of each image that is taught, and of those of the dataset that are joined with it.
    """

    dataset: Dataset
    left: int
    groups: Mapping[Path, str]


def without_taught(dataset: Dataset, parts: Mapping[Path, str]) -> Kept:
    """Return a dataset without the images that show what is taught and would judge; ``parts`` are of what is taught."""
    groups = groups_beside(dataset, parts)
    shown = {groups[path] for path in parts}
    joined = {path: group for path, group in groups.items() if group in shown}
    samples = tuple(each for each in dataset.samples if not (each.path in joined and _judges(each)))
    kept = dataclasses.replace(dataset, samples=samples)
    return Kept(kept, len(dataset.select(TEST)) - len(kept.select(TEST)), joined)


def _judges(sample: Sample) -> bool:
    """Return whether figures or thresholds rest on an image that is not trained on."""
    return sample.split == TEST or (sample.split in (VALIDATION, LABELLED) and not sample.abnormal)


def read_anyhow(folder: Path) -> Record | None:
    """Return the record in a folder, None where there is none; raise an `InputError` where it is damaged."""
    try:
        return read_record(folder)
    except ValueError as error:
        raise InputError(str(error)) from error
