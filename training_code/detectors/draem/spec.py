"""The specification of DRAEM."""

from typing import Any

from training_code.detectors.anomaly_sources import anomaly_sources, files_of_sources
from training_code.detectors.arguments import AT_LEAST_0, POSITIVE, Argument, check_image_size
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import DetectorSpec, Epochs


def check_draem(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` if the networks cannot take images of ``image_size``, or the anomalies have no source."""
    check_image_size("Draem", image_size)
    anomaly_sources(arguments["anomaly_source_path"])


def _is_blend(value: float | list[float]) -> bool:
    values = value if isinstance(value, list) else [value, value]
    return len(values) == 2 and 0 <= values[0] <= values[1] <= 1


SPEC = DetectorSpec(
    name="Draem",
    path="training_code.detectors.draem.model:Draem",
    notebook="14_train_draem",
    arguments={
        "anomaly_source_path": Argument(str | None, None),
        "enable_sspcab": Argument(bool, False),
        "sspcab_lambda": Argument(float, 0.1, AT_LEAST_0),
        "beta": Argument(
            float | list[float], [0.1, 1.0], (_is_blend, "a number from 0 to 1, or two of them, the smaller first")
        ),
        "lr": Argument(float, 0.0001, POSITIVE),
        "width": Argument(float, 1.0, POSITIVE),
    },
    epochs=Epochs(max_epochs=700, batch_size=8),
    normalizes=False,
    told_by=("width", "max_epochs"),
    paper={"max_epochs": 700, "width": 1.0},
    plain=PlainForm({"width": 1.0}, folders=("dtd_dir",)),
    check=check_draem,
    files=files_of_sources,
)
