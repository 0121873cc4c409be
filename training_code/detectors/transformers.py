"""What specifications of detectors on a transformer have in common; this imports no deep learning library."""

from collections.abc import Mapping, Sequence
from typing import Any

from training_code.backbones.layers import map_sizes
from training_code.backbones.registry import get_backbone
from training_code.foundation.errors import InputError

#: Depths of the eight blocks in the middle that Dinomaly and INP-Former reconstruct: 2 to 9 of 12, 4, 6 … 18 of 24,
#: counted from 0. They lie between two blocks of the former, so that both come out as in the papers.
MIDDLE_DEPTHS = tuple((2 * block - 0.9) / 24 for block in range(3, 11))


def halves(count: int) -> list[list[int]]:
    """Return the numbers from 0 to ``count`` - 1 as two groups, the lower half and the upper one.

    Examples
    --------
    >>> halves(8)
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    return [list(range(count // 2)), list(range(count // 2, count))]


def block_numbers(layers: Sequence[str]) -> list[int]:
    """Return the numbers of blocks, counted from 0, by their names.

    Examples
    --------
    >>> block_numbers(["blocks.2", "blocks.10"])
    [2, 10]
    """
    return [int(name.rpartition(".")[2]) for name in layers]


def check_positions(arguments: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the maps; raise an `InputError` if patches do not divide images of ``image_size``."""
    return map_sizes(get_backbone(arguments["backbone"]), image_size)[arguments["layers"][0]]


def check_groups(arguments: Mapping[str, Any], decoder_depth: int) -> None:
    """Raise an `InputError` where groups of layers name one that is not there, or do not match each other."""
    counts = {"fuse_layer_encoder": len(arguments["layers"]), "fuse_layer_decoder": decoder_depth}
    groups = {name: arguments[name] or halves(count) for name, count in counts.items()}
    for name, count in counts.items():
        if not all(groups[name]) or any(not 0 <= number < count for group in groups[name] for number in group):
            raise InputError(
                f"{name}={groups[name]} is out of range; valid: groups of the numbers 0 to {count - 1} of its layers, "
                "none of them empty"
            )
    encoder, decoder = (len(found) for found in groups.values())
    if encoder != decoder:
        raise InputError(
            f"{encoder} groups in fuse_layer_encoder and {decoder} in fuse_layer_decoder; each of the former is "
            "reconstructed by one of the latter, valid: as many of both"
        )
