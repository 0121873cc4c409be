"""A dataset folder, examined file by file: what can be used, what is converted or skipped, what is refused."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from training_code.data.checks import (
    can_be_tested,
    duplicates,
    good_mask_findings,
    image_findings,
    labelled_siblings,
    mask_findings,
    masks_among_images,
    reference_findings,
    siblings,
)
from training_code.data.facts import Facts
from training_code.data.findings import FileFinding, Finding, Kind
from training_code.data.fingerprint import fingerprint
from training_code.data.groups import find_groups
from training_code.data.inspection import inspect_files
from training_code.data.layout import find_samples
from training_code.data.looked_at import outside_region
from training_code.data.places import locate
from training_code.data.region_of_interest import RegionOfInterest, read_region
from training_code.data.sample import LABELLED, SPLITS, TRAIN, UNUSED, VALIDATION, Sample
from training_code.data.split import hold_out
from training_code.foundation import paths
from training_code.foundation.collection import rarely_collecting
from training_code.foundation.errors import InputError

#: Defect-free images without which nothing can be trained.
LEAST_TRAINING = 1
#: With so many, some can be held out for thresholds and for testing besides those for training.
FEW_TRAINING = 4
#: Numbers of bits that cameras and microscopes give their pixels.
DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Dataset:
    """The examined content of a dataset folder."""

    name: str
    root: Path
    samples: tuple[Sample, ...]
    facts: dict[Path, Facts] = field(repr=False)
    groups: Mapping[Path, str] = field(repr=False)  # of each image: those of one group show the same part
    findings: tuple[FileFinding, ...] = ()
    held_out: int = 0  # defect-free images that were taken from the training images for testing
    mask_threshold: int | None = None  # from which value on a pixel of a mask counts, where the folder says so
    alike: tuple[tuple[Path, Path], ...] = ()  # pairs that look alike, those of one group too
    region: RegionOfInterest | None = None  # what of all images is looked at, where the folder says so
    fingerprint_as_read: str | None = None  # where the protocol chose among the images: `take_labelled`, `take_few`
    products: tuple["Dataset", ...] = ()  # as they were read, where several are joined: `training_code.data.joined`
    contaminating: frozenset[Path] = frozenset()  # defective images among the training images, see `take_contaminated`

    @property
    def folder(self) -> str:
        """The folder as records name it."""
        return paths.relative_to_home(self.root)

    def select(self, split: str) -> tuple[Sample, ...]:
        """Return the samples of ``split``, one of `training_code.data.sample.SPLITS`."""
        return tuple(sample for sample in self.samples if sample.split == split)

    @property
    def labelled(self) -> tuple[Sample, ...]:
        """The images with defects that may choose and train, and are not tested on."""
        return tuple(each for each in self.samples if each.split in (VALIDATION, LABELLED) and each.abnormal)

    @property
    def unseen_good(self) -> tuple[Sample, ...]:
        """The good images beside them, as far as their groups are neither trained nor tested on."""
        trained = {self.groups[sample.path] for sample in self.select(TRAIN)}
        beside = [each for each in self.samples if each.split in (VALIDATION, LABELLED) and not each.abnormal]
        return tuple(each for each in beside if self.groups[each.path] not in trained)

    @property
    def has_masks(self) -> bool:
        """Whether the abnormal images have masks, so that pixel metrics can be computed."""
        return any(sample.mask for sample in self.samples)

    @property
    def has_references(self) -> bool:
        """Whether images are compared with golden samples."""
        return bool(self.references)

    @property
    def references(self) -> set[Path]:
        """The golden samples."""
        return {sample.reference for sample in self.samples if sample.reference}

    def sample(self, path: Path) -> Sample:
        """Return the image of a path."""
        return self._by_path[path]

    @cached_property
    def _by_path(self) -> dict[Path, Sample]:
        return {sample.path: sample for sample in self.samples}

    @property
    def counts(self) -> dict[str, int]:
        """Number of images by ``split/defect_type``, training first and testing last."""
        counts = Counter((SPLITS.index(sample.split), sample.defect_type) for sample in self.samples)
        return {f"{SPLITS[split]}/{kind}": count for (split, kind), count in sorted(counts.items())}

    @cached_property
    def bits(self) -> int:
        """Number of bits that stand for white in 16-bit grayscale images, as few as hold all values of the dataset."""
        deep = [facts.brightest for facts in self._image_facts if facts.bits == 16]
        return next(bits for bits in DEPTHS if max(deep, default=65535) < 2**bits)

    @property
    def refused(self) -> tuple[FileFinding, ...]:
        """Files that make the dataset unusable until they are fixed or removed."""
        return tuple(finding for finding in self.findings if finding.treatment == "refused")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Notes for readers of numbers on this dataset; files with the same finding share a note."""
        groups: dict[tuple[Kind, str], list[FileFinding]] = defaultdict(list)
        for finding in self.findings:
            groups[finding.kind, finding.what].append(finding)
        notes = []
        if self.held_out:
            total = self.held_out + sum(each.split in (TRAIN, UNUSED) and not each.abnormal for each in self.samples)
            message = (
                f"{self.held_out} of {total} defect-free images are held out for testing, since none are given for that"
            )
            notes.append(Finding("held out", message))
        if self.has_references and all(sample.abnormal for sample in self.select("test")):
            message = "no good image has a reference but itself: there is none to test on, and no metric that needs one"
            notes.append(Finding("no good images", message))
        if self.contaminating:
            contaminated = f"{len(self.contaminating)} of {len(self.select('train'))} training images"
            notes.append(Finding("contaminated", f"{contaminated} show defects, as contamination asks of the protocol"))
        if 0 < (train := len(self.select("train"))) < FEW_TRAINING:
            notes.append(Finding("few images", few_images(train)))
        for (kind, _), findings in groups.items():
            others = f" (and {len(findings) - 1} others)" if len(findings) > 1 else ""
            notes.append(Finding(kind, f"{self.sentence(findings[0])}{others}"))
        return tuple(notes)

    def sentence(self, finding: FileFinding) -> str:
        """Return a finding as a sentence."""
        other = f" ({self.relative(finding.other)})" if finding.other else ""
        return f"{self.relative(finding.path)} {finding.what}{other}"

    @cached_property
    def fingerprint(self) -> str:
        """What `training_code.data.fingerprint.fingerprint` says of the dataset as it was read."""
        if self.fingerprint_as_read is not None:
            return self.fingerprint_as_read
        return fingerprint(self.samples, self.facts, self.groups, self.mask_threshold, self.region)

    def relative(self, path: Path) -> str:
        """Return a file's name as people read it: from the folder of the dataset where it lies below it."""
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        name = path.name if name == "." else name
        return name if name.isprintable() else ascii(name)

    def name_of(self, path: Path) -> str:
        """Return the name of an image as tables of runs have it, see `training_code.data.places.image_file`."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def product_of(self, path: Path) -> "Dataset":
        """Return the dataset that a file belongs to: this one, where it is not joined of several."""
        return self

    @property
    def _image_facts(self) -> list[Facts]:
        return [self.facts[path] for sample in self.samples for path in (sample.path, sample.reference) if path]


def read_dataset(dataset: str | Path) -> Dataset:
    """Read a dataset folder for training.

    Parameters
    ----------
    dataset
        The name of a folder in ``data/``, or a path of a folder or a ``files.csv``. An embedded dataset is made when it
        is first requested.

    Raises
    ------
    InputError
        If the folder is missing or empty, has no known layout, or holds images or masks that cannot be used.

    Examples
    --------
    One in five of ten good images is held out for testing where a dataset has no good test images.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in [*(f"normal/{number}.png" for number in range(10)), "abnormal/crack/10.png"]:
    ...     path = folder / name
    ...     path.parent.mkdir(parents=True, exist_ok=True)
    ...     Image.new("L", (8, 8), int(path.stem)).save(path)
    >>> read_dataset(folder).counts
    {'train/good': 8, 'test/crack': 1, 'test/good': 2}
    """
    examined = examine(dataset)
    if refused := examined.refused:
        shown = "; ".join(examined.sentence(finding) for finding in refused[:3])
        more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise InputError(
            f"{examined.root} has {len(refused)} files that cannot be used: {shown}{more} (python -m "
            "training_code.check_data lists everything)"
        )
    if problem := shortage(examined):
        raise InputError(f"{examined.root} {problem}")
    return examined


def shortage(dataset: Dataset) -> str | None:
    """Return which images a dataset lacks, as the rest of a sentence after its name; None if it can be used."""
    train = len(dataset.select("train"))
    if train < LEAST_TRAINING:
        return f"has {train} defect-free training images, at least {LEAST_TRAINING} is needed"
    if dataset.select("test"):
        return None
    single = "image is" if train == 1 else "part, in several images, is"
    return f"has no image to test on: its single defect-free {single} used for training"


def few_images(count: int) -> str:
    """Return the note about a training set of a few images."""
    images = "is a single defect-free training image" if count == 1 else f"are {count} defect-free training images"
    return f"there {images}: enough for PatchCore and few-shot work; thresholds from so few are unreliable"


@rarely_collecting()
def examine(dataset: str | Path) -> Dataset:
    """Read a dataset folder and every file of it; problems of single files become findings, not errors.

    Raises
    ------
    InputError
        If the folder is missing or empty or has no known layout.
    """
    root = locate(dataset)
    found = find_samples(root)
    samples, findings = found.samples, list(found.findings)
    region, wrong = read_region(root)
    files = [path for sample in samples for path in (sample.path, sample.mask, sample.reference) if path]
    facts = inspect_files(files + found.good_masks, root, found.mask_threshold)
    images, excluded = ([sample.path for sample in each] for each in (samples, found.excluded))
    groups = find_groups(root, images, facts, found.groups, excluded)
    samples, held_out = hold_out(samples, facts, groups.by_image) if can_be_tested(samples, facts) else (samples, 0)
    # Training images in an order that depends on nothing but their content: what is held out for thresholds and drawn
    # at random is the same whatever the files are called.
    train = sorted((s for s in samples if s.split == "train"), key=lambda s: (facts[s.path].sha256, s.path))
    samples = train + [sample for split in SPLITS[1:] for sample in samples if sample.split == split]
    examined = Dataset(
        root.name,
        root,
        tuple(samples),
        facts,
        groups.by_image,
        held_out=held_out,
        mask_threshold=found.mask_threshold,
        alike=groups.alike,
        region=region,
    )
    findings += [
        *image_findings(samples, facts, examined.bits),
        *mask_findings(samples, facts),
        *reference_findings(samples, facts, examined.bits),
        *good_mask_findings(found.good_masks, facts),
        *masks_among_images(samples, facts),
        *duplicates(samples, facts),
        *siblings(samples, facts, groups.by_image),
        *labelled_siblings(samples, groups.by_image),
        *wrong,
        *outside_region(samples, facts, region),
    ]
    return replace(examined, findings=tuple(findings))
