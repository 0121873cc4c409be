"""The run record: what is kept of a run."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, FiniteFloat
from typing_extensions import TypedDict

from training_code.backbones.backbone import Recipe
from training_code.data.geometry import Geometry
from training_code.data.layout import NORMAL
from training_code.data.region_of_interest import RegionOfInterest
from training_code.evaluation.operating_point import OperatingPoint
from training_code.protocol import ComputeOptions
from training_code.records.identity import SCHEMA_VERSION, Identity
from training_code.records.metrics import f1_all_bad
from training_code.records.taught import Moment, Taught

RECORD = "run.json"
CHECKPOINT = "model.ckpt"
SCORES = "scores.csv"
CALIBRATION = "calibration.csv"
APPEARANCE = "appearance.csv"
LABELLED_SCORES = "labelled.csv"
NOTEBOOK = "notebook.ipynb"
KERNEL_LOG = "kernel.log"
EXAMPLES = "examples"
TENSORBOARD = "tensorboard"

Status = Literal["ok", "failed", "timeout", "out_of_memory"]


@dataclass(frozen=True)
class Note:
    """A `training_code.data.findings.Finding` as it was kept; the kind may be one that this version does not know."""

    kind: str
    message: str


@dataclass(frozen=True)
class RegionUsed:
    """What of all photographs is looked at, see `training_code.data.region_of_interest`.

    Attributes
    ----------
    size
        Height and width in pixels of its mask, which is scaled to each photograph.
    counts
        Lengths of the runs of that, row by row, first of what is not looked at.
    """

    size: tuple[int, int]
    counts: list[int]

    def __post_init__(self) -> None:
        """Raise a ValueError if it is damaged: a record may come from strangers."""
        self.restored()

    def restored(self) -> RegionOfInterest:
        """Return the region."""
        return RegionOfInterest.from_run_lengths(self.counts, self.size)


@dataclass(frozen=True)
class ProductUsed:
    """One of several datasets that a run has joined, with its images as the run divides them."""

    name: str
    folder: str
    fingerprint: str  # as of a run on it alone
    counts: dict[str, int]


@dataclass(frozen=True)
class DatasetUsed:
    """The dataset of a run."""

    name: str
    folder: str  # relative to the home where it lies below it; of several with + between them, see `image_place`
    fingerprint: str
    counts: dict[str, int]  # images by ``split/defect_type``
    bits: int = 16  # of white in 16-bit grayscale images
    references: int = 0  # golden samples; with any, a new image is predicted together with its own
    notes: tuple[Note, ...] = ()
    region: RegionUsed | None = None  # what of all photographs is looked at; None for all of them
    products: tuple[ProductUsed, ...] = ()  # where several datasets are joined


@dataclass(frozen=True)
class WeightsUsed:
    """The weight file of a run's backbone."""

    file: str | None  # relative to the home where it lies below it; None for random weights
    sha256: str | None
    source: str
    naming: str
    pretrained: bool
    recipe: Recipe


@dataclass(frozen=True)
class OnLabels:
    """Thresholds with the largest F1 on labelled defects and good images that the detector has not seen."""

    images: int  # labelled ones
    image: FiniteFloat | None = None
    pixel: FiniteFloat | None = None


@dataclass(frozen=True)
class Calibrated:
    """The good images that thresholds rest on; see `training_code.evaluation.calibration`."""

    way: str
    images: int
    groups: int
    area: float  # of the area scores in `CALIBRATION`
    visible: FiniteFloat | None = None  # see `Calibration.visible`
    labelled: OnLabels | None = None  # what labelled defects say of thresholds, where there are any
    moved: int = 0  # images that were compared with themselves, moved by a pixel or so, for want of a golden sample


@dataclass(frozen=True)
class AtRule:
    """Thresholds by one rule, and what follows from them on the test images.

    Attributes
    ----------
    image, pixel
        None where the rule cannot be applied.
    metrics, intervals
        By name.
    missed, missed_by_area
        Share of missed images by defect type, and by class of `training_code.evaluation.decisions.AREAS`.
    by_product
        Of joined datasets the same metrics for each product, by its name.
    """

    image: OperatingPoint | None = None
    pixel: OperatingPoint | None = None
    metrics: dict[str, FiniteFloat] = field(default_factory=dict)
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat]] = field(default_factory=dict)
    missed: dict[str, FiniteFloat] = field(default_factory=dict)
    missed_by_area: dict[str, FiniteFloat] = field(default_factory=dict)
    by_product: dict[str, dict[str, FiniteFloat]] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFile:
    """The checkpoint of a run."""

    sha256: str
    bytes: int


