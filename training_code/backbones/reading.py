"""Weight files as networks: read as tensors only, matched completely. This imports torch and timm."""

import dataclasses
import json
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from training_code.backbones.backbone import Backbone, Recipe, Weights
from training_code.backbones.naming import State, Translated, to_timm
from training_code.backbones.networks import create_network, meta_network
from training_code.backbones.registry import BACKBONES
from training_code.foundation.errors import InputError, choices
from training_code.foundation.files import content_hash

_NESTED_UNDER = ("state_dict", "model", "model_state_dict", "model_ema")
_PREFIXES = ("module.", "backbone.", "model.", "_orig_mod.")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Share of names in common from which on a file counts as a faulty one of the network.
_ALIKE = 0.9
#: Share from which on it may belong to another network that is built like this one.
_RELATED = 0.2
#: Options of timm that a recipe may have, and their valid values.
_OPTIONS = {
    "bn_eps": lambda value: isinstance(value, float) and 0 < value < 1,
    "act_layer": lambda value: value == "mish",
}
#: Key under which a stored safetensors file says how its network is built.
RECIPE = "recipe"


def load_backbone(weights: Weights) -> nn.Module:
    """Return timm's network without classifier, in eval mode, filled from the file.

    Random weights are drawn from torch's generator: seed it before.

    Raises
    ------
    InputError
        If the file cannot be read as tensors, or a tensor is missing, unexpected, of another shape or not finite.
    """
    network = create_network(weights.recipe)
    if weights.path is not None:
        if content_hash(weights.path) != weights.sha256:
            raise InputError(f"{weights.path} has changed since the run was prepared; run it again")
        state = read_for(weights.path, weights.backbone).state
        check_finite(state, weights.path)
        # Counters of batches, which some files lack, have no effect in eval mode.
        network.load_state_dict(_without_classifier(state, weights.recipe), strict=False)
    return network


def read_for(path: Path, backbone: Backbone) -> Translated:
    """Read a file for ``backbone``: all tensors of its network under timm's names, and its classifier if there is one.

    Raises
    ------
    InputError
        If the file cannot be read as tensors, or a tensor is missing, unexpected or of another shape.
    """
    original = read_state_dict(path)
    found = to_timm(original, backbone, _stored_recipe(path, backbone))
    try:
        check_complete(found, backbone, str(path))
    except InputError:
        given = _without_classifier(found.state, found.recipe)
        name = recognize(original, thorough=_likeness(given, found.recipe) < _ALIKE)
        if name is None or name == backbone.name:
            raise
        raise InputError(f"{path} holds the weights of {name}, not of {backbone.name}") from None
    return found


