"""The formats of exported files, and what can be said of a request before anything is computed."""

from importlib.metadata import version

from training_code.foundation.errors import InputError, unknown

#: The formats and the packages that write them.
FORMATS = {"onnx": ("torch", "onnx"), "openvino": ("torch", "onnx", "openvino"), "anomalib": ("torch", "anomalib")}
#: Largest difference of a score from that of the run, as a part of the range of scores, with which a file is kept
#: where nothing else is asked for.
TOLERANCE = 1e-3


def check_request(format: str, tolerance: float) -> dict[str, str]:
    """Return the versions of the packages that write a format.

    Raises
    ------
    InputError
        If there is no such format or tolerance.
    PackageNotFoundError
        If a package is not installed.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if not tolerance >= 0:
        raise InputError(f"tolerance={tolerance} is out of range; valid: 0 or more")
    return {name: version(name) for name in FORMATS[format]}
