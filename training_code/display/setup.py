"""The set-up of an experiment as a notebook shows it: data, split, metrics, protocol, compute, hardware, pictures."""

import dataclasses
import html
from collections import Counter
from collections.abc import Collection

from training_code.data.dataset import Dataset
from training_code.data.division import divide
from training_code.data.findings import MARKED_KINDS, Finding
from training_code.data.joined import parts_of
from training_code.data.sample import UNUSED
from training_code.detectors.registry import DETECTORS
from training_code.display.dataset import samples_html
from training_code.evaluation.decisions import tells_low_rates
from training_code.evaluation.operating_point import percent
from training_code.foundation.errors import choices
from training_code.protocol import AUTO, PROMISING, ComputeOptions, ExperimentProtocol
from training_code.records.environment import describe_environment
from training_code.records.metrics import METRICS, Need

# Libraries of which the version is shown; a record holds all of them.
_SHOWN = ("anomalib", "torch", "openvino")
_LEFT = "text-align:left;vertical-align:top"
#: Why there are no thresholds.
_ONE_PART = "of a single part no image can be left out or held out"


@dataclasses.dataclass(frozen=True)
class Setup:
    """The images, conditions and options of an experiment.

    Attributes
    ----------
    results
        Folder for the runs, as people read it.
    """

    dataset: Dataset
    protocol: ExperimentProtocol
    compute: ComputeOptions
    seed: int
    results: str

    @property
    def held_out(self) -> int:
        """Number of training images that are held out by detectors that do not leave each one out afterwards."""
        return len(divide(self.dataset, self.protocol.validation_split, self.seed, True, False).held_out)

    @property
    def tells_thresholds(self) -> bool:
        """Whether there can be a good image that a detector has not seen: those of a single part are trained on."""
        groups = {self.dataset.groups[sample.path] for sample in self.dataset.select("train")}
        return len(groups) > 1 or bool(self.dataset.unseen_good)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that can be computed, in the order in which they are shown."""
        test = self.dataset.select("test")
        marked = any(self.dataset.facts[sample.mask].marked for sample in test if sample.mask)
        good = sum(not sample.abnormal for sample in test)
        height, width = self.protocol.seen_size
        there: dict[Need, bool] = {
            "good": good > 0,
            "defective": good < len(test),
            "masks": self.dataset.has_masks and marked,
            "threshold": self.tells_thresholds,
            "pixels": tells_low_rates(good * height * width),
        }
        return [name for name, metric in METRICS.items() if all(there[need] for need in metric.needs)]


def setup_line(setup: Setup) -> str:
    """Return a set-up as one line of plain text."""
    train, test = len(setup.dataset.select("train")), len(setup.dataset.select("test"))
    height, width = setup.protocol.image_size
    return (
        f"<Experiment on {_printable(setup.dataset.name)}: {train} good images to train on and for thresholds, "
        f"{test} to test on; {height} × {width} pixels, seed {setup.seed}, "
        f"fingerprint {setup.dataset.fingerprint[:16]}>"
    )


def setup_html(setup: Setup) -> str:
    """Return a set-up as a table and a few pictures, masks outlined."""
    rows = {
        "data": _data(setup.dataset),
        "split": _split(setup),
        "metrics": _metrics(setup),
        "protocol": _options(setup.protocol, _before(setup.protocol)),
        "thresholds": _thresholds(setup),
        "seed": str(setup.seed),
        "compute": _options(setup.compute, setup.compute.names()),
        "hardware": _hardware(),
        "results": f"<code>{html.escape(_printable(setup.results))}</code>",
    }
    body = "".join(
        f'<tr><th style="{_LEFT}">{name}</th><td style="{_LEFT}">{content}</td></tr>' for name, content in rows.items()
    )
    return f"<table>{body}</table>{samples_html(setup.dataset)}"


def _data(dataset: Dataset) -> str:
    counts = "<br>".join([_counts(dataset), *map(_of_product, parts_of(dataset) if dataset.products else [])])
    masks = "with pixel masks" if dataset.has_masks else "without pixel masks"
    notes = "".join(f"<li>{_note(note)}</li>" for note in dataset.notes)
    return (
        f"<b>{html.escape(_printable(dataset.name))}</b>, {len(dataset.samples)} images {masks}, fingerprint "
        f"<code>{dataset.fingerprint[:16]}</code><br>{counts}" + (f"<ul>{notes}</ul>" if notes else "")
    )


def _counts(dataset: Dataset) -> str:
    return ", ".join(f"{html.escape(_printable(name))} {count}" for name, count in dataset.counts.items())


def _of_product(product: Dataset) -> str:
    return f"{html.escape(_printable(product.name))}: {_counts(product)}"


def _note(note: Finding) -> str:
    text = html.escape(note.message)
    return f"<b>{text}</b>" if note.kind in MARKED_KINDS else text


def _split(setup: Setup) -> str:
    dataset, held_out = setup.dataset, setup.held_out
    test = dataset.select("test")
    abnormal = sum(sample.abnormal for sample in test)
    train = dataset.select("train")
    trained = f"{len(train)} good images to train on and for thresholds"
    leaving = choices(name for name, spec in DETECTORS.items() if spec.leaves_out(spec.defaults))
    thresholds = (
        f"{leaving} train on all of them, and leave out one after the other for thresholds; other detectors hold out "
        + (
            f"{held_out}: for thresholds, for <code>patience</code>, and to judge by in a search"
            if held_out
            else "none: they have no thresholds, and so no <code>F1Score</code>, no false alarms and misses"
        )
    )
    if not setup.tells_thresholds:
        trained = f"{len(train)} good image{'' if len(train) == 1 else 's'} to train on"
        thresholds = f"{_ONE_PART}: no run has thresholds, and so no <code>F1Score</code>, no false alarms and misses"
    tested = f"{len(test)} images to test on, {len(test) - abnormal} good and {abnormal} with defects"
    return "<br>".join([trained, thresholds, *_labelled(dataset), tested])


def _labelled(dataset: Dataset) -> list[str]:
    """Return a line about images that are labelled, if there are any."""
    if not dataset.labelled:
        return []
    beside, unused = len(dataset.unseen_good), sum(sample.abnormal for sample in dataset.select(UNUSED))
    counts = Counter(sample.defect_type for sample in dataset.labelled)
    types = ", ".join(f"{html.escape(_printable(kind))} {count}" for kind, count in sorted(counts.items()))
    more = [f"{beside} good ones beside them" if beside else "", f"{unused} that are not used" if unused else ""]
    said = ", ".join([f"{len(dataset.labelled)} labelled images with defects ({types})", *filter(None, more)])
    return [f"{said}: for thresholds, for a search, and for detectors that learn from labels; never tested on"]


def _metrics(setup: Setup) -> str:
    found = setup.metrics
    left_out = [name for name in METRICS if name not in found]
    return (", ".join(found) or "none") + (f"<br>cannot be computed here: {', '.join(left_out)}" if left_out else "")


def _before(protocol: ExperimentProtocol) -> list[str]:
    """Return the names of the conditions that have to be known before a run."""
    return [name for name in protocol.names() if name not in protocol.afterwards()]


def _thresholds(setup: Setup) -> str:
    """Return the rule for thresholds with what it can promise here, and that it can be changed afterwards."""
    protocol, train = setup.protocol, len(setup.dataset.select("train"))
    said = "this rule promises nothing; <code>conformal</code> does"
    if not setup.tells_thresholds:
        said = _ONE_PART
    elif protocol.threshold in (AUTO, *PROMISING):
        counts = dict.fromkeys(count for count in (train, setup.held_out) if count)
        limits = [f"{count} good images allow no promise below {percent(1 / (count + 1))}" for count in counts]
        said = (
            f"at most {percent(protocol.alpha)} of new good images are refused, and at most {percent(protocol.alpha)} "
            f"have more than {percent(protocol.area)} of their pixels marked; {', '.join(limits)}"
        )
    if protocol.threshold == AUTO:
        said = f"conformal, or labelled for configurations that learn from labelled defects: {said}"
    later = "no training is needed to change them: <code>anomaly rethreshold</code>"
    return "<br>".join([_options(protocol, protocol.afterwards()), said, later])


def _options(options: ExperimentProtocol | ComputeOptions, names: Collection[str]) -> str:
    """Return options with their values; those that are not the default stand out."""
    texts, changed = [], False
    for option in dataclasses.fields(options):
        if option.name not in names:
            continue
        value = getattr(options, option.name)
        shown = _value(value) if isinstance(value, tuple) else str(value)
        text = html.escape(f"{option.name} {shown}")
        texts.append(text if value == option.default else f"<b>{text}</b>")
        changed = changed or value != option.default
    return ", ".join(texts) + (" (in bold: not the default)" if changed else "")


def _value(value: tuple[int | str, ...]) -> str:
    return (" × " if value and isinstance(value[0], int) else " and ").join(map(str, value)) or "none"


def _hardware() -> str:
    here = describe_environment()
    gpu = here["gpu"] or "no GPU"
    packages = [f"{name} {here['packages'][name]}" for name in _SHOWN if name in here["packages"]]
    text = f"{here['processor']}, cores: {here['cores']}, threads: {here['threads']}, {gpu}"
    return html.escape(text) + "<br>" + html.escape(", ".join([f"Python {here['python']}", *packages]))


def _printable(text: str) -> str:
    """Return a name as people read it; one with line breaks or control characters is written out."""
    return text if text.isprintable() else ascii(text)
