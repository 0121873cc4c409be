"""Detectors of this project as checkpoints of anomalib's own classes, which anomalib loads without this project."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import torch
from anomalib import models
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from skimage.data import data_dir

from inference_code.graph_files import Graph
from inference_code.postprocessing import threshold_range
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import image_transform
from training_code.detectors.configuration import Configuration
from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.registry import DETECTORS, get_detector
from training_code.detectors.spec import load_object
from training_code.detectors.whole_images import everywhere
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError, choices
from training_code.records.record import Record
from training_code.training.engine import quiet

# Where anomalib's models keep their feature extractor.
_EXTRACTORS = (
    *("model.feature_extractor.", "model.feature_encoder.", "model.encoder.", "model.teacher"),
    "model.forward_modules.feature_aggregator.",
)
# anomalib calls abnormal what is above a threshold, runs what reaches it: so much lower, as a part of it, is that one.
_LOWER = 1e-6
# What checkpoints name where anomalib wants a folder that it does not read.
_HERE = "."


def check_convertible(record: Record) -> None:
    """Raise an `InputError` with the reason if anomalib has no class for the detector of a run."""
    name, arguments = record.detector, record.arguments
    plain = get_detector(name).plain
    if plain is None:
        able = choices(spec.name for spec in DETECTORS.values() if spec.plain)
        raise InputError(
            f"{name} is this project's own and anomalib has no class for it; valid for anomalib: {able}; "
            "valid for this run: onnx, openvino"
        )
    if not record.geometry.plain:
        raise InputError(
            "anomalib's checkpoint stretches images to image_size and looks at all of them, and the run has a region, "
            "center_crop or another resize; valid for this run: onnx, openvino"
        )
    side = plain.image_size
    if side is not None and record.geometry.size != (side, side):
        raise InputError(
            f"anomalib's {name} reads checkpoints for images of {side} × {side} pixels alone, and {record.run_id} has "
            f"images of {' × '.join(map(str, record.geometry.size))}; valid for this run: onnx, openvino"
        )
    for argument, value in plain.fixed.items():
        valid = value if isinstance(value, tuple) else (value,)
        if arguments[argument] not in valid:
            raise InputError(
                f"{argument}={arguments[argument]!r} cannot be converted: anomalib's {name} has only "
                f"{' or '.join(map(repr, valid))}; valid for this run: onnx, openvino"
            )
    if reason := plain.refuses(arguments):
        raise InputError(f"{record.run_id} cannot be converted: {reason}; valid for this run: onnx, openvino")
    if record.identity.protocol.tiles > 1:
        raise InputError(
            f"{record.run_id} gets images in tiles whose maps are blended, which anomalib's {name} does not do; valid "
            "for this run: onnx, openvino"
        )
    if not record.weights:
        return
    if record.weights.recipe.options:
        raise InputError(
            f"the weights of {arguments['backbone']} need a variant of the network that anomalib does not build: "
            f"{record.weights.recipe.options}; valid for this run: onnx, openvino"
        )
    listed = [layer.name for layer in get_backbone(arguments["backbone"]).layers if layer.listed]
    if strange := [layer for layer in Configuration(name, arguments).layers if layer not in listed]:
        raise InputError(
            f"anomalib does not find the layers {choices(strange)} of {arguments['backbone']}; valid there: "
            f"{choices(listed)}; valid for this run: onnx, openvino"
        )


def to_anomalib(detector: AnomalibModule, record: Record, thresholds: Thresholds) -> AnomalibModule:
    """Return anomalib's own detector with the state of one of this project, checked by `check_convertible`.

    PaDiM's factors become inverse covariances; the thresholds go to anomalib's post-processor, with 0.5 at each of them
    and 0 at 0, as `threshold_range` has it. Parts of the backbone behind the last layer, which anomalib computes and
    does not use, are zeros: runs do not keep them.
    """
    cls = _plain_class(record.detector)
    plain = get_detector(record.detector).plain
    assert plain is not None  # checked
    declared, own = inspect.signature(cls).parameters, dict(record.arguments)
    if record.weights:
        own["backbone"] = record.weights.recipe.architecture
    named = anomalibs_arguments(record.detector, own)
    default = declared["layers"].default if "layers" in declared and "layers" not in plain.values else None
    if isinstance(default, list | tuple) and any(isinstance(layer, int) for layer in default):
        named["layers"] = _numbers(own["layers"], own["backbone"])
    arguments = {
        name: _as_declared(value, declared[name].annotation) for name, value in named.items() if name in declared
    }
    for name, decide in plain.decided.items():
        arguments[name] = decide(record.arguments, record.identity.protocol.network_size)
    if "pre_trained" in arguments:
        arguments["pre_trained"] = False
    folders = _folders(record.detector)
    arguments |= dict.fromkeys(folders, data_dir)  # a small folder that is there
    assert detector.pre_processor is not None
    try:
        module = cls(
            **arguments,
            pre_processor=detector.pre_processor,
            post_processor=PostProcessor(enable_threshold_matching=False),
        )
    except (ValueError, AttributeError) as error:  # some are made for residual networks alone
        raise InputError(
            f"anomalib does not build its {record.detector} with the arguments of this run: {error}; valid for this "
            "run: onnx, openvino"
        ) from error
    for name in folders:
        module.hparams[name] = _HERE
    try:
        module.load_state_dict(_converted(detector, module, record.detector) | _post_processing(thresholds))
    except (RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"the state of the run does not fit anomalib's {record.detector}: {reason}") from error
    return module.eval()


def write_checkpoint(module: AnomalibModule, path: Path) -> None:
    """Write a checkpoint as Lightning does, with the arguments of the class and plain data alone beside the tensors."""
    with quiet():
        trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
        trainer.strategy.connect(module)
        trainer.save_checkpoint(path, weights_only=True)


def open_checkpoint(path: Path, detector: str) -> Graph:
    """Load a checkpoint with anomalib's class and return what computes raw scores and maps with it.

    Images are computed one by one: what anomalib's Cflow says of one depends on what else is in its batch.
    """
    cls = _plain_class(detector)
    with quiet():
        more = dict.fromkeys(_folders(detector), data_dir)
        module = cls.load_from_checkpoint(path, map_location="cpu", **more).eval()
    transform, judge = image_transform(module), module.post_processor
    assert isinstance(judge, PostProcessor)

    def run(image: NDArray[np.float32]) -> dict[str, NDArray]:
        with torch.inference_mode():
            images = transform(torch.from_numpy(image))
            found = module.model(images)
        # anomalib gives no map where a detector does not say where in an image an anomaly is.
        maps = everywhere(found.pred_score, images) if found.anomaly_map is None else found.anomaly_map
        maps = maps.reshape(1, 1, *maps.shape[-2:])
        outputs = {"score": found.pred_score.reshape(-1).float().numpy(), "anomaly_map": maps.float().numpy()}
        if not judge.image_threshold.isnan():
            outputs["label"] = judge(found).pred_label.reshape(-1).numpy()
        return outputs

    def run_all(images: NDArray[np.float32]) -> dict[str, NDArray]:
        outputs = [run(image[None]) for image in images]
        return {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}

    return run_all


def _plain_class(detector: str) -> type[AnomalibModule]:
    plain = get_detector(detector).plain
    return load_object(plain.path) if plain and plain.path else getattr(models, detector)


def _numbers(layers: Sequence[str], backbone: str) -> list[int | None]:
    """Return the positions of layers in timm's list, as a class of anomalib's wants them that counts layers."""
    numbers = {layer.name: layer.index for layer in get_backbone(backbone).layers}
    return [numbers[name] for name in layers]


def anomalibs_arguments(detector: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a detector of this project under the names and with the values of anomalib's class."""
    plain = get_detector(detector).plain
    assert plain is not None
    return {
        plain.renamed.get(name, name): plain.values[name](value) if name in plain.values else value
        for name, value in arguments.items()
    }


