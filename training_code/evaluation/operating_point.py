"""`OperatingPoint`: a threshold, how it was found, and what it promises."""

from dataclasses import dataclass

#: The rule whose threshold is found on the test images: to be looked at, never to be deployed.
ORACLE = "oracle"
#: Before the names of metrics on good images and labelled defects that a detector has not seen.
OF_LABELS = "labelled_"
NO_PROMISE = "nothing is promised"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold by one of the rules of `training_code.evaluation.thresholds`.

    Attributes
    ----------
    threshold
        Raw score from which on an image or a pixel is called abnormal.
    images, groups
        Images that it rests on, and the number of parts that they show, if some show the same one. They are good ones
        but for the rules ``synthetic`` and ``oracle``, which count those with anomalies, too.
    alpha
        The rate of false alarms that was asked for; None for a rule that goes by none.
    promise
        The part of new good images that is refused at most, or of which more than ``area`` is marked; None where
        nothing is promised.
    least
        The smallest promise that so many groups allow.
    area
        The part of an image, from 0 to 1, that may be marked.
    labels
        Labelled defects that it rests on as well: as far as the promise allows it is the threshold with the largest F1.

    Examples
    --------
    >>> OperatingPoint(0.7, images=18, groups=18, alpha=0.01, promise=1 / 19, least=1 / 19).sentence
    '18 good images allow no promise below 5.3 %: at most 5.3 % of new good images are refused, in place of 1 %'
    >>> OperatingPoint(0.7, images=199, groups=199, alpha=0.05, promise=0.05, least=0.005).sentence
    'at most 5 % of new good images are refused, as 199 good images show'
    >>> OperatingPoint(0.9, 199, 199, 0.05, 0.05, 0.005, labels=60).sentence.rpartition(", ")[2]
    'and the threshold is as near as that allows to the largest F1 on 60 labelled defects'
    """

    threshold: float
    images: int = 0
    groups: int = 0
    alpha: float | None = None
    promise: float | None = None
    least: float | None = None
    area: float | None = None
    labels: int = 0

    @property
    def sentence(self) -> str:
        """What the threshold promises, in words."""
        if self.promise is None:
            return NO_PROMISE
        what = "are refused" if self.area is None else f"have more than {percent(self.area)} of their pixels marked"
        parts = "" if self.groups == self.images else f" of {self.groups} parts"
        promised = f"at most {percent(self.promise)} of new good images {what}"
        near = f", and the threshold is as near as that allows to the largest F1 on {labelled_defects(self.labels)}"
        chosen = near if self.labels else ""
        if self.alpha is not None and self.least is not None and self.alpha < self.least:
            return (
                f"{self.images} good images{parts} allow no promise below {percent(self.least)}: {promised}, in place "
                f"of {percent(self.alpha)}{chosen}"
            )
        return f"{promised}, as {self.images} good images{parts} show{chosen}"


def labelled_defects(number: int) -> str:
    """Return a number of labelled defects in words."""
    return f"{number} labelled defect{'' if number == 1 else 's'}"


def percent(part: float) -> str:
    """Return a part of 1 as people read it, with two digits that count."""
    return f"{100 * part:.2g} %" if part < 0.995 else f"{100 * part:.0f} %"
