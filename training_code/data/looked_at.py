"""Labelled defects of which nothing is looked at: they would be missed without a word."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from training_code.data.facts import Facts
from training_code.data.findings import FileFinding
from training_code.data.geometry import Geometry
from training_code.data.marking import read_marked
from training_code.data.region_of_interest import RegionOfInterest
from training_code.data.sample import Sample

# The region alone decides here, whatever size images have.
_STRETCHED = (256, 256)
_WHAT = "shows a defect that lies wholly outside of what is looked at: it cannot be found, and counts as missed"
_KEPT: dict[tuple[object, ...], bool] = {}  # whether something of a defect is looked at, by mask and geometry


def outside_region(
    samples: Iterable[Sample], facts: Mapping[Path, Facts], region: RegionOfInterest | None
) -> Iterator[FileFinding]:
    """Find images whose mask marks something, and nothing of it within the region of the dataset; none without one."""
    return defects_outside(samples, facts, Geometry(_STRETCHED, region=region))


def defects_outside(
    samples: Iterable[Sample], facts: Mapping[Path, Facts], geometry: Geometry
) -> Iterator[FileFinding]:
    """Find images whose mask marks something, and nothing of it where the geometry looks.

    ``facts`` are those of all files.
    """
    for sample in samples if geometry.cuts else ():
        if sample.mask is None or facts[sample.path].problem:
            continue
        mask = facts[sample.mask]
        if mask.problem or not mask.marked or not mask.threshold:
            continue
        key = (mask.sha256, mask.threshold, *geometry.key)
        if key not in _KEPT:
            marked = read_marked(sample.mask, mask.threshold)
            looked_at = geometry.place((mask.height, mask.width)).looked_at()
            _KEPT[key] = looked_at is None or bool((marked & looked_at).any())
        if not _KEPT[key]:
            yield FileFinding(sample.path, "defect outside", _WHAT, "kept")
