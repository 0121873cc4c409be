"""What was measured of exported files of 8-bit integers, kept in the descriptions beside them in a run's folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic_core
from pydantic import Field, FiniteFloat, NonNegativeInt, TypeAdapter

#: Folder of a run that its exports are written to.
EXPORTS = "exports"
#: Where the description of a file has its `Measured`.
MEASURED = "measured"
#: The formats that have files of 8-bit integers.
Int8Format = Literal["onnx", "openvino"]

_Part = Annotated[FiniteFloat, Field(ge=0, le=1)]
_Seconds = Annotated[FiniteFloat, Field(ge=0)]


@dataclass(frozen=True)
class Measured:
    """An exported file of 8-bit integers beside one of float32, computed by the same program on the same machine.

    Attributes
    ----------
    format
        Of both files.
    images, defects
        Number of images that they judged, and how many of these show defects.
    source
        Which images.
    labels_changed
        How many of them have another label than by the run, each at its own threshold.
    by_integers
        The same against the run at the threshold that it would have by as many good images as the file: without what
        changes since the threshold of the file rests on fewer of them.
    auroc, float32_auroc
        ``image_AUROC`` on these images; None where not both kinds are among them.
    latency_s, float32_latency_s
        Median seconds for one image of the size that networks see.
    bytes, float32_bytes
        Sizes of the files.
    threads
        That computed.
    """

    format: Int8Format
    images: NonNegativeInt
    defects: NonNegativeInt
    source: str
    labels_changed: NonNegativeInt
    by_integers: NonNegativeInt
    auroc: _Part | None
    float32_auroc: _Part | None
    latency_s: _Seconds
    float32_latency_s: _Seconds
    bytes: NonNegativeInt
    float32_bytes: NonNegativeInt
    threads: NonNegativeInt

    @property
    def sentence(self) -> str:
        """The loss, and what it buys, in words."""
        auroc = ""
        if self.auroc is not None and self.float32_auroc is not None:
            auroc = f", image_AUROC {self.float32_auroc:.4f} → {self.auroc:.4f}"
        return (
            f"on {self.images} {self.source}: {self.labels_changed} labels are other ones, {self.by_integers} at "
            f"thresholds by the same good images{auroc}; "
            f"{1000 * self.float32_latency_s:.2f} → {1000 * self.latency_s:.2f} ms an image with {self.threads} "
            f"thread{'' if self.threads == 1 else 's'}, {self.float32_bytes:,} → {self.bytes:,} bytes"
        )


_FORM = TypeAdapter(Measured)


def read_measured(folder: Path) -> list[Measured]:
    """Return what was measured of the files of 8-bit integers of the run in ``folder``; damaged ones are left out."""
    found = []
    for path in sorted((folder / EXPORTS).glob("*.json")):
        try:
            content = pydantic_core.from_json(path.read_bytes(), allow_inf_nan=False)  # as it is written
            if isinstance(content, dict) and MEASURED in content:
                found.append(_FORM.validate_json(json.dumps(content[MEASURED]), strict=True))
        except (OSError, ValueError):  # it may come from strangers
            continue
    return found
