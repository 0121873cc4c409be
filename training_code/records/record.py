"""The run record: its schema, and reading and writing it."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from training_code.foundation.files import digest, write_json
from training_code.records.older import finding_of

#: Changes when an old record can no longer be compared with a new one; part of every run's identity.
SCHEMA_VERSION = 4
RECORD = "run.json"
CHECKPOINT = "model.ckpt"
SCORES = "scores.csv"
NOTEBOOK = "notebook.ipynb"
KERNEL_LOG = "kernel.log"
EXAMPLES = "examples"
TENSORBOARD = "tensorboard"

#: Metrics in the order in which they are shown.
METRICS = (
    "image_AUROC",
    "image_F1Score",
    "pixel_AUROC",
    "pixel_F1Score",
    "image_AUPR",
    "image_F1Max",
    "pixel_AUPR",
    "pixel_AUPRO",
    "pixel_F1Max",
)

Status = Literal["ok", "failed", "timeout", "out_of_memory"]


@dataclass(frozen=True)
class Identity:
    """Everything that decides about a run's numbers; equal identities are the same run."""

    detector: str
    arguments: dict[str, Any]
    image_size: tuple[int, int]
    normalization: dict[str, Any]
    seed: int
    validation_split: float
    train_batch_size: int
    eval_batch_size: int
    dataset_fingerprint: str
    weights_sha256: str | None  # None for random weights, and without a backbone
    files_sha256: dict[str, str]  # of files that arguments name, by argument
    backbone_precision: str
    channels_last: bool
    backbone_runtime: str
    schema_version: int = SCHEMA_VERSION

    @property
    def run_id(self) -> str:
        """Readable and stable name of the run: ``<detector>-<backbone>-<hash>``.

        A detector without a backbone has its variant in that place, or nothing.
        """
        middle = self.arguments.get("backbone") or self.arguments.get("variant", "").lower()
        return "-".join(filter(None, [self.detector.lower(), middle, digest(self.as_plain_data())[:10]]))

    def as_plain_data(self) -> dict[str, Any]:
        """Return the identity as the record holds it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Record:
    """What is kept of a run in `RECORD`."""

    run_id: str
    status: Status
    identity: dict[str, Any]
    dataset: dict[str, Any]  # name, folder, counts, bits, fingerprint, and notes with kind and message
    weights: dict[
        str, Any
    ]  # file, sha256, source, naming, pretrained, and the recipe of the network; empty without one
    started: str  # ISO 8601 with time zone
    finished: str
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    by_defect_type: dict[str, dict[str, float]] = field(default_factory=dict)
    thresholds: dict[str, float | None] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)  # seconds
    memory: dict[str, int] = field(default_factory=dict)  # peak, bytes
    features: dict[str, Any] = field(default_factory=dict)  # runtime, precision, and what the feature store did
    training: dict[str, Any] = field(default_factory=dict)  # epochs, curves, warnings, codebook
    # of the images held out of training, as they are and with synthetic anomalies: what a search may look at
    validation: dict[str, float] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)  # sha256, bytes
    environment: dict[str, Any] = field(default_factory=dict)
    git_commit: str | None = None
    code_sha256: str | None = None  # of the code that decides about the detector's numbers
    error: str | None = None
    retry_of: str | None = None  # the run that ran out of memory, of which this is one with half the batch size
    retried_as: str | None = None  # that run, in the record of the one that ran out of memory
    schema_version: int = SCHEMA_VERSION

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.identity["detector"]

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments that the detector ran with."""
        return self.identity["arguments"]

    @property
    def untrained_backbone(self) -> bool:
        """Whether there is a backbone and its weights are random or were never trained."""
        return not self.weights.get("pretrained", True)


def write_record(folder: Path, record: Record) -> None:
    """Write ``record`` to ``folder``, atomically; it is the last file of a run to be written."""
    write_json(folder / RECORD, dataclasses.asdict(record))


def read_record(folder: Path) -> Record | None:
    """Return the record in ``folder``, None where the run is unfinished.

    Raises
    ------
    ValueError
        If the file is damaged or of another schema; the message says so.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        found = content.get("schema_version") if isinstance(content, dict) else None
        raise ValueError(f"{path} has schema version {found}, expected {SCHEMA_VERSION}")
    if damage := "; ".join(_damage(content)):
        raise ValueError(f"{path} is damaged: {damage}")
    if notes := content["dataset"].get("notes"):
        content["dataset"]["notes"] = [finding_of(note) for note in notes]
    names = {entry.name for entry in dataclasses.fields(Record)}
    return Record(**{name: value for name, value in content.items() if name in names})


def read_records(results: Path) -> tuple[list[tuple[Path, Record]], list[str]]:
    """Return the folder and record of each finished run below ``results``, and what could not be read.

    A folder without a record, of a run that was killed for instance, is among what could not be read.
    """
    found, problems = [], []
    for folder in sorted((results / "runs").glob("[!.]*/")):
        try:
            record = read_record(folder)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        if record is None:
            problems.append(f"{folder} has no {RECORD}: its run is unfinished")
        else:
            found.append((folder, record))
    return found, problems


def _damage(content: dict[str, Any]) -> Iterator[str]:
    """Say what of a record is not as `write_record` wrote it."""
    for entry in dataclasses.fields(Record):
        value = content.get(entry.name, entry)
        if value is entry:
            if entry.default is entry.default_factory is dataclasses.MISSING:
                yield f"{entry.name} missing"
            continue
        plain = entry.type if entry.type in (str, int) else dict if "dict" in str(entry.type) else object
        if not isinstance(value, plain):
            yield f"{entry.name} is {value!r}"
    if content.get("status") not in get_args(Status):
        yield f"status {content.get('status')!r} is none of {', '.join(get_args(Status))}"
    for name, keys in (
        ("identity", {entry.name for entry in dataclasses.fields(Identity)}),
        ("dataset", {"name", "folder", "counts", "fingerprint"}),
    ):
        if isinstance(content.get(name), dict) and (missing := keys - set(content[name])):
            yield f"{', '.join(sorted(missing))} missing in {name}"
    dataset = content.get("dataset")
    notes = dataset.get("notes", []) if isinstance(dataset, dict) else []
    if not isinstance(notes, list) or not all(_is_finding(finding_of(note)) for note in notes):
        yield f"dataset: notes is {notes!r}"
    for name in ("metrics", "times", "memory"):
        values = content.get(name)
        for key, value in values.items() if isinstance(values, dict) else ():
            if not isinstance(value, int | float):
                yield f"{name}: {key} is {value!r}"


def _is_finding(note: Any) -> bool:
    return isinstance(note, dict) and all(isinstance(note.get(name), str) for name in ("kind", "message"))
