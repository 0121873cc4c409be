"""Datasets of several products read as one: a detector is trained on all of them, and judged on each.

Each is read as it is on its own, by its own rules for layouts and masks, with its own images held out. Images of
different products are never of one group. What a detector has to know of a new image is the same for all of them, since
nobody says which product a new image shows: the bits of its pixels, the region that is looked at, whether it is
compared with a golden sample.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from training_code.data.checks import duplicates
from training_code.data.dataset import Dataset, read_dataset
from training_code.data.findings import FileFinding, Finding, Kind
from training_code.data.places import JOIN, Named, names_of
from training_code.data.sample import SPLITS, TRAIN, Sample
from training_code.data.walk import check_apart
from training_code.foundation.errors import InputError, choices

# Notes that follow from the numbers of images of a dataset, which are those of a product here.
_OF_A_PRODUCT: tuple[Kind, ...] = ("held out", "no good images", "few images")


@dataclass(frozen=True)
class JoinedDataset(Dataset):
    """Several datasets as one, of whose images it is known which product they show."""

    @property
    def folder(self) -> str:
        """The folders as records name them."""
        return JOIN.join(product.folder for product in self.products)

    def product_of(self, path: Path) -> Dataset:
        """Return the dataset that a file belongs to."""
        found = self._by_file.get(path)
        return found or next((each for each in self.products if path.is_relative_to(each.root)), self)

    @cached_property
    def _by_file(self) -> dict[Path, Dataset]:
        return {path: product for product in self.products for path in product.facts}

    def name_of(self, path: Path) -> str:
        """Return the name of an image: that of its product, and its own one there."""
        product = self.product_of(path)
        return f"{product.name}/{product.name_of(path)}"

    def relative(self, path: Path) -> str:
        """Return a file's name as people read it."""
        product = self.product_of(path)
        return super().relative(path) if product is self else f"{product.name}/{product.relative(path)}"

    @cached_property
    def fingerprint(self) -> str:
        """What follows from the fingerprints of the products, whatever their names and their order."""
        own = sorted(product.fingerprint for product in self.products)
        return hashlib.sha256("\n".join(["joined", *own]).encode()).hexdigest()

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Notes for readers of numbers, first those that are about a single product."""
        of_each = [
            Finding(note.kind, f"{product.name}: {note.message}")
            for product in self.products
            for note in product.notes
            if note.kind in _OF_A_PRODUCT
        ]
        return (*of_each, *super().notes)


def read_datasets(dataset: Named, read: Callable[[str | Path], Dataset] = read_dataset) -> Dataset:
    """Read one dataset for training, or several as one.

    Parameters
    ----------
    dataset
        A name or a path as `training_code.data.dataset.read_dataset` takes it, or several of them: in a list, or joined
        by ``+`` as in ``boards_a+boards_b``.
    read
        What reads each of them.

    Raises
    ------
    InputError
        If one of them cannot be used, or they cannot be joined.
    """
    found = [read(name) for name in names_of(dataset)]
    return join(found) if len(found) > 1 else found[0]


def join(datasets: Sequence[Dataset]) -> JoinedDataset:
    """Return datasets that were read as one, in the order of their names.

    Raises
    ------
    InputError
        If two of them have the same name or share files, or a detector would have to know the product of a new image.
    """
    products = tuple(sorted(datasets, key=lambda product: product.name))
    _check_names(products)
    _check_alike(products)
    facts = {path: found for product in products for path, found in product.facts.items()}
    samples = [sample for product in products for sample in product.samples]
    # By content, as in each of them: what is drawn does not depend on names.
    train = sorted((each for each in samples if each.split == TRAIN), key=lambda s: (facts[s.path].sha256, s.path))
    samples = train + [sample for split in SPLITS[1:] for sample in samples if sample.split == split]
    joined = JoinedDataset(
        JOIN.join(product.name for product in products),
        Path(os.path.commonpath([product.root for product in products])),
        tuple(samples),
        facts,
        {path: f"{product.name}/{name}" for product in products for path, name in product.groups.items()},
        tuple(finding for product in products for finding in product.findings),
        alike=tuple(pair for product in products for pair in product.alike),
        region=products[0].region,
        products=products,
    )
    return replace(joined, findings=(*joined.findings, *shared_images(joined)))


def shared_images(joined: Dataset) -> list[FileFinding]:
    """Return findings about images of one product that are images of another one, too: what one learns is tested."""
    found = duplicates(joined.samples, joined.facts)
    return [each for each in found if each.other and joined.product_of(each.path) is not joined.product_of(each.other)]


def parts_of(dataset: Dataset) -> list[Dataset]:
    """Return for each product of a dataset its own one with the images as ``dataset`` divides them.

    A dataset that is not joined is its own only part.
    """
    if not dataset.products:
        return [dataset]
    own: dict[int, list[Sample]] = {id(product): [] for product in dataset.products}
    for sample in dataset.samples:
        own[id(dataset.product_of(sample.path))].append(sample)
    return [replace(product, samples=tuple(own[id(product)])) for product in dataset.products]


def products_of(dataset: Dataset, images: Iterable[Path]) -> tuple[str, ...]:
    """Return the name of the product of each image; nothing for a dataset that is not joined."""
    return tuple(dataset.product_of(path).name for path in images) if dataset.products else ()


def _check_names(products: Sequence[Dataset]) -> None:
    for one, other in itertools.pairwise(products):
        if one.name == other.name:
            raise InputError(
                f"{one.root} and {other.root} are of one name, by which products are told apart: join folders of "
                "different names, each once"
            )
    for product in products:
        if JOIN in product.folder:
            raise InputError(
                f"{product.root} cannot be joined with others: its name has a {JOIN}, which stands between names"
            )
    check_apart({product.name: product.root for product in products})
    seen: dict[Path, Dataset] = {}
    for product in products:
        for path in product.facts:
            if (first := seen.setdefault(path, product)) is not product:
                raise InputError(f"{path} is read by {first.name} and by {product.name}: a file has one product")


def _check_alike(products: Sequence[Dataset]) -> None:
    """Refuse datasets of which a new image would have to be treated differently."""
    first = products[0]
    for product in products[1:]:
        regions = [each.region.sha256 if each.region else None for each in (first, product)]
        if regions[0] != regions[1]:
            raise InputError(
                f"{first.name} and {product.name} do not have the same region, and a new image does not tell its "
                "product: join datasets with the same region, or without any"
            )
        if first.has_references != product.has_references:
            without, other = sorted((first, product), key=lambda each: each.has_references)
            raise InputError(
                f"{other.name} has golden samples and {without.name} has none: join datasets of which all have them, "
                "or none"
            )
    deep = {product.name: product.bits for product in products if _is_deep(product)}
    if len(set(deep.values())) > 1:
        bits = choices(f"{name} {number} bits" for name, number in deep.items())
        raise InputError(
            f"white in 16-bit images is not the same ({bits}), and a new image does not tell its product: join "
            "datasets of the same number of bits"
        )
    tested = {product.name: product for product in products if any(each.abnormal for each in product.samples)}
    without_masks = [name for name, product in tested.items() if not product.has_masks]
    if 0 < len(without_masks) < len(tested):
        with_masks = next(name for name in tested if name not in without_masks)
        raise InputError(
            f"{without_masks[0]} has defects without masks and {with_masks} has masks, so that pixels would count as "
            "good which are not: join datasets of which all have masks, or none"
        )


def _is_deep(dataset: Dataset) -> bool:
    return any(dataset.facts[sample.path].bits == 16 for sample in dataset.samples)