class Environment(TypedDict, total=False):
    """The environment of a run; see `training_code.records.environment`."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # as pydantic reads the options of a TypedDict

    python: str
    packages: dict[str, str]
    system: str
    processor: str
    cores: int | None
    threads: int
    gpu: str | None


class Features(TypedDict, total=False):
    """How features were obtained; what the feature store did is ``store``."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    runtime: str
    version: str
    precision: str
    store: dict[str, Any]


class Training(TypedDict, total=False):
    """What is kept of training: epochs, and what a detector measured while it was fitted."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    epochs: int
    curves: dict[str, list[float | None]]
    warnings: list[str]
    codebook: dict[str, Any]
    neighbors: dict[str, Any]  # `training_code.detectors.patchcore.search.Searched`
    radius: float  # PatchCore: no patch of training is farther from the memory bank, as it was selected
    reduction: dict[str, Any]  # what PatchCore's projection keeps, see `what_is_kept`


@dataclass(frozen=True)
class Record:
    """What is kept of a run in `RECORD`."""

    run_id: str
    status: Status
    identity: Identity
    compute: dict[str, Any]  # all of `training_code.protocol.ComputeOptions`, as they were given
    dataset: DatasetUsed
    weights: WeightsUsed | None  # None for a detector without a backbone
    started: Moment
    finished: Moment
    metrics: dict[str, FiniteFloat] = field(default_factory=dict)
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat]] = field(default_factory=dict)
    by_defect_type: dict[str, dict[str, FiniteFloat]] = field(default_factory=dict)
    by_area: dict[str, dict[str, FiniteFloat]] = field(default_factory=dict)  # of the defects, where there are masks
    by_product: dict[str, dict[str, FiniteFloat]] = field(default_factory=dict)  # where several datasets are joined
    thresholds: dict[str, FiniteFloat | None] = field(default_factory=dict)  # those in force
    calibration: Calibrated | None = None  # None where there are no good images that the detector has not seen
    labels: int = 0  # labelled defects that it was trained on
    at: AtRule = field(default_factory=AtRule)  # the rule in force
    rules: dict[str, AtRule] = field(default_factory=dict)  # all of them, as the run found them
    times: dict[str, FiniteFloat] = field(default_factory=dict)  # seconds
    memory: dict[str, int] = field(default_factory=dict)  # peak, bytes
    features: Features = field(default_factory=Features)
    training: Training = field(default_factory=Training)
    # of held-out images as they are and with synthetic anomalies, and as ``labelled_…`` of unseen labelled defects
    validation: dict[str, FiniteFloat] = field(default_factory=dict)
    checkpoint: CheckpointFile | None = None
    members: tuple["Record", ...] = ()  # of a combined run: the records of the runs that it is made of
    environment: Environment = field(default_factory=Environment)
    git_commit: str | None = None
    code_sha256: str | None = None  # of the code that decides about the detector's numbers
    error: str | None = None
    retry_of: str | None = None  # the run that ran out of memory, of which this is one with half the batch size
    retried_as: str | None = None  # that run, in the record of the one that ran out of memory
    # when another rule was put in force: pictures and the executed notebook show the thresholds that were before
    rethresholded: Moment | None = None
    # what was taught after training, in the record of the taught detector: figures there are those of that detector
    taught: Taught | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.identity.detector

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments that the detector ran with."""
        return self.identity.arguments

    @property
    def geometry(self) -> Geometry:
        """What of photographs the detector sees, and what of that is looked at."""
        region = self.dataset.region
        return Geometry.of(self.identity.protocol, None if region is None else region.restored())

    @property
    def options(self) -> ComputeOptions:
        """How the run was computed; options that its record lacks have their defaults."""
        return ComputeOptions(**{name: self.compute[name] for name in ComputeOptions.names() if name in self.compute})

    @property
    def rule(self) -> str:
        """The rule whose thresholds are in force."""
        return self.identity.protocol.threshold

    @property
    def operating_points(self) -> dict[str, OperatingPoint]:
        """The operating points in force, by ``image`` and ``pixel``, as far as there are any."""
        points = ("image", self.at.image), ("pixel", self.at.pixel)
        return {kind: point for kind, point in points if point is not None}

    @property
    def labels_for_thresholds(self) -> int:
        """Labelled defects that the thresholds in force rest on."""
        on_labels = None if self.calibration is None else self.calibration.labelled
        return on_labels.images if on_labels is not None and self.rule == "labelled" else 0

    @property
    def f1_all_bad(self) -> float | None:
        """The F1 of calling every test image defective; None where the test images are of one kind."""
        tested = {name: count for name, count in self.dataset.counts.items() if name.startswith("test/")}
        good = tested.pop(f"test/{NORMAL}", 0)
        return f1_all_bad(good, sum(tested.values()))

    @property
    def untrained_backbone(self) -> bool:
        """Whether there is a backbone, its own or a member's, whose weights are random or were never trained."""
        return any(each.weights is not None and not each.weights.pretrained for each in (self, *self.members))
