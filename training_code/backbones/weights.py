"""The weights that a backbone runs with: its file in ``weights/``, and what is known of it, found without torch."""

from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training_code.backbones.backbone import Backbone, Recipe, Weights
from training_code.backbones.files import SUFFIXES, find_file, read_origin
from training_code.backbones.layers import networks_state
from training_code.foundation import paths
from training_code.foundation.errors import MissingWeightsError, choices
from training_code.foundation.files import content_hash, content_state, digest
from training_code.foundation.remembered import remembered, source_of

_HERE = Path(__file__).parent


def find_weights(backbone: Backbone, folder: Path | None = None) -> Weights:
    """Return the weight file of ``backbone``, checked except for the values of its tensors.

    EfficientNet-Lite0's file is made from an installed package when it is first needed. The result of the check is kept
    as long as the file does not change.

    Raises
    ------
    MissingWeightsError
        If there is none; the message names the file and says how to get it.
    InputError
        If the file cannot be read as tensors, or a tensor is missing, unexpected or of another shape.
    """
    folder = folder or paths.WEIGHTS
    path = find_file(backbone.name, folder)
    if path is None and backbone.name == "efficientnet_lite0":
        path = _store_embedded(backbone, folder)
    if path is None:
        raise MissingWeightsError(
            f"{backbone.name} has no weights: there is no {paths.relative_to_home(folder / backbone.name)}.safetensors "
            f"(or {choices(SUFFIXES[1:])}); python -m training_code.weights fetch {backbone.name} fetches them, "
            f"python -m training_code.weights add FILE --as {backbone.name} adds a file that you have"
        )
    found = _known(path, content_state(path), backbone)
    sha256 = found["sha256"]
    origin = read_origin(path)
    source = origin["source"] if origin.get("sha256") == sha256 else "not recorded"
    recipe = Recipe.from_plain_data(found["recipe"])
    return Weights(backbone, recipe, path, sha256, source, found["naming"], found["pretrained"])


def random_weights(backbone: Backbone) -> Weights:
    """Return the entry for weights that are drawn at random."""
    return Weights(backbone, backbone.recipe, None, None, "random, drawn from the seed", "timm", pretrained=False)


@cache
def _known(path: Path, state: tuple[int, ...], backbone: Backbone) -> dict[str, Any]:
    """Return what was found in a file in this state."""
    depends_on = [*state, digest(asdict(backbone)), *_inspection_state()]
    return remembered("weights", [str(path), backbone.name], depends_on, lambda: _inspect(path, backbone))


def _inspect(path: Path, backbone: Backbone) -> dict[str, Any]:
    # Here, since torch and timm take 3.5 s to import, and a file that was checked before needs neither.
    from training_code.backbones.reading import inspect

    sha256 = content_hash(path)
    recipe, naming, pretrained = inspect(path, backbone)
    return {"sha256": sha256, "recipe": asdict(recipe), "naming": naming, "pretrained": pretrained}


def _store_embedded(backbone: Backbone, folder: Path) -> Path:
    # Here, since torch and timm take 3.5 s to import, and this happens once.
    from training_code.backbones.store import store_embedded

    return store_embedded(backbone, folder)


@cache
def _inspection_state() -> tuple[str, ...]:
    return *networks_state(), version("torchvision"), source_of(_HERE / "reading.py", _HERE / "naming.py")
