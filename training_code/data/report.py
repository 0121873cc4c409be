"""The report on an examined dataset, as tables and as text."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training_code.data.dataset import Dataset, shortage
from training_code.data.findings import MARKED_KINDS, FileFinding, Kind, is_missing

if TYPE_CHECKING:
    import pandas as pd

AREA_BINS = 8
_SHOWN = 10  # findings of one kind
# Where as many may be refused or missed without a single one of the test images, there are few of them.
_UNSEEN = 0.1


def kinds_table(dataset: Dataset) -> "pd.DataFrame":
    """Return the number of images of each size, kind of pixels and bit depth, the most frequent first."""
    rows = [(*kind, count) for kind, count in _kinds(dataset)]
    return _table(rows, ["width", "height", "pixels", "bits", "images"])


def _table(rows: Sequence[Any], columns: list[str]) -> "pd.DataFrame":
    # Here, since pandas takes 0.3 s to import, and the report as text does without it.
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)


def _kinds(dataset: Dataset) -> list[tuple[tuple[int, int, str, int], int]]:
    """Return width, height, pixels and bits with their number of images, the most frequent first."""
    facts = [dataset.facts[sample.path] for sample in dataset.samples]
    return Counter((fact.width, fact.height, fact.mode, fact.bits) for fact in facts if not fact.problem).most_common()


def areas_table(dataset: Dataset) -> "pd.DataFrame":
    """Return by defect type how many masks there are and which part of the image they mark, in percent."""
    areas = defect_areas(dataset)
    if areas.empty:
        return _table([], ["masks", "mean", "standard deviation", "smallest", "largest"])
    grouped = areas.groupby("defect_type")["percent"]
    table = grouped.agg(masks="count", mean="mean", deviation="std", smallest="min", largest="max")
    return table.rename(columns={"deviation": "standard deviation"}).rename_axis(None)


def defect_areas(dataset: Dataset) -> "pd.DataFrame":
    """Return for each mask the part of its image that it marks, in percent, and the defect type."""
    return _table(_defect_areas(dataset), ["defect_type", "percent"])


def _defect_areas(dataset: Dataset) -> list[tuple[str, float]]:
    """Return the same as pairs."""
    return [
        (sample.defect_type, 100 * facts.marked / (facts.width * facts.height))
        for sample in dataset.samples
        if sample.mask and not (facts := dataset.facts[sample.mask]).problem and facts.threshold
    ]


def near_findings(dataset: Dataset) -> list[FileFinding]:
    """Return findings about images that look like another one without having its content, one for each such image.

    Test images that show a part which is trained on are told by the dataset itself.
    """
    if not dataset.alike:
        return []
    order = {sample.path: sample for sample in dataset.samples}
    rank = {path: index for index, path in enumerate(order)}
    told = {finding.path for finding in dataset.findings if finding.kind in MARKED_KINDS}
    first: dict[Path, Path] = {}
    for pair in dataset.alike:
        one, other = sorted(pair, key=lambda path: rank[path])
        first[other] = min(first.get(other, one), one, key=lambda path: rank[path])
    found = []
    for path in sorted(first, key=lambda path: rank[path]):
        kind: Kind = "near duplicate"
        what = "is in no group with an image that it looks like"
        if dataset.groups[path] == dataset.groups[first[path]]:
            what = "stays on one side of every split with an image that it looks like"
        elif order[path].split == "test" and order[first[path]].split == "train":
            kind, what = "near leak", "looks like a training image: a leak, if it shows the same part"
        if path not in told:
            found.append(FileFinding(path, kind, what, "kept", first[path]))
    return found


def all_findings(dataset: Dataset) -> list[FileFinding]:
    """Return the findings of a dataset and its near duplicates, refused files first."""
    ranks = {"refused": 0, "converted": 1, "skipped": 2, "kept": 3}
    return sorted([*dataset.findings, *near_findings(dataset)], key=lambda finding: ranks[finding.treatment])


def findings_table(dataset: Dataset) -> "pd.DataFrame":
    """Return every finding with its file and what is done with it."""
    rows = [
        {
            "file": dataset.relative(finding.path),
            "finding": finding.what,
            "other file": dataset.relative(finding.other) if finding.other else "",
            "treatment": finding.treatment,
        }
        for finding in all_findings(dataset)
    ]
    return _table(rows, ["file", "finding", "other file", "treatment"])


def is_usable(dataset: Dataset) -> bool:
    """Return whether a dataset can be trained on."""
    return not dataset.refused and not shortage(dataset)


def is_complete(dataset: Dataset) -> bool:
    """Return whether no image, mask or label is left out that may have been meant to be read."""
    return not any(is_missing(finding) for finding in dataset.findings)


def few_tested(dataset: Dataset) -> list[str]:
    """Return a sentence about the good test images, and one about the defective ones, where these are few or none.

    Of few it says what may go unseen on them: the upper end of Clopper and Pearson's 95 % interval of none of n, which
    is 1 - 0.025^(1/n).
    """
    tested = dataset.select("test")
    sentences = []
    for abnormal, images, done in ((False, "good", "refused"), (True, "defective", "missed")):
        count = sum(sample.abnormal == abnormal for sample in tested)
        if tested and not count:
            sentences.append(f"no {images} images to test on: neither AUROC nor how many are {done} can be told")
        unseen = 1 - 0.025 ** (1 / count) if count else 0.0
        if unseen > _UNSEEN:
            none = f"none of the {count} is" if count > 1 else "the only one is not"
            up_to = f"up to {100 * unseen:.0f} % of new ones may be"
            sentences.append(f"few {images} images to test on: even if {none} {done}, {up_to}")
    return sentences


def report(dataset: Dataset) -> str:
    """Return everything as text for a terminal."""
    lines = [f"{dataset.root}: {len(dataset.samples)} images, fingerprint {dataset.fingerprint[:16]}", ""]
    lines += [f"{count:8d}  {name}" for name, count in dataset.counts.items()]
    lines += [f"          {note.message}" for note in dataset.notes if note.kind == "held out"]
    lines += [f"          {sentence}" for sentence in few_tested(dataset)]
    if dataset.has_references:
        tested = [sample for sample in dataset.select("test") if sample.reference]
        lines.append(f"          {len(tested)} images to test on have a reference; {len(dataset.references)} in all")
    lines += ["", "images"]
    kinds = _kinds(dataset)
    for (width, height, pixels, bits), count in kinds[:_SHOWN]:
        lines.append(f"{count:8d}  {width} × {height}, {pixels}, {bits} bits")
    if rest := kinds[_SHOWN:]:
        lines.append(f"{sum(count for _, count in rest):8d}  of {len(rest)} other sizes or kinds")
    lines += ["", *_areas(dataset), ""]
    findings = all_findings(dataset)
    told = []
    counts = Counter((finding.treatment, finding.what) for finding in findings)
    shown: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = (finding.treatment, finding.what)
        shown[key] += 1
        if shown[key] <= _SHOWN:
            told.append(f"  {finding.treatment:9}  {dataset.sentence(finding)}")
        elif shown[key] == counts[key]:
            told.append(f"  {finding.treatment:9}  and {counts[key] - _SHOWN} others: {finding.what}")
    if problem := shortage(dataset):
        told.append(f"  refused    {dataset.name} {problem}")
    told += [f"  kept       {note.message}" for note in dataset.notes if note.kind == "few images"]
    return "\n".join([*lines, "findings" if told else "no findings", *told, "", verdict(dataset)])


def verdict(dataset: Dataset) -> str:
    """Return whether a dataset can be used, and whether all of it is read."""
    if not is_usable(dataset):
        return "IT CANNOT BE USED until the refused files are fixed"
    if not is_complete(dataset):
        return "it can be used, but NOT EVERYTHING IN IT IS READ: see the skipped files"
    return "it can be used"


def _areas(dataset: Dataset) -> list[str]:
    percent = np.array([percent for _, percent in _defect_areas(dataset)])
    if not len(percent):
        return ["no masks: pixel metrics are left blank"]
    deviation = percent.std(ddof=1) if len(percent) > 1 else 0.0
    lines = [
        f"defect areas of {len(percent)} masks: mean {percent.mean():.2f} % of the image, standard deviation "
        f"{deviation:.2f} %"
    ]
    counts, edges = np.histogram(percent, AREA_BINS)
    width = max(counts.max(), 1)
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        lines.append(f"  {low:6.2f} to {high:6.2f} %  {'█' * round(30 * count / width)} {count}")
    return lines