def check_complete(found: Translated, backbone: Backbone, source: str) -> None:
    """Raise an `InputError` if tensors of the network are missing, unexpected or of another shape."""
    if problems := _mismatches(_without_classifier(found.state, found.recipe), found.recipe):
        raise InputError(
            f"{source} does not fit {backbone.name} (timm's {found.recipe.architecture}): {'; '.join(problems)}"
        )


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file by name; nothing in it is executed.

    A state dict may be nested under ``state_dict``, ``model``, ``model_state_dict`` or ``model_ema``, tried in this
    order, and all its names may begin with ``module.``, ``backbone.``, ``model.`` or ``_orig_mod.``.
    """
    try:
        _check_kind(path)
        content = load_file(path) if _is_safetensors(path) else _torch_load(path)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        # torch names what it refuses in its message only; the file is refused whatever the message says.
        found = re.search(r"(?:GLOBAL|global|Global) (?:GLOBAL )?([\w.]+)", str(error))
        what = f"more than tensors ({found[1]})" if found else "more than tensors, or no weights at all"
        raise InputError(f"{path} holds {what}; reading that could run code, so the file is refused") from error
    except Exception as error:  # damaged files raise errors of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise InputError(f"{path} cannot be read, it is damaged, cut short or no weight file: {reason}") from error
    for _ in range(len(_NESTED_UNDER)):
        content = _nested(content) or content
    if not isinstance(content, Mapping) or not content or not all(map(_is_plain_tensor, content.values())):
        raise InputError(f"{path} holds no state dict: expected plain tensors by name")
    state = {str(name): tensor for name, tensor in content.items()}
    while prefix := next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def check_recipe(recipe: Recipe, backbone: Backbone, source: str) -> None:
    """Raise an `InputError` if a recipe that came with a file or a run is not one that this project writes.

    timm takes addresses and folders for names of networks, and options that open files or fetch them.
    """
    try:
        numbers = [*recipe.mean, *recipe.std]
        usable = len(recipe.mean) == len(recipe.std) == 3 and all(map(math.isfinite, numbers)) and min(recipe.std) > 0
        usable &= all(_OPTIONS[name](value) for name, value in recipe.options)
        # Without a tag: what follows a dot names weights.
        known = "." not in recipe.architecture and timm.is_model(recipe.architecture)
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = known = False
    if not usable or not known:
        text = json.dumps(dataclasses.asdict(recipe))
        raise InputError(f"{source} describes how its network is built in a form that is not understood: {text}")
    variants = {name.removeprefix("tf_") for name in (backbone.architecture, backbone.pretrained.split(".")[0])}
    if recipe.architecture.removeprefix("tf_") not in variants:
        raise InputError(f"{source} holds the weights of {recipe.architecture}, not of {backbone.name}")


def recognize(state: State, thorough: bool = True) -> str | None:
    """Return the name of the backbone whose tensors these are, None if it is not known.

    First the registered ones are tried; if ``thorough``, then all of timm's networks that are built like the registered
    one with most names in common, which may take seconds.
    """
    alike: dict[str, float] = {}
    for backbone in BACKBONES.values():
        found = to_timm(state, backbone)
        given = _without_classifier(found.state, found.recipe)
        if not _mismatches(given, found.recipe):
            return backbone.name
        alike[backbone.name] = _likeness(given, found.recipe)
    nearest = max(alike, key=lambda name: alike[name])
    if not thorough or alike[nearest] < _RELATED:
        return None
    module = type(meta_network(BACKBONES[nearest].recipe)).__module__.rsplit(".", 1)[-1]
    for name in sorted(timm.list_models(module=module), key=lambda name: (name.startswith("tf_"), len(name), name)):
        recipe = Recipe(name, BACKBONES[nearest].mean, BACKBONES[nearest].std)
        if not _mismatches(_without_classifier(state, recipe), recipe):
            return name
    return None


def check_finite(state: State, path: Path) -> None:
    """Raise an `InputError` that names the tensors with values that are not finite."""
    names = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if names:
        raise InputError(f"{path} is damaged: {_count(names, 'not finite')}")


def inspect(path: Path, backbone: Backbone) -> tuple[Recipe, str, bool]:
    """Return how the network of a file is built, whose names its tensors have, and whether it was ever trained.

    Raises
    ------
    InputError
        If the file cannot be read as tensors, or a tensor is missing, unexpected or of another shape.
    """
    found = read_for(path, backbone)
    return found.recipe, found.naming, _is_trained(found.state)


def _is_trained(state: State) -> bool:
    """Return whether the normalizing layers are no longer as they were before training; without any it is assumed."""
    means = [tensor for name, tensor in state.items() if name.endswith("running_mean")]
    if means:
        return any(mean.any() for mean in means)
    biases = [tensor for name, tensor in state.items() if "norm" in name and name.endswith("bias")]
    return not biases or any(bias.any() for bias in biases)


def _nested(content: Any) -> Mapping | None:
    """Return the mapping under the first of the usual names, None if there is none."""
    found = (content.get(key) for key in _NESTED_UNDER) if isinstance(content, Mapping) else ()
    return next((inner for inner in found if isinstance(inner, Mapping)), None)


def _is_plain_tensor(value: object) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
    )


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors does, whatever its name: the size of the header, then the header."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _torch_load(path: Path) -> Any:
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # only such files can be mapped into memory
    return torch.load(path, "cpu", weights_only=True, mmap=zipped)


def _check_kind(path: Path) -> None:
    """Refuse what is often found in place of a weight file."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with open(path, "rb") as file:
        start = file.read(8192).lstrip().lower()
    if not path.stat().st_size:
        raise InputError(f"{path} is empty")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{path} is a web page, probably the answer to a download that failed")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a pointer of Git LFS, not the file itself: run git lfs pull to fetch it")


def _stored_recipe(path: Path, backbone: Backbone) -> Recipe | None:
    """Return the recipe that a stored file contains, if this project wrote it."""
    if not _is_safetensors(path):
        return None
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(RECIPE)
    if not text:
        return None
    try:
        recipe = Recipe.from_plain_data(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} describes how its network is built in a form that is not understood: {text}"
        ) from error
    check_recipe(recipe, backbone, str(path))
    return recipe


def _without_classifier(state: State, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Return the tensors without the classifier, which depends on the classes that a file was trained for."""
    classifier = set(meta_network(recipe, num_classes=1000).state_dict()) - set(meta_network(recipe).state_dict())
    return {name: tensor for name, tensor in state.items() if name not in classifier}


def _likeness(given: State, recipe: Recipe) -> float:
    """Return the share of all names that a file and a network have in common."""
    names, expected = set(given), set(meta_network(recipe).state_dict())
    return len(names & expected) / len(names | expected)


def _mismatches(given: State, recipe: Recipe) -> list[str]:
    expected = meta_network(recipe).state_dict()
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    reshaped = [name for name in expected if name in given and expected[name].shape != given[name].shape]
    untyped = [
        name
        for name in expected
        if name in given and expected[name].is_floating_point() and given[name].dtype not in _FLOATS
    ]
    kinds = (
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", reshaped),
        ("not of 16, 32 or 64 bit floating point", untyped),
    )
    return [_count(names, what) for what, names in kinds if names]


def _count(names: list[str], what: str) -> str:
    shown = choices(names[:3]) + (", …" if len(names) > 3 else "")
    return f"1 tensor is {what} ({shown})" if len(names) == 1 else f"{len(names)} tensors are {what} ({shown})"
