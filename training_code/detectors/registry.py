"""The detectors: one folder each, found by its ``spec.py``."""

import importlib
import pkgutil
from pathlib import Path

from training_code.detectors.spec import DetectorSpec
from training_code.foundation.errors import unknown


def _find() -> dict[str, DetectorSpec]:
    folders = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg]
    specs = [importlib.import_module(f"training_code.detectors.{name}.spec").SPEC for name in folders]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.notebook)}


#: By name, in the order of their notebooks.
DETECTORS: dict[str, DetectorSpec] = _find()


def get_detector(detector: type | str) -> DetectorSpec:
    """Return the specification for a class of this package, for anomalib's of the same name, or for the name.

    Anything else is an `InputError` with the valid names.

    Examples
    --------
    anomalib's PatchCore looks at nine neighbors:

    >>> get_detector("Patchcore").arguments["num_neighbors"].default
    9
    """
    name = detector if isinstance(detector, str) else getattr(detector, "__name__", repr(detector))
    spec = DETECTORS.get(name)
    if spec is None or (isinstance(detector, type) and not issubclass(spec.load(), detector)):
        raise unknown("detector", name, DETECTORS)
    return spec
