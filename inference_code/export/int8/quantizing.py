"""`quantize`: the network of an exported detector in 8-bit integers, everything behind its features in float32."""

import io
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import nncf
import numpy as np
import onnx
import torch
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from inference_code.export.exportable import Exportable, ExportableDetector, at_least
from inference_code.graph_files import INPUT, JUDGED, OUTPUTS, Graph
from inference_code.graphs.parts import Backbone
from inference_code.postprocessing import threshold_range
from training_code.training.recomputing import Compute

# Names of further outputs while a file is made: what the networks of backbones get, and what they give.
_GIVEN, _FEATURES = "network_input_", "network_features_"
_CONVOLUTIONS = ("Conv", "ConvTranspose")


class WithFeatures(Exportable):
    """An exportable detector that also gives what its backbones get and return.

    Attributes
    ----------
    layers
        Of its backbone, None unless it has exactly one.
    """

    def __init__(self, inner: ExportableDetector) -> None:
        super().__init__()
        self.inner = inner
        self.geometry, self.image_size = inner.geometry, inner.image_size
        self._seen: list[tuple[str, torch.Tensor]] = []
        backbones = [module for module in inner.modules() if isinstance(module, Backbone)]
        self.layers: list[str] | None = backbones[0].layers if len(backbones) == 1 else None
        self._outputs = tuple(inner.outputs)
        for number, backbone in enumerate(backbones):
            names = [f"{_FEATURES}{number}_{place}" for place in range(len(backbone.layers))]
            backbone.register_forward_hook(self._note(f"{_GIVEN}{number}", names))
            self._outputs += (f"{_GIVEN}{number}", *names)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what `forward` takes."""
        return self.inner.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` returns."""
        return self._outputs

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what `outputs` names, for images as `ExportableDetector` takes them."""
        self._seen.clear()
        found = dict(zip(self.inner.outputs, self.inner(images), strict=True)) | dict(self._seen)
        return tuple(found[name] for name in self.outputs)

    def _note(
        self, given: str, names: list[str]
    ) -> Callable[[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]], None]:
        """Return a hook that notes what a backbone gets and returns, under these names."""

        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], found: dict[str, torch.Tensor]) -> None:
            self._seen += [(given, inputs[0]), *zip(names, found.values(), strict=True)]

        return hook


def quantize(source: Path, target: Path, images: Iterable[NDArray[np.float32]], count: int) -> None:
    """Write a file of `WithFeatures` whose networks compute in 8-bit integers.

    Weights are symmetric, activations get the whole range that they have on ``images``: anomalies lie at its ends or
    beyond, where the mean of the ranges of single images, NNCF's default, cuts them off.

    Parameters
    ----------
    source, target
        Files of ONNX.
    images
        Good images, each of shape (1, 3, height, width).
    count
        How many they are.
    """
    model = onnx.load(source)
    inside = _inside(model.graph)
    outside = [node.name for place, node in enumerate(model.graph.node) if place not in inside]
    given = [output for output in model.graph.output if output.name.startswith(_GIVEN)]
    for output in given:  # NNCF takes steps away that change nothing, and stumbles where these give an output
        model.graph.output.remove(output)
        model.graph.value_info.append(output)
    nncf.set_log_level(logging.ERROR)
    whole_range = AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)
    with redirect_stdout(io.StringIO()):  # bars of its progress
        quantized = nncf.quantize(
            model,
            nncf.Dataset(images, lambda image: {INPUT: image}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=count,
            ignored_scope=nncf.IgnoredScope(names=[name for name in outside if name], validate=False),
            advanced_parameters=whole_range,
        )
    onnx.save(quantized, target)


def features_of(graph: Graph, layers: Sequence[str]) -> Compute:
    """Return what computes the features of images with an opened file of `WithFeatures` that has one backbone."""

    def compute(images: torch.Tensor) -> dict[str, torch.Tensor]:
        found = graph(np.ascontiguousarray(images.numpy()))
        return {layer: torch.from_numpy(found[f"{_FEATURES}0_{place}"]) for place, layer in enumerate(layers)}

    return compute


def finish(source: Path, target: Path, threshold: float | None) -> None:
    """Write a file of `WithFeatures` without its further outputs, and with labels by a threshold for images."""
    model = onnx.load(source)
    kept = [output for output in model.graph.output if output.name in OUTPUTS]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    if threshold is not None:
        _add_labels(model.graph, threshold)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _inside(graph: onnx.GraphProto) -> set[int]:
    """Return the places of the nodes between what backbones get and what they give; without any, all convolutions."""
    outputs = {output.name for output in graph.output}
    ahead = {name for name in outputs if name.startswith(_GIVEN)}
    if not ahead:
        return {place for place, node in enumerate(graph.node) if node.op_type in _CONVOLUTIONS}
    behind = {name for name in outputs if name.startswith(_FEATURES)}
    nodes = [*enumerate(graph.node)]
    after: set[int] = set()
    for place, node in nodes:  # in the order in which they are computed
        if ahead & set(node.input):
            ahead |= set(node.output)
            after.add(place)
    before: set[int] = set()
    for place, node in reversed(nodes):
        if behind & set(node.output):
            behind |= set(node.input)
            before.add(place)
    return after & before


def _add_labels(graph: onnx.GraphProto, threshold: float) -> None:
    """Add what `ExportableDetector.forward` gives of a threshold."""
    label, normalised = JUDGED
    score = OUTPUTS[0]

    def constant(name: str, value: float) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    graph.node.append(helper.make_node("GreaterOrEqual", [score, constant("at_least", at_least(threshold))], [label]))
    graph.output.append(helper.make_tensor_value_info(label, TensorProto.BOOL, ["batch"]))
    if scale := threshold_range(threshold):
        low, high = scale
        graph.node.append(helper.make_node("Sub", [score, constant("score_low", low)], ["score_above"]))
        graph.node.append(helper.make_node("Div", ["score_above", constant("score_span", high - low)], ["score_part"]))
        ends = [constant("score_least", 0.0), constant("score_most", 1.0)]
        graph.node.append(helper.make_node("Clip", ["score_part", *ends], [normalised]))
        graph.output.append(helper.make_tensor_value_info(normalised, TensorProto.FLOAT, ["batch"]))
