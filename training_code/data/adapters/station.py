"""The folder of a station: parts that people judged after it become a labelled dataset.

A person judges a part, a detector its photographs. Photographs of parts that were called good are good. Of a part that
was called bad those are defective that the detector had marked, or the only one of a part that is known to have no
other; which of several shows the defect that the detector missed nobody said, so that they are set apart. Photographs
of one part stay on one side of the split.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import yaml

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.corrected import BAD, GOOD, CorrectedPart, CorrectedView, read_corrected
from training_code.data.description import DESCRIPTION, IGNORED
from training_code.data.findings import FileFinding
from training_code.data.layout import NORMAL
from training_code.data.walk import find_images
from training_code.foundation.errors import InputError, unknown

#: The type of all defects: people say that a part is bad, and not why.
DEFECT = "defect"
#: The folder of photographs of bad parts in which nothing was found, which nothing reads.
DOUBTFUL = "doubtful"
# Between the folders in the name of a photograph, where the station puts no such character into names.
_BETWEEN = "~"


def prepare_station(source: Path, target: Target, views: Sequence[str] = ()) -> None:
    """Bring the photographs of judged parts into ``target``; with ``views`` only those of these views."""
    parts = read_corrected(source)
    known = sorted({view.name for part in parts for view in part.views})
    for name in views:
        if name not in known:
            raise unknown("view", name, known)
    chosen = [(part, tuple(view for view in part.views if not views or view.name in views)) for part in parts]
    seen = [(part, tuple(view for view in own if view.path.is_file())) for part, own in chosen]
    gone = sum(len(own) for _, own in chosen) - sum(len(own) for _, own in seen)
    if gone:
        what = f"lacks {gone} photographs of parts that people judged: they vanished, or were moved elsewhere"
        target.findings.append(FileFinding(source, "left out", what, "skipped"))
    good = [view.path for part, own in seen if part.said == GOOD for view in own]
    if not good:
        raise InputError(
            f"no part in {source} was called good by a person{' and has photographs there' * bool(gone)}; a dataset "
            "needs photographs of good parts"
        )
    bad = [(view.path, _is_defective(part, view)) for part, own in seen if part.said != GOOD for view in own]
    defects, doubtful = ([path for path, defective in bad if defective == wanted] for wanted in (True, False))
    links = [pair for _, own in seen for pair in itertools.pairwise(view.path for view in own)]
    groups = part_groups(source, good + defects + doubtful, links)
    for image, split in split_good(good, None, groups):
        target.add(image, split, NORMAL, _name(image, source), groups[image])
    for image in defects:
        target.add(image, "test", DEFECT, _name(image, source), groups[image])
    for image in doubtful:
        target.add(image, DOUBTFUL, DEFECT, _name(image, source))
    _tell(source, target, len(doubtful))


def _is_defective(part: CorrectedPart, view: CorrectedView) -> bool:
    """Return whether a photograph of a part that was called bad is known to show the defect.

    Where the station came to no verdict, other views never came or could not be read, and may be those that show it.
    The rule ``all`` and those by p-values may come to one before all views came, which the ledger does not tell.
    """
    return view.marked or (len(part.views) == 1 and part.found in (GOOD, BAD))


def _name(image: Path, source: Path) -> str:
    return _BETWEEN.join(image.relative_to(source).parts)


def _tell(source: Path, target: Target, doubtful: int) -> None:
    """Say what is set apart and what nobody judged."""
    if doubtful:
        (target.root / DESCRIPTION).write_text(yaml.safe_dump({IGNORED: [DOUBTFUL]}), encoding="utf-8")
        what = (
            f"holds {doubtful} photographs of bad parts in which the detector marked nothing: they are in {DOUBTFUL}/, "
            "which nothing reads; move those that show the defect to test/defect"
        )
        target.findings.append(FileFinding(source, "left out", what, "kept"))
    others = [image for image in find_images(source) if image not in target.read]
    if others:
        target.read.update(others)
        what = f"holds {len(others)} other images: of parts that nobody judged, late or doubled ones, and pictures"
        target.findings.append(FileFinding(source, "left out", what, "kept"))
