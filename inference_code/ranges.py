"""What people and programs may ask for: ranges of numbers, of which both ends are valid, formats, and `BEST`."""

from training_code.foundation.errors import InputError

#: Images that a detector gets at once; all of them are in memory.
BATCH_SIZES = (1, 1024)
#: Pixels by which regions grow.
DILATIONS = (0, 255)
#: Pixels below which a region is passed over.
AREAS = (0, 2**31)
#: Formats of annotations, each with the name of its file.
ANNOTATIONS = {"coco": "annotations.json", "cvat": "annotations.xml"}
#: Images that are picked as worth labeling.
PICKS = (1, 10**6)
#: Seconds that something may be waited for.
WAITS = (0, 86400)
#: Parts of photographs that may be abnormal.
SHARES = (0.001, 0.9)
#: What photographs at a line are compared with: good images of the run, or the first photographs that came, `FIRST`.
#: The first one is as the second, except for what was said of images when they were left out of training.
COMPARED_WITH = AUTO, TRAINING, STATION = "auto", "training", "station"
FIRST = 200
#: In place of the name of a run: the best one.
BEST = "best"


def check_batch_size(batch_size: int) -> int:
    """Return a number of images that is in the range of `BATCH_SIZES`."""
    least, most = BATCH_SIZES
    if not isinstance(batch_size, int) or not least <= batch_size <= most:
        raise InputError(f"batch_size={batch_size!r} is out of range; valid: {least} to {most}")
    return batch_size
