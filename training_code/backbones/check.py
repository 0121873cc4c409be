"""Checking a stored weight file completely."""

from pathlib import Path

from training_code.backbones.files import read_origin
from training_code.backbones.reading import check_finite, load_backbone, read_state_dict
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.foundation.errors import InputError
from training_code.foundation.files import content_hash


def check_weights(path: Path, name: str) -> str:
    """Reload a file completely and compare its fingerprint with the recorded one; return the result in words.

    Raises
    ------
    InputError
        If the file has changed or cannot be used.
    """
    origin = read_origin(path)
    if origin and origin["sha256"] != content_hash(path):
        raise InputError(f"{path} has changed since it was added ({origin['source']})")
    weights = find_weights(get_backbone(name), path.parent)
    load_backbone(weights)
    trained = "" if weights.pretrained else "; never trained: its normalizing layers are as they were initialized"
    return ("as it was added" if origin else "good; added by hand, no fingerprint to compare with") + trained


def check_tensors(path: Path) -> str:
    """Read a file that is no backbone's; return the result in words.

    Raises
    ------
    InputError
        If it is no file of tensors, or one of them holds a number that is not finite.
    """
    check_finite(read_state_dict(path), path)
    return "good; whether its tensors fit is seen when a detector is built with it"
