"""Lists that are emptied on the way, so that what they hold is never in memory twice."""

from collections.abc import Iterator

import torch

from training_code.detectors.leaving_out import Found


def given_away(found: list[Found]) -> Iterator[Found]:
    """Return what was found in its order, and let go of each: who keeps the maps then has them in memory once."""
    found.reverse()
    while found:
        yield found.pop()


def concatenate(parts: list[torch.Tensor]) -> torch.Tensor:
    """Put the parts together and empty the list on the way: they are never in memory twice on a CPU."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    begin = 0
    while parts:
        part = parts.pop(0)
        whole[begin : begin + len(part)] = part
        begin += len(part)
    return whole
