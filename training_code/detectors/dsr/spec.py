"""The specification of DSR, and the file that its first phase is read from."""

from pathlib import Path
from typing import Any

from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, AT_LEAST_2, POSITIVE, Argument, check_image_size
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import content_hash

#: The file that anomalib publishes, trained on ImageNet; it is used where it lies in ``weights/`` and fits.
PUBLISHED = "vq_model_pretrained_128_4096.pckl"
#: Pixels of the image for each position of the upper (coarse) codes.
TOP_STRIDE = 8


def epochs_of_phases(max_epochs: int, upsampling_train_ratio: float) -> tuple[int, int]:
    """Return the epochs of phase 2 and of phase 3."""
    second = int(max_epochs * upsampling_train_ratio)
    return second, max_epochs - second


def check_dsr(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse what would leave a phase out or could not be trained, with the valid values in an `InputError`."""
    check_image_size("Dsr", image_size)
    phases = epochs_of_phases(arguments["max_epochs"], arguments["upsampling_train_ratio"])
    if 0 in phases:
        raise InputError(
            f"max_epochs={arguments['max_epochs']} with upsampling_train_ratio={arguments['upsampling_train_ratio']} "
            f"gives {phases[0]} epochs to reconstruction and detection (phase 2) and {phases[1]} to the upsampling "
            "(phase 3); each needs at least 1"
        )
    vectors = images * (image_size[0] // TOP_STRIDE) * (image_size[1] // TOP_STRIDE)
    if find_codebook(arguments) is None and arguments["num_embeddings"] > vectors:
        raise InputError(
            f"num_embeddings={arguments['num_embeddings']} are more codes than the {vectors} vectors of {images} "
            f"training images; valid: 2 to {vectors}"
        )


def find_codebook(arguments: dict[str, Any]) -> Path | None:
    """Return the file that phase 1 is read from, None where it is to be trained.

    Raises
    ------
    InputError
        If the file that ``codebook`` names does not exist.
    """
    if arguments["codebook"] is not None:
        path = paths.WEIGHTS / arguments["codebook"]
        if not path.is_file():
            raise InputError(f"codebook={arguments['codebook']!r}: there is no file {paths.relative_to_home(path)}")
        return path
    published = paths.WEIGHTS / PUBLISHED
    sizes = arguments["embedding_dim"], arguments["num_embeddings"], arguments["width"]
    fits = arguments["backbone"] is None and sizes == (128, 4096, 1.0)
    return published if fits and published.is_file() else None


def files_of_dsr(arguments: dict[str, Any]) -> dict[str, str]:
    """Return the hash of the codebook file, nothing where phase 1 is trained on the training images."""
    path = find_codebook(arguments)
    return {} if path is None else {"codebook": content_hash(path)}


SPEC = DetectorSpec(
    name="Dsr",
    path="training_code.detectors.dsr.model:Dsr",
    notebook="13_train_dsr",
    arguments={
        # Codes up to 0.05 of the distance order are never taken as anomalies.
        "latent_anomaly_strength": Argument(float, 0.2, (lambda value: 0.05 < value <= 1, "above 0.05 and at most 1")),
        "upsampling_train_ratio": Argument(float, 0.7, (lambda value: 0 < value < 1, "above 0 and below 1")),
        "backbone": Argument(str | None, None),
        "layers": Argument(list[str] | None, None),
        "pre_trained": Argument(bool, True),
        "embedding_dim": Argument(int, 128, AT_LEAST_1),
        "num_embeddings": Argument(int, 4096, AT_LEAST_2),
        "codebook": Argument(str | None, None),
        "codebook_epochs": Argument(int, 20, AT_LEAST_1),
        "lr": Argument(float, 0.0002, POSITIVE),
        "weight_decay": Argument(float, 0.0, AT_LEAST_0),
        "width": Argument(float, 1.0, POSITIVE),
    },
    epochs=Epochs(max_epochs=20, batch_size=8, stops_early=False),
    backbone=BackboneUse(strides=(4, 8), depths=(1 / 2, 1), required=(4, 8)),
    normalizes=False,
    told_by=("width", "max_epochs"),
    paper={"max_epochs": 20, "width": 1.0, "embedding_dim": 128, "num_embeddings": 4096},
    plain=PlainForm({"backbone": None, "width": 1.0, "embedding_dim": 128, "num_embeddings": 4096}),
    check=check_dsr,
    files=files_of_dsr,
    before_training="training_code.codebooks:provide_codebook",
)
