"""From a configuration to a prepared run: checked against images and weights, with its identity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from training_code.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Recipe, Weights
from training_code.backbones.published import find_published
from training_code.backbones.weights import find_weights, random_weights
from training_code.data.contamination import take_contaminated
from training_code.data.dataset import Dataset
from training_code.data.division import Division, divide
from training_code.data.drawn import take_few
from training_code.data.geometry import Geometry
from training_code.data.joined import read_datasets
from training_code.data.labelled import labelled_sha256, take_labelled
from training_code.data.looked_at import defects_outside
from training_code.data.places import Named
from training_code.data.sample import LABELLED, TRAIN
from training_code.detectors.configuration import Configuration, configure
from training_code.detectors.extent import Extent, Need
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import DetectorSpec
from training_code.foundation.checking import whole
from training_code.foundation.errors import InputError
from training_code.foundation.files import content_hash
from training_code.foundation.hardware import has_gpu
from training_code.foundation.memory import memory_limit, scratch_folder
from training_code.members import Member, find_members
from training_code.protocol import ComputeOptions, ExperimentProtocol, read_options
from training_code.records.identity import Identity
from training_code.records.store import RunStore
from training_code.suitability import check_labels, check_memory

#: Part of the memory that is allowed which the features of a batch may take.
BATCH_PART = 1 / 8
#: The default seed of an experiment.
DEFAULT_SEED = 42


@dataclass(frozen=True)
class Conditions:
    """What all runs of an experiment share."""

    dataset: Dataset
    protocol: ExperimentProtocol
    compute: ComputeOptions
    seed: int
    gpu: bool = field(default_factory=has_gpu)  # whether the runs are computed on one
    varied_anomalies: bool = False  # whether they are judged by detectors that leave images out, see `Experiment.run`

    @property
    def geometry(self) -> Geometry:
        """What of the images networks see."""
        return Geometry.of(self.protocol, self.dataset.region)


@dataclass(frozen=True)
class PreparedRun:
    """A checked configuration with its weight file, and the identity of the run that it would be."""

    configuration: Configuration
    weights: Weights | None  # None for a detector without a backbone
    identity: Identity
    members: tuple[Member, ...] = ()  # the runs that it combines, where it does
    need: Need | None = None  # what its fit needs, where that grows with the images

    def within(self, compute: ComputeOptions) -> ComputeOptions:
        """Return options with batches that fit into the memory, where the numbers do not depend on batches."""
        if self.need is None or not self.need.each:
            return compute
        most = max(1, int(BATCH_PART * memory_limit(compute.memory_limit) / self.need.each))
        sizes = {name: min(getattr(compute, name), most) for name in ("train_batch_size", "eval_batch_size")}
        return replace(compute, **sizes)

    @property
    def run_id(self) -> str:
        """Stable name of the run."""
        return self.identity.run_id

    @property
    def spec(self) -> DetectorSpec:
        """What is known of the detector."""
        return get_detector(self.configuration.detector)

    @property
    def learns_from_labels(self) -> bool:
        """Whether it is trained on labelled defects."""
        return self.spec.learns_from_labels(self.configuration.arguments)

    @property
    def leaves_out(self) -> bool:
        """Whether it is trained on all good images, and leaves each one out afterwards."""
        return self.spec.leaves_out(self.configuration.arguments)

    @property
    def batch_size(self) -> int | None:
        """Images in a batch of training in epochs; None for a detector that fits in one pass."""
        return self.configuration.arguments.get("batch_size")


def read_conditions(
    dataset: Named | Dataset,
    *,
    seed: int = DEFAULT_SEED,
    protocol: Mapping[str, Any] = MappingProxyType({}),
    compute: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Conditions:
    """Read the dataset of an experiment, unless it was read before, and check everything else that it was given.

    The arguments are those of `training_code.experiment.Experiment`.

    Raises
    ------
    InputError
        If the dataset cannot be used or a value is out of range.
    """
    seed = whole("seed", seed, 0, 2**32 - 1)
    checked = read_options(options, protocol, compute)
    if checked[1].backbone_precision == "float16" and not has_gpu():
        raise InputError("backbone_precision='float16' needs a GPU; valid without one: float32, bfloat16")
    read = dataset if isinstance(dataset, Dataset) else read_datasets(dataset)
    asked = checked[0]
    if read.fingerprint_as_read is None:
        if asked.labelled or asked.labels is not None:
            read = take_labelled(read, asked.labelled, asked.labels, seed)
        if asked.train_images is not None:
            read = take_few(read, asked.train_images, seed)
    if not read.contaminating:
        read = take_contaminated(read, asked.contamination, seed)
    return Conditions(_told(read, Geometry.of(asked, read.region)), *checked, seed)


def _told(dataset: Dataset, geometry: Geometry) -> Dataset:
    """Return a dataset that also tells of defects which the protocol cuts away altogether."""
    if geometry.stretches:  # then its own region alone decides, and it tells that already
        return dataset
    found = defects_outside(dataset.samples, dataset.facts, geometry)
    others = [finding for finding in dataset.findings if finding.kind != "defect outside"]
    return replace(dataset, findings=(*others, *found))


def prepare(
    conditions: Conditions, detector: type | str, arguments: Mapping[str, Any], store: RunStore | None = None
) -> PreparedRun:
    """Check a configuration, find its weight file, and return the identity of its run; nothing is computed.

    Parameters
    ----------
    store
        Where the runs lie that a configuration combines.

    Raises
    ------
    InputError
        If the configuration is wrong; as `MissingWeightsError` if the weight file is absent, as `MissingRunError` if a
        run is that it combines.
    """
    configuration = configure(detector, arguments)
    protocol, compute = conditions.protocol, conditions.compute
    if "batch_size" in configuration.arguments:
        batch_size = configuration.arguments["batch_size"] or compute.train_batch_size
        configuration = replace(configuration, arguments=configuration.arguments | {"batch_size": batch_size})
    values, backbone = configuration.arguments, configuration.backbone
    weights: Weights | None = None
    mean = std = None
    if backbone is not None:
        weights = find_weights(backbone) if values["pre_trained"] else random_weights(backbone)
        mean, std = _statistics(protocol.normalization, weights.recipe)
    spec, dataset = get_detector(configuration.detector), conditions.dataset
    members = _members(configuration, conditions, store)
    spec.check_augmentation(protocol.augmentation)
    learns = spec.learns_from_labels(values) or any(member.record.labels for member in members)
    if not members:
        configuration = replace(configuration, arguments=spec.settle(values, _extent(configuration, conditions)))
        values = configuration.arguments
    divided = divide(dataset, protocol.validation_split, conditions.seed, not spec.leaves_out(values), learns)
    check_labels(spec, values, dataset, divided, protocol.threshold)
    need = None if members else _check_fits(configuration, conditions, divided, store)
    taken = labelled_sha256(dataset)
    identity = Identity(
        detector=configuration.detector,
        arguments=values,
        seed=conditions.seed,
        protocol=protocol.for_configuration(bool(learns and divided.labelled)),
        compute=compute.deciding_about(backbone is not None and not spec.trains_backbone, conditions.gpu),
        mean=mean,
        std=std,
        dataset_fingerprint=dataset.fingerprint,
        weights_sha256=weights.sha256 if weights else None,
        files_sha256=_files(spec, values) | _checkpoints(members) | ({} if taken is None else {LABELLED: taken}),
    )
    return PreparedRun(configuration, weights, identity, members, need)


def _files(spec: DetectorSpec, arguments: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the files that numbers depend on beside images and the weights of the backbone."""
    published = {file.name: content_hash(find_published(file)) for file in spec.needs(arguments)}
    return spec.files(arguments) | published


