"""The formats of exported files, and what can be said of a request before anything is computed."""

from importlib.metadata import version

from training_code.foundation.errors import InputError, unknown

#: The formats and the packages that write them.
FORMATS = {"onnx": ("torch", "onnx"), "openvino": ("torch", "onnx", "openvino"), "anomalib": ("torch", "anomalib")}
#: In which numbers a file computes, with the packages beside those of the format.
FILE_PRECISIONS: dict[str, tuple[str, ...]] = {"float32": (), "int8": ("nncf", "onnxruntime")}
#: Largest part of the labels of images that were not trained on which a file of 8-bit integers may change where nothing
#: else is asked for.
INT8_TOLERANCE = 0.05
#: Largest difference of a score from that of the run, as a part of the range of scores, with which a file is kept
#: where nothing else is asked for.
TOLERANCE = 1e-3


def check_request(format: str, tolerance: float, precision: str = "float32") -> dict[str, str]:
    """Return the versions of the packages that write a format in a precision.

    Raises
    ------
    InputError
        If there is no such format, precision or tolerance.
    PackageNotFoundError
        If a package is not installed.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if not tolerance >= 0:
        raise InputError(f"tolerance={tolerance} is out of range; valid: 0 or more")
    if precision not in FILE_PRECISIONS:
        raise unknown("precision", precision, FILE_PRECISIONS)
    if precision == "int8" and tolerance > 1:
        raise InputError(f"tolerance={tolerance} is out of range; valid with int8: 0 to 1, a share of labels")
    if precision == "int8" and format == "anomalib":
        raise InputError("anomalib's checkpoints hold no 8-bit integers; valid formats with int8: onnx, openvino")
    return {name: version(name) for name in (*FORMATS[format], *FILE_PRECISIONS[precision])}
