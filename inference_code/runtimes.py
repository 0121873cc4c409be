"""What can compute a detector, and how that is asked for; nothing that computes is imported here."""

from dataclasses import dataclass

from training_code.foundation.errors import InputError, choices, unknown

#: The file that each runtime of exported files reads.
MODEL_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
#: The same of files whose backbone computes in 8-bit integers.
INT8_FILES = {"onnx": "model.int8.onnx", "openvino": "model.int8.xml"}
#: The precisions of exported files.
FLOAT32, INT8 = "float32", "int8"
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
        another one the scores differ a little from those of the run. Exported files compute in float32, or as
        ``"int8"`` in 8-bit integers, where one was exported so.
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
        if self.runtime != "torch" and (self.device not in ("auto", "cpu") or self.precision not in (None, INT8)):
            raise InputError(
                f"device and precision (--device, --precision) are for the runtime torch; {self.runtime} runs on the "
                f"processor in float32, or with --precision {INT8} a file that was exported so"
            )
        if self.runtime == "torch" and self.precision == INT8:
            raise InputError(f"precision {INT8!r} is for exported files; valid runtimes with it: {choices(INT8_FILES)}")

    @property
    def file(self) -> str:
        """The name of the exported file that is asked for."""
        return (INT8_FILES if self.precision == INT8 else MODEL_FILES)[self.runtime]
