"""Codebooks of DSR on disk: trained on any folder of images, or on the training images of a run and shared by runs."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock

from training_code.backbones.reading import load_backbone
from training_code.backbones.weights import find_weights
from training_code.data.resizing import load_image
from training_code.data.sample_data import SampleDataset
from training_code.data.tiles import TileDataset
from training_code.data.walk import find_images
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.dsr.codebook import (
    SUFFIX,
    in_batches,
    save_codebook,
    train_codebook,
)
from training_code.detectors.dsr.model import Dsr
from training_code.detectors.dsr.spec import PUBLISHED, check_dsr, find_codebook
from training_code.detectors.tiling import tiles_of
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import content_hash, digest, write_json
from training_code.records.identity import Identity

#: Images in a batch of phase 1.
BATCH_SIZE = 8
# Arguments of a run that phase 1 depends on.
_ARGUMENTS = ("backbone", "layers", "pre_trained", "embedding_dim", "num_embeddings", "codebook_epochs", "width")


def pretrain_codebook(
    images: str | Path, name: str, *, image_size: int = 256, seed: int = 42, replace: bool = False, **arguments: Any
) -> Path:
    """Train phase 1 of DSR on a folder of images and write it to ``weights/``.

    Parameters
    ----------
    images
        Folder with images at any depth; relative to `training_code.foundation.paths.HOME`.
    name
        Name of the file in ``weights/``, without suffix: what `Dsr` takes as ``codebook`` is this name with ``.pckl``.
    image_size
        Side in pixels that images are resized to.
    seed
        Seed of everything that is drawn at random.
    replace
        Whether to replace a file of that name.
    **arguments
        ``backbone``, ``layers``, ``pre_trained``, ``embedding_dim``, ``num_embeddings``, ``codebook_epochs``, ``width``
        of `Dsr`, which the runs that use the file must have too.

    Returns
    -------
    Path
        The file, which anomalib's `load_pretrained_discrete_model_weights` reads, too, where there is no backbone and
        ``width`` is 1; beside it, with ``.json`` behind the name, what phase 1 achieved in each epoch.

    Raises
    ------
    InputError
        If there are no images, too few of them for the codes, an argument is wrong, or the file is there already.
    """
    folder, path = paths.from_home(images), paths.WEIGHTS / f"{name}{SUFFIX}"
    found = find_images(folder) if folder.is_dir() else []
    if not found:
        raise InputError(f"{folder} is no folder with images")
    if path.exists() and not replace:
        raise InputError(f"{paths.relative_to_home(path)} is there already; valid: another name, or replace=True")
    for argument in arguments:
        if argument not in _ARGUMENTS:
            raise InputError(f"{argument} has no part in phase 1; valid: {', '.join(_ARGUMENTS)}")
    configuration = configure("Dsr", arguments)
    size = (image_size, image_size)
    check_dsr(configuration.arguments | {"codebook": None}, size, len(found))
    torch.manual_seed(seed)
    weights = find_weights(configuration.backbone) if configuration.backbone else None
    network = load_backbone(weights) if weights else None
    recipe = weights.recipe if weights else None
    torch.manual_seed(seed)
    statistics = (recipe.mean, recipe.std) if recipe else None
    detector = cast(Dsr, build_detector(configuration, network, size, statistics))
    _train(detector, lambda index: load_image(found[index], size), len(found), configuration.arguments, seed, path)
    return path


def provide_codebook(detector: Dsr, identity: Identity, train_data: SampleDataset) -> dict[str, Any]:
    """Give a detector its phase 1 and return what the record keeps of it.

    It is read from the file that was asked for or published; otherwise it is trained on the training images, unless a
    run with the same images and settings has done so before.
    """
    path = find_codebook(identity.arguments)
    if path is not None:
        detector.load_codebook(path)
        source = "published with anomalib" if path.name == PUBLISHED else "given"
        return {"file": paths.relative_to_home(path), "sha256": content_hash(path), "source": source}
    # Everything that training on these images depends on; phase 1 uses no other arguments of the detector.
    key = dataclasses.replace(
        identity, arguments={name: identity.arguments[name] for name in _ARGUMENTS}, files_sha256={}
    )
    path = paths.CACHE / "codebooks" / f"{digest(dataclasses.asdict(key))[:16]}{SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)

    tiles = tiles_of(detector)
    data = train_data if tiles is None else TileDataset(train_data, tiles.cut, len(tiles))

    def image(index: int) -> torch.Tensor:
        item = data[index]
        assert item.image is not None
        return item.image

    with FileLock(path.with_name(f".{path.stem}.lock")):
        if not path.exists():
            _train(
                detector,
                image,
                len(data),
                identity.arguments,
                identity.seed,
                path,
            )
    detector.load_codebook(path)
    achieved = json.loads(_history_path(path).read_text(encoding="utf-8"))
    return achieved | {
        "file": paths.relative_to_home(path),
        "sha256": content_hash(path),
        "source": "trained on the training images",
    }


def _train(
    detector: Dsr,
    load: Callable[[int], torch.Tensor],
    count: int,
    arguments: dict[str, Any],
    seed: int,
    path: Path,
) -> None:
    order = in_batches(count, BATCH_SIZE, seed)

    def batches(epoch: int) -> Iterator[torch.Tensor]:
        return (torch.stack([load(index) for index in batch]) for batch in order(epoch))

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = detector.latent_model.to(device)
    history = train_codebook(
        model, batches, arguments["codebook_epochs"], seed, state=path.with_name(f".{path.stem}.state")
    )
    settings = {"settings": {name: arguments[name] for name in _ARGUMENTS}, "images": count}
    write_json(_history_path(path), settings | dataclasses.asdict(history))
    save_codebook(model, path)  # last, so that a codebook always has its JSON file
    model.cpu()


def _history_path(path: Path) -> Path:
    """Return the JSON file with the history of phase 1."""
    return path.with_name(f"{path.name}.json")
