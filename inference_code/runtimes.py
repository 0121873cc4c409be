"""What can compute a detector, and how that is asked for; nothing that computes is imported here."""

from dataclasses import dataclass

from training_code.foundation.errors import InputError, unknown

#: The file that each runtime of exported files reads.
MODEL_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
#: What can compute: the run itself in torch, or what `inference_code.export` made of it.
RUNTIMES = ("torch", *MODEL_FILES)


@dataclass(frozen=True)
class LoadOptions:
    """How a detector is loaded.

    Attributes
    ----------
    runtime
        One of `RUNTIMES`.
    device
        ``"cpu"``, ``"cuda"``, one GPU as ``"cuda:1"``, or ``"auto"``: a GPU where there is one. Exported files run on
        the processor.
    precision
        One of `training_code.protocol.PRECISIONS`, in which the backbone computes; that of the run by default. With
        another one the scores differ a little from those of the run. Exported files compute in float32.
    trust_changed
        Load a checkpoint that is not the one that the run wrote, or exported files that are not those that were
        checked when they were written or that are of an older training of the run. What needs to run code is refused
        in any case.

    Raises
    ------
    InputError
        If there is no such runtime, or it computes neither on that device nor in that precision.
    """

    runtime: str = "torch"
    device: str = "auto"
    precision: str | None = None
    trust_changed: bool = False

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise unknown("runtime", self.runtime, RUNTIMES)
        if self.runtime != "torch" and (self.device not in ("auto", "cpu") or self.precision is not None):
            raise InputError(
                f"device and precision (--device, --precision) are for the runtime torch; {self.runtime} runs on the "
                "processor in float32"
            )
