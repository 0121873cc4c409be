"""Runs with Gaussians of no more images than features, to which every new image is far from those of training."""

from training_code.data.layout import NORMAL
from training_code.data.sample import LABELLED, TRAIN, VALIDATION
from training_code.detectors.registry import DETECTORS
from training_code.records.record import Record

# Of thresholds that rest on images which training went without.
_HELD_OUT = "hold out"
# Of images of a dataset there are fewer.
_MANY = 10**12


def undetermined(record: Record) -> str:
    """Return that Gaussians of a run have no more images than features, and the cure; nothing where they have more.

    Those of the members of a combination count, too.
    """
    return "; ".join(dict.fromkeys(filter(None, map(_sentence, (record, *record.members)))))


def _sentence(record: Record) -> str:
    spec, features = DETECTORS.get(record.detector), record.arguments.get("n_features")
    if spec is None or spec.takes_in != "sums" or not isinstance(features, int):  # sums are a mean and a covariance
        return ""
    images = _trained_on(record)
    if not 0 < images <= features:
        return ""
    return (
        f"{images} training images for {features} features: the Gaussians are not determined, more images or fewer "
        "features are needed"
    )


def _trained_on(record: Record) -> int:
    """Return how many images each Gaussian is of: all but those that are held out, and but those that `trim` leaves.

    Of good images beside the training images the record does not say how many of them thresholds rest on: all, where
    they are of other parts. Where they are not, this number is too large by them.
    """
    counts = record.dataset.counts
    read = sum(count for name, count in counts.items() if name.startswith(f"{TRAIN}/"))
    beside = sum(counts.get(f"{split}/{NORMAL}", 0) for split in (VALIDATION, LABELLED))
    calibration = record.calibration
    held_out = calibration.images - beside if calibration is not None and calibration.way == _HELD_OUT else 0
    images = (read - max(held_out, 0)) * (1 + record.identity.protocol.copies)
    trim = record.arguments.get("trim", 0)
    # A damaged record may have any number in the place of another.
    trims = isinstance(trim, (int, float)) and 0 <= trim < 1 and images < _MANY
    return images - (int(trim * images) if trims else 0)