def _as_declared(value: Any, hint: Any) -> Any:
    """Return an argument as anomalib's class wants it.

    Records hold lists also where it declares a tuple, and the names of layers where it declares numbers of blocks.
    """
    kinds = (hint, *get_args(hint))
    wants_tuple = any(get_origin(kind) is tuple for kind in kinds)
    if list[int] in kinds and isinstance(value, list) and any(isinstance(item, str) for item in value):
        return [int(name.rpartition(".")[2]) for name in value]
    return tuple(value) if wants_tuple and isinstance(value, list) else value


def _folders(detector: str) -> tuple[str, ...]:
    plain = get_detector(detector).plain
    return plain.folders if plain else ()


def _converted(detector: AnomalibModule, module: AnomalibModule, name: str) -> dict[str, torch.Tensor]:
    """Return the state of ``detector``, that of this name, under the names of ``module``."""
    plain = get_detector(name).plain
    assert plain is not None
    state = {tensor: value for tensor, value in detector.state_dict().items() if tensor not in plain.without}
    for ours, theirs in plain.moved.items():
        state = {tensor.replace(ours, theirs): value for tensor, value in state.items()}
    for place, part in detector.named_modules():
        if isinstance(part, FactorizedGaussian):
            del state[f"{place}.factor"], state[f"{place}.low_rank"]
            state[f"{place}.mean"], state[f"{place}.inv_covariance"] = part.dense()
    converted: dict[str, torch.Tensor] = {}
    # timm flattens the names of some networks whose features it takes: stages_0 for stages.0.
    flat = {_flat(name): name for name in state}
    for place, tensor in module.state_dict().items():
        if source := flat.pop(_flat(place), None):
            converted[place] = state[source]
        elif place.startswith(_EXTRACTORS):
            converted[place] = torch.zeros_like(tensor)
    if flat:
        raise KeyError(f"it has no {', '.join(sorted(flat.values())[:3])}")
    return converted


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _post_processing(thresholds: Thresholds) -> dict[str, torch.Tensor]:
    """Return the state of anomalib's post-processor; without a threshold scores stay raw and have no label."""
    state = {}
    for kind, threshold in (("image", thresholds.image), ("pixel", thresholds.pixel)):
        low, high = threshold_range(threshold) or (0.0, 1.0)
        lower = None if threshold is None else threshold - _LOWER * abs(threshold)
        for name, value in ((f"_{kind}_threshold", lower), (f"{kind}_min", low), (f"{kind}_max", high)):
            state[f"post_processor.{name}"] = torch.tensor(float("nan") if lower is None else value)
    return state