def _members(configuration: Configuration, conditions: Conditions, store: RunStore | None) -> tuple[Member, ...]:
    """Return the runs that a configuration combines; none of one that is trained."""
    spec = get_detector(configuration.detector)
    if spec.combines is None:
        return ()
    if store is None:
        raise InputError(f"{spec.name} needs the results folder with the runs that it combines")
    if conditions.dataset.has_references:
        raise InputError(
            f"{spec.name} is not for datasets with golden samples: what two detectors say of an image and its "
            "reference is compared for each of them alone; valid: a dataset without references"
        )
    run_ids = configuration.arguments[spec.combines]
    return find_members(run_ids, store, conditions.dataset.fingerprint, conditions.protocol, conditions.seed)


def _checkpoints(members: Sequence[Member]) -> dict[str, str]:
    """Return the hashes of the checkpoints, by run: a member that is trained anew makes another combination."""
    return {member.record.run_id: member.record.checkpoint.sha256 for member in members if member.record.checkpoint}


def _check_fits(
    configuration: Configuration, conditions: Conditions, divided: Division, store: RunStore | None
) -> Need | None:
    """Refuse what would make training fail: too few images, or of an unsuitable size; return what the fit needs."""
    protocol, spec = conditions.protocol, get_detector(configuration.detector)
    images, held_out = len(divided.train) * (1 + protocol.copies), len(divided.held_out)
    arguments, backbone = configuration.arguments, configuration.backbone
    if arguments.get("patience") and not protocol.validation_split:
        raise InputError("patience needs validation images: with validation_split=0 there are none; valid: None")
    if arguments.get("patience") and not held_out:
        raise InputError(
            f"patience needs validation images, and of {images} that show a single part none can be held out; valid: "
            "None"
        )
    if not spec.normalizes and backbone is None and protocol.normalization == "imagenet":
        raise InputError(
            f"normalization='imagenet' is not for {spec.name}, which takes images with values from 0 to 1; valid: "
            "backbone, which leaves them as they are where there is no backbone"
        )
    try:
        spec.check(arguments, protocol.network_size, images)
    except InputError as error:
        if protocol.tiling is None:
            raise
        raise InputError(f"to {spec.name} a tile is an image: {error}") from error
    need = spec.need(arguments, _extent(configuration, conditions))
    if need is not None:
        extent = _extent(configuration, conditions)
        check_memory(need, spec.name, protocol.seen_size, extent.memory, store.results if store else scratch_folder())
    return need


def _extent(configuration: Configuration, conditions: Conditions) -> Extent:
    """Return how much a detector is fitted to."""
    protocol = conditions.protocol
    images = len(conditions.dataset.select(TRAIN)) * (1 + protocol.copies)
    limit = memory_limit(conditions.compute.memory_limit)
    return Extent(images, protocol.network_size, limit, configuration.backbone, protocol.tiles)


def _statistics(normalization: str, recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (recipe.mean, recipe.std) if normalization == "backbone" else (IMAGENET_MEAN, IMAGENET_STD)
