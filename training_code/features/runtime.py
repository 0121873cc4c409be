"""The frozen network compiled by OpenVINO: torch's features in a fraction of the time, on a processor."""

import importlib
import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from training_code.foundation.cache import TensorCache, cache_key
from training_code.protocol import COMPILED_PRECISIONS


class CompiledNetwork:
    """A network compiled for this machine's processor and for images of one size.

    Each image is computed on its own, as many at once as suits the processor, so that its features do not depend on
    the others of its batch.

    Parameters
    ----------
    blob
        What `compile_network` returned.
    precision
        ``"float32"``, or ``"bfloat16"`` where the processor has it.
    """

    def __init__(self, blob: bytes, precision: str) -> None:
        self._blob = blob
        self._precision = precision
        self._compiled: dict[str, Any] = {}

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the network's outputs, float32, for images of shape (batch, 3, height, width)."""
        compiled = self._load("LATENCY" if len(images) == 1 else "THROUGHPUT")
        pixels = images.detach().float().cpu().contiguous().numpy()
        outputs: list[np.ndarray] = []
        lock = threading.Lock()

        def keep(request: Any, index: int) -> None:
            maps = [output.data for output in request.output_tensors]
            with lock:
                if not outputs:  # some networks have no shapes of their maps before they have computed them
                    outputs.extend(np.empty((len(pixels), *single.shape[1:]), single.dtype) for single in maps)
            for output, single in zip(outputs, maps, strict=True):
                output[index] = single[0]

        queue = import_openvino().AsyncInferQueue(compiled)
        queue.set_callback(keep)
        for index in range(len(pixels)):
            queue.start_async({0: pixels[index : index + 1]}, index)
        queue.wait_all()
        return [torch.from_numpy(output) for output in outputs]

    def _load(self, hint: str) -> Any:
        if hint not in self._compiled:
            self._compiled[hint] = _core().import_model(self._blob, "CPU", _properties(self._precision, hint))
        return self._compiled[hint]


def compile_network(module: nn.Module, image_size: tuple[int, int], precision: str) -> bytes:
    """Return ``module``, which turns images into a tuple of maps, compiled for single images of ``image_size``.

    Errors that OpenVINO or torch raise for a part of the network that they cannot convert are passed on.
    """
    example = torch.zeros(1, 3, *image_size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's and timm's about tracing, by which OpenVINO learns the network
        traced = torch.jit.trace(module.eval(), example, check_trace=False)  # the check takes longer than all the rest
        model = import_openvino().convert_model(traced, input=list(example.shape))
    compiled = _core().compile_model(model, "CPU", _properties(precision, "THROUGHPUT"))
    return bytes(compiled.export_model().getbuffer())


def load_or_compile(
    module: Callable[[], nn.Module], fingerprint: str, image_size: tuple[int, int], precision: str
) -> CompiledNetwork:
    """Return the compiled network of ``module``, from memory or from disk if it was compiled before.

    Parameters
    ----------
    module
        Makes the module; called only if it has to be compiled.
    fingerprint
        Identifies the module and its weights.
    image_size, precision
        As in `compile_network`.
    """
    key = cache_key("network", fingerprint, image_size, precision, processor())
    if key not in _compiled:
        stored = TensorCache().get(key)
        if stored is None:
            blob = compile_network(module(), image_size, precision)
            TensorCache().put(key, {"blob": torch.frombuffer(bytearray(blob), dtype=torch.uint8)})
        else:
            blob = stored["blob"].numpy().tobytes()
        for oldest in list(_compiled)[: 1 - _IN_MEMORY]:
            del _compiled[oldest]
        _compiled[key] = CompiledNetwork(blob, precision)
    return _compiled[key]


# One that gives the layers of the store or of a detector for each of three sizes that a detector may look at an image
# in, and one more; they are large.
_IN_MEMORY = 4
_compiled: dict[str, CompiledNetwork] = {}


@cache
def import_openvino() -> ModuleType:
    """Return OpenVINO without its telemetry, which reports every import and conversion to its makers unasked."""
    # Importing the telemetry then fails, and OpenVINO works without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import fail
    return importlib.import_module("openvino")


def openvino_version() -> str:
    """Return OpenVINO's version."""
    return import_openvino().get_version().split("-")[0]


@cache
def processor() -> str:
    """Return the name of this machine's processor, as OpenVINO reports it."""
    return _core().get_property("CPU", "FULL_DEVICE_NAME")


@cache
def _core() -> Any:
    return import_openvino().Core()


def _properties(precision: str, hint: str) -> dict[str, Any]:
    # Without the first, OpenVINO takes half precision where the processor has it.
    return {
        "INFERENCE_PRECISION_HINT": COMPILED_PRECISIONS[precision],
        "PERFORMANCE_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
